import { IN_SERVICE_GATE } from '../../model/names.ts';
import type { Condition, Metadata, OwnerReference, Pod } from './objects.ts';

export interface Health {
  healthy: boolean;
  /** What was seen, in plain words. */
  why: string;
}

export const conditionOf = (pod: Pod, type: string): Condition | undefined =>
  pod.status?.conditions?.find((condition) => condition.type === type);

export const isTrue = (pod: Pod, type: string): boolean => conditionOf(pod, type)?.status === 'True';

export const declaresGate = (pod: Pod, type: string): boolean =>
  pod.spec?.readinessGates?.some((gate) => gate.conditionType === type) ?? false;

/**
 * Whether the pod itself is able to work. Salvor's own readiness gate does not count: it says whether the pod is let
 * into traffic, not whether it could serve.
 */
export function healthOf(pod: Pod): Health {
  const others = (pod.spec?.readinessGates ?? []).map((gate) => gate.conditionType);
  const required = ['ContainersReady', ...others.filter((type) => type !== IN_SERVICE_GATE)];
  const missing = required.find((type) => !isTrue(pod, type));
  if (missing) return { healthy: false, why: describeCondition(pod, missing) };
  if (isTrue(pod, 'Ready')) return { healthy: true, why: 'the pod is Ready' };
  if (declaresGate(pod, IN_SERVICE_GATE) && !isTrue(pod, IN_SERVICE_GATE)) {
    return {
      healthy: true,
      why: `its containers are ready; it is not Ready only because its readiness gate ${IN_SERVICE_GATE} is not True`,
    };
  }
  return { healthy: false, why: describeCondition(pod, 'Ready') };
}

/**
 * When the conditions of a pod's health last changed, as one text: where it is the same on two looks, no condition has
 * changed in between, seen or unseen. To be compared, never to be read as times: another machine's clock wrote them.
 */
export function transitionsOf(pod: Pod): string {
  const conditions = (pod.status?.conditions ?? []).filter(({ type }) => type !== IN_SERVICE_GATE);
  return conditions.map(({ type, lastTransitionTime }) => `${type}@${lastTransitionTime}`).join(' ');
}

/** "ContainersReady is False since 2026-01-01T00:00:00Z (ContainersNotReady: containers with unready status: [app])" */
export function describeCondition(pod: Pod, type: string): string {
  const condition = conditionOf(pod, type);
  if (!condition) return `its condition ${type} is not set`;
  const { status, lastTransitionTime, reason, message } = condition;
  const detail = [reason, message].filter(Boolean).join(': ');
  return `${type} is ${status}${lastTransitionTime ? ` since ${lastTransitionTime}` : ''}${detail ? ` (${detail})` : ''}`;
}

export const controllerOf = (metadata: Metadata): OwnerReference | undefined =>
  metadata.ownerReferences?.find((owner) => owner.controller);

/** Why the pod (or node) asked for is no longer there to be healed; undefined while it is. */
export function absence(
  pod: Pod | undefined,
  uid: string | undefined,
  what: 'pod' | 'node' = 'pod',
): string | undefined {
  if (!pod) return `there is no ${what} of this name`;
  if (uid !== undefined && pod.metadata.uid !== uid)
    return `it was replaced meanwhile: the ${what} of this name is now ${pod.metadata.uid}, not ${uid}`;
  if (pod.metadata.deletionTimestamp) return `it is being deleted, since ${pod.metadata.deletionTimestamp}`;
  const phase = pod.status?.phase;
  if (phase === 'Succeeded' || phase === 'Failed') return `it has ended (phase ${phase}${reasonOf(pod)})`;
  return undefined;
}

const reasonOf = (pod: Pod): string => (pod.status?.reason ? `, ${pod.status.reason}` : '');

/** Whether this very pod still exists and is not on its way out. */
export const isPresent = (pod: Pod | undefined, uid: string): pod is Pod => absence(pod, uid) === undefined;

