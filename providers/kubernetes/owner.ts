import type { Owner } from '../../model/ports/instance.ts';
import type { LabelSelector } from '../../model/selectors.ts';
import { formatTarget } from '../../model/target.ts';
import type { Cluster } from './cluster.ts';
import { controllerOf } from './health.ts';
import type { Controller, OwnerReference, Ref } from './objects.ts';

/** What controls a pod. */
export interface Workload {
  /**
   * What replaces the pod, and is judged by its ready replicas: the pod's own controller. Not what is above it: a
   * Deployment in the midst of a rollout that cannot become ready has all the ready replicas that it wants, of the old
   * ReplicaSet, however often a pod of the new one is replaced.
   */
  owner: Owner;
  /** What the pod's own controller selects; undefined where it does not say. */
  selector: LabelSelector | undefined;
}

/** Resources as an API group's discovery lists them. */
interface Discovery {
  resources: { name: string; kind: string }[];
}

/** `apps` is stable: no discovery is needed on the way of an alert. */
const KNOWN: Record<string, string> = {
  'apps/v1 Deployment': 'deployments',
  'apps/v1 ReplicaSet': 'replicasets',
  'apps/v1 StatefulSet': 'statefulsets',
};

/** Reads the controller of a pod; undefined where it does not exist any more. */
export async function readWorkload(
  cluster: Cluster,
  namespace: string,
  reference: OwnerReference,
): Promise<Workload | undefined> {
  const controller = await readController(cluster, namespace, reference);
  if (!controller) return undefined;
  return {
    owner: {
      key: keyOf(cluster.name, namespace, reference),
      uid: controller.metadata.uid,
      ...replicasOf(controller),
      workload: keyOf(cluster.name, namespace, above(reference, controller)),
    },
    selector: selectorOf(controller),
  };
}

/** The target key of a controller, or any other object. */
export function keyOf(
  cluster: string,
  namespace: string,
  { apiVersion, kind, name }: Omit<OwnerReference, 'uid'> & { uid?: string },
): string {
  const [group = '', version] = apiVersion.split('/');
  const named = { kind: kind.toLowerCase(), ...(version !== undefined && { group }), name };
  return formatTarget({ type: 'k8s', cluster, namespace, ...named });
}

export const isReplicaSet = ({ apiVersion, kind }: OwnerReference): boolean =>
  kind === 'ReplicaSet' && apiVersion.startsWith('apps/');

/**
 * What the unavailable budget of a pod is counted over: the Deployment above its ReplicaSet, for a rollout spreads one
 * workload over two of them; else its own controller, whatever is above that.
 */
export function above(reference: OwnerReference, controller: Controller): OwnerReference {
  const deployment = isReplicaSet(reference) ? controllerOf(controller.metadata) : undefined;
  return deployment?.kind === 'Deployment' && deployment.apiVersion.startsWith('apps/') ? deployment : reference;
}

/** A controller by its reference, with the very identity that it names; undefined where it does not exist any more. */
export async function readController(
  cluster: Cluster,
  namespace: string,
  reference: OwnerReference,
): Promise<Controller | undefined> {
  const ref = await resourceOf(cluster, reference);
  const controller = ref && (await cluster.get<Controller>({ ...ref, namespace, name: reference.name }));
  return controller?.metadata.uid === reference.uid ? controller : undefined;
}

export const replicasOf = (controller: Controller): { desired: number; ready: number } => ({
  desired: controller.spec?.replicas ?? 1,
  ready: controller.status?.readyReplicas ?? 0,
});

/** The resource of a kind, by discovery where it is not one of the well-known; undefined where the cluster has none. */
export async function resourceOf(
  cluster: Cluster,
  { apiVersion, kind }: Pick<OwnerReference, 'apiVersion' | 'kind'>,
): Promise<Ref | undefined> {
  const slash = apiVersion.indexOf('/');
  const [group, version] = slash < 0 ? ['', apiVersion] : [apiVersion.slice(0, slash), apiVersion.slice(slash + 1)];
  const known = KNOWN[`${apiVersion} ${kind}`];
  if (known) return { group, version, resource: known };
  const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const discovery = await cluster.read<Discovery>({ group, version, resource: '(discovery)' }, path);
  const found = discovery?.resources.find((one) => one.kind === kind && !one.name.includes('/'));
  return found && { group, version, resource: found.name };
}

/** The resource of an owner's key, whose kind is in lower case and without a version. */
export async function resourceOfKind(cluster: Cluster, group: string, kind: string): Promise<Ref | undefined> {
  for (const [known, resource] of Object.entries(KNOWN))
    if (group === 'apps' && known.toLowerCase() === `apps/v1 ${kind}`) return { group, version: 'v1', resource };
  const version = group === '' ? 'v1' : await preferredVersion(cluster, group);
  if (!version) return undefined;
  const path = group === '' ? '/api/v1' : `/apis/${group}/${version}`;
  const discovery = await cluster.read<Discovery>({ group, version, resource: '(discovery)' }, path);
  const found = discovery?.resources.find((one) => one.kind.toLowerCase() === kind && !one.name.includes('/'));
  return found && { group, version, resource: found.name };
}

async function preferredVersion(cluster: Cluster, group: string): Promise<string | undefined> {
  const ref: Ref = { group, version: '', resource: '(discovery)' };
  const found = await cluster.read<{ preferredVersion?: { version: string } }>(ref, `/apis/${group}`);
  return found?.preferredVersion?.version;
}

/** What a controller selects, in the form of most of them; a ReplicationController has a plain map. */
function selectorOf({ spec }: Controller): LabelSelector | undefined {
  const selector = spec?.selector;
  if (!selector) return undefined;
  const { matchLabels, matchExpressions } = selector;
  if (typeof matchLabels === 'object' || Array.isArray(matchExpressions)) return selector as LabelSelector;
  return { matchLabels: selector as Record<string, string> };
}

/** The selector of a controller in the form of kubectl's `-l`; undefined where it does not say what it selects. */
export function selectorText(controller: Controller): string | undefined {
  const { matchLabels = {}, matchExpressions = [] } = selectorOf(controller) ?? {};
  const terms = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values = [] } of matchExpressions) {
    if (operator === 'Exists') terms.push(key);
    else if (operator === 'DoesNotExist') terms.push(`!${key}`);
    else if (operator === 'In' || operator === 'NotIn')
      terms.push(`${key} ${operator.toLowerCase()} (${values.join(',')})`);
  }
  return terms.length > 0 ? terms.join(',') : undefined;
}
