import type { Scale } from '../../../model/ports/scalable.ts';
import { formatTarget, type ObjectTarget } from '../../../model/target.ts';
import type { ProviderReading } from '../../scalable.ts';
import type { Cluster } from '../cluster.ts';
import { carriesProtected, controllerOf, exclusion } from '../health.ts';
import { type KubeObject, type Metadata, NAMESPACES } from '../objects.ts';
import { type Autoscaler, autoscalerOf } from './autoscaler.ts';
import { type SizedKind, sizedKind } from './kinds.ts';
import { heldByOther, leftSet, ownNoted } from './notes.ts';
import { goneFor, readAt, readSize, type Sized } from './objects.ts';

/** The API takes no more. */
const MOST = 2 ** 31 - 1;

export interface Looking {
  remediation: string;
  uid: string | undefined;
  protectedLabels: readonly string[];
}

/** A fresh look at a workload and what sets its size. */
export async function readScale(cluster: Cluster, target: ObjectTarget, looking: Looking): Promise<ProviderReading> {
  const { namespace, name } = target;
  const kind = await sizedKind(cluster, target);
  const [object, around, found] = await Promise.all([
    cluster.get<Sized>({ ...kind.ref, namespace, name }),
    cluster.get<KubeObject>({ ...NAMESPACES, name: namespace }),
    autoscalerOf(cluster, target),
  ]);
  const gone = goneFor(object, looking.uid);
  if (!object || gone !== undefined) return { verdict: 'gone', why: gone ?? '' };
  const size = readSize(object, kind.field);
  const why =
    protection(object, around?.metadata, looking) ??
    found.problem ??
    (found.autoscaler ? protection(found.autoscaler.object, undefined, looking) : ownedBy(object)) ??
    switchedOff(size, found.autoscaler);
  if (why !== undefined) return { verdict: 'protected', why };
  const key = formatTarget(target);
  const written = found.autoscaler?.object ?? object;
  const left = leftSet(written, looking.remediation);
  const scale = scaleOf(key, object, kind, found.autoscaler);
  const noted = ownNoted(written, scale.by.field, looking.remediation);
  return {
    verdict: 'found',
    ...(noted !== undefined && { noted }),
    scale: { ...scale, why: left === undefined ? scale.why : `${scale.why}; ${left}` },
    version: written.metadata.resourceVersion,
  };
}

/** Why it is not to be touched. */
function protection(
  { metadata, spec }: Sized,
  namespace: Metadata | undefined,
  { remediation, protectedLabels }: Looking,
): string | undefined {
  if (metadata.namespace === 'kube-system') return 'what is in the namespace kube-system is never touched';
  const excluded = exclusion(metadata, namespace);
  if (excluded) return excluded;
  const template = readAt({ metadata, ...(spec && { spec }) }, 'spec.template.metadata.labels');
  const labels = { ...(template as Metadata['labels']), ...metadata.labels };
  const label = carriesProtected({ ...metadata, labels }, protectedLabels);
  if (label) return `it carries the protected label ${label}`;
  return heldByOther(metadata, remediation);
}

/** What controls a workload sets its size, and would set it back. */
function ownedBy({ metadata }: Sized): string | undefined {
  const owner = controllerOf(metadata);
  return owner && `its size is set by the ${owner.kind} ${owner.name}, to which it belongs: scale that`;
}

/** As for HorizontalPodAutoscaler: 0 is how a person turns a workload off. KEDA alone goes there by itself. */
function switchedOff(size: number | null, autoscaler: Autoscaler | undefined): string | undefined {
  if (size !== 0 || autoscaler?.by.field === 'spec.minReplicaCount') return undefined;
  return 'it is scaled to 0, which is how a person turns it off';
}

function scaleOf(
  key: string,
  object: Sized,
  { field, statusField, saysReady }: SizedKind,
  autoscaler: Autoscaler | undefined,
): Scale {
  const { uid } = object.metadata;
  const value = readSize(object, field);
  const replicas = readSize(object, statusField) ?? 0;
  const ready = readSize(object, 'status.readyReplicas') ?? (saysReady ? 0 : replicas);
  const itself = { object: { key, uid }, field, value };
  const { by, min, max, why } = autoscaler ?? {
    ...{ by: itself, min: 0, max: MOST },
    why: `no autoscaler sets its size: its ${field} is set`,
  };
  return { object: { key, uid }, by, why, desired: value ?? replicas, ready, min, max, workload: key };
}