/** On a pod, a node or a namespace: leave it, or what is in it, alone. */
const SKIP_ANNOTATION = 'salvor.dev/skip';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

const skips = (metadata: Metadata | undefined): boolean => metadata?.annotations?.[SKIP_ANNOTATION] !== undefined;

/** Why a person wants the object left alone; undefined where nobody does. Either of the two may not exist. */
export function exclusion(object: Metadata | undefined, namespace: Metadata | undefined): string | undefined {
  if (skips(object)) return `it carries the annotation ${SKIP_ANNOTATION}`;
  return skips(namespace) ? `its namespace ${namespace?.name} carries the annotation ${SKIP_ANNOTATION}` : undefined;
}

/** Why the pod is no replica of anything that serves: static, of a Job, of a DaemonSet; undefined for all others. */
export function apartness({ metadata }: Pod): string | undefined {
  const owner = controllerOf(metadata);
  if (isStatic(metadata)) return 'it is a static pod: only its node could replace it';
  if (owner && isJob(owner)) return `it belongs to the Job ${owner.name}`;
  if (owner && isDaemonSet(owner)) return `it belongs to the DaemonSet ${owner.name}`;
  return undefined;
}

/** A pod that the kubelet of its node runs of a file. */
export const isStatic = (metadata: Metadata): boolean =>
  metadata.annotations?.[MIRROR_ANNOTATION] !== undefined || controllerOf(metadata)?.kind === 'Node';

export const isJob = ({ apiVersion, kind }: OwnerReference): boolean =>
  kind === 'Job' && apiVersion.startsWith('batch/');

export const isDaemonSet = ({ apiVersion, kind }: OwnerReference): boolean =>
  kind === 'DaemonSet' && apiVersion.startsWith('apps/');

/**
 * Labels of what Salvor and Temporal run on, and of what a person has put out of its reach, where the configuration does
 * not name others. `key`, or `key=value`. Temporal's Helm chart labels its pods so.
 */
export const PROTECTED_LABELS: readonly string[] = [
  'salvor.dev/protect',
  'app.kubernetes.io/part-of=salvor',
  'app.kubernetes.io/part-of=temporal',
];

/**
 * Why the pod is not a target, for any runbook; undefined where it may be one.
 *
 * @param labels `key` or `key=value`: a pod that carries one is not a target
 * @param quarantined Salvor itself has taken it from its controller
 */
export function protection(
  pod: Pod,
  namespace: Metadata | undefined,
  labels: readonly string[],
  quarantined = false,
): string | undefined {
  const { metadata, status } = pod;
  if (metadata.namespace === 'kube-system') return 'pods of the namespace kube-system are never touched';
  const apart = apartness(pod);
  if (apart) return apart;
  if (!quarantined && !controllerOf(metadata)) return 'it has no controller: nothing would replace it';
  const excluded = exclusion(metadata, namespace);
  if (excluded) return excluded;
  const guarded = protectedBy(metadata, labels);
  if (guarded) return guarded;
  // Last, for it passes: what keeps a pod for ever from being a target is the better answer.
  return status?.phase === 'Pending' ? 'it is Pending: it does not run yet, and evicting it would not help' : undefined;
}

/** The first protected label that an object carries. */
export const carriesProtected = (metadata: Metadata, labels: readonly string[]): string | undefined =>
  labels.find((entry) => carries(metadata.labels ?? {}, entry));

/** Why its labels keep an object from being a target; undefined where they do not. */
export function protectedBy(metadata: Metadata, labels: readonly string[]): string | undefined {
  const label = carriesProtected(metadata, labels);
  return label && `it carries the protected label ${label}`;
}

function carries(labels: Record<string, string>, entry: string): boolean {
  const at = entry.indexOf('=');
  return at < 0 ? labels[entry] !== undefined : labels[entry.slice(0, at)] === entry.slice(at + 1);
}
