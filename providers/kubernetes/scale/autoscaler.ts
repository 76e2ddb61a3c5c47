import type { Scale } from '../../../model/ports/scalable.ts';
import type { ObjectTarget } from '../../../model/target.ts';
import type { Cluster } from '../cluster.ts';
import { controllerOf } from '../health.ts';
import type { Ref } from '../objects.ts';
import { resourceOfKind } from '../owner.ts';
import { groupOf, keyFor, shortKey } from './kinds.ts';
import { AUTOSCALERS, goneFor, readAt, readSize, SCALED_OBJECTS, type Sized } from './objects.ts';

/** What sets the size of a workload beside people: its minimum is raised. */
export interface Autoscaler {
  object: Sized;
  by: Scale['by'];
  min: number;
  max: number;
  why: string;
}

type Found = { autoscaler?: Autoscaler; problem?: never } | { problem: string; autoscaler?: never };

/** KEDA's own defaults. */
const KEDA = { min: 0, max: 100 };
/** https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling */
const PAUSES = ['paused', 'paused-replicas', 'paused-scale-out'].map((name) => `autoscaling.keda.sh/${name}`);

/** The one autoscaler of a workload; none; or why it cannot be told which sets its size, for people. */
export async function autoscalerOf(cluster: Cluster, target: ObjectTarget): Promise<Found> {
  const { namespace } = target;
  const [plain, keda] = await Promise.all([
    listed(cluster, { ...AUTOSCALERS, namespace }),
    // Asked by discovery first: what there is not, is forbidden to list rather than empty.
    resourceOfKind(cluster, SCALED_OBJECTS.group, 'scaledobject').then((there) =>
      there ? listed(cluster, { ...SCALED_OBJECTS, namespace }) : [],
    ),
  ]);
  const scaledObjects = keda.filter((one) => aims(one, target, { apiVersion: 'apps/v1', kind: 'Deployment' }));
  const own = new Set(scaledObjects.map(({ metadata }) => metadata.uid));
  // The one that KEDA makes follows its ScaledObject, which is the one to write to.
  const autoscalers = plain
    .filter((one) => aims(one, target, { apiVersion: 'v1', kind: '' }))
    .filter(({ metadata }) => !own.has(controllerOf(metadata)?.uid ?? ''));
  const all = [
    ...scaledObjects.map((one) => kedaOf(cluster.name, one)),
    ...autoscalers.map((one) => plainOf(cluster.name, one)),
  ];
  const [only, ...others] = all;
  if (others.length === 0) return only ?? {};
  const names = all.map(({ name }) => name).join(', ');
  return { problem: `${all.length} autoscalers set its size (${names}), and nobody can tell which of them counts` };
}

async function listed(cluster: Cluster, ref: Ref): Promise<Sized[]> {
  const { items } = await cluster.list<Sized>(ref);
  return items.filter((one) => goneFor(one, undefined) === undefined);
}

/** Whether it scales the target; the version of its API does not matter. */
function aims(
  one: Sized,
  { group = '', kind, name }: ObjectTarget,
  absent: { apiVersion: string; kind: string },
): boolean {
  const ref = {
    ...absent,
    ...(readAt(one, 'spec.scaleTargetRef') as Partial<Record<'apiVersion' | 'kind' | 'name', string>>),
  };
  return ref.name === name && ref.kind.toLowerCase() === kind && groupOf(ref.apiVersion) === group;
}

function plainOf(cluster: string, object: Sized): Found & { name: string } {
  const { name, namespace = '', uid } = object.metadata;
  const key = keyFor(cluster, { group: AUTOSCALERS.group, kind: 'horizontalpodautoscaler', namespace, name });
  const short = shortKey(key);
  const problem = ownedBy(object, short);
  if (problem !== undefined) return { name: short, problem };
  const value = readSize(object, 'spec.minReplicas');
  const [min, max] = [value ?? 1, readSize(object, 'spec.maxReplicas') ?? 1];
  const by = { object: { key, uid }, field: 'spec.minReplicas', value };
  const why = `the HorizontalPodAutoscaler ${name} sets its size, between ${min} and ${max}: its minimum is raised`;
  return { name: short, autoscaler: { object, by, min, max, why } };
}

function kedaOf(cluster: string, object: Sized): Found & { name: string } {
  const { name, namespace = '', uid, annotations = {} } = object.metadata;
  const key = keyFor(cluster, { group: SCALED_OBJECTS.group, kind: 'scaledobject', namespace, name });
  const short = shortKey(key);
  const problem = ownedBy(object, short);
  if (problem !== undefined) return { name: short, problem };
  const paused = PAUSES.find((annotation) => annotation in annotations && annotations[annotation] !== 'false');
  if (paused) return { name: short, problem: `its ScaledObject ${name} is paused (annotation ${paused})` };
  const value = readSize(object, 'spec.minReplicaCount');
  const [min, max] = [value ?? KEDA.min, readSize(object, 'spec.maxReplicaCount') ?? KEDA.max];
  const by = { object: { key, uid }, field: 'spec.minReplicaCount', value };
  const why = `the ScaledObject ${name} (KEDA) sets its size, between ${min} and ${max}: its minimum is raised`;
  return { name: short, autoscaler: { object, by, min, max, why } };
}

function ownedBy({ metadata }: Sized, short: string): string | undefined {
  const owner = controllerOf(metadata);
  return (
    owner && `its autoscaler ${short} belongs to the ${owner.kind} ${owner.name}, which would set its minimum back`
  );
}
