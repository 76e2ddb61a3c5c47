import type { Owner } from '../../model/ports/instance.ts';
import { formatTarget } from '../../model/target.ts';
import type { Cluster } from './cluster.ts';
import { controllerOf } from './health.ts';
import type { Controller, Metadata, OwnerReference, Pod, Ref } from './objects.ts';

/** What controls a pod. */
export interface Workload {
  /**
   * What replaces the pod, and is judged by its ready replicas: the pod's own controller. Not what is above it: a
   * Deployment in the midst of a rollout that cannot become ready has all the ready replicas that it wants, of the old
   * ReplicaSet, however often a pod of the new one is replaced.
   */
  owner: Owner;
  /** Label keys that the pod's own controller selects on; undefined where it does not say. */
  selectsOn: Set<string> | undefined;
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
export async function readWorkload(cluster: Cluster, pod: Pod): Promise<Workload | undefined> {
  const own = await readOwner(cluster, pod.metadata);
  if (!own) return undefined;
  const { reference, controller } = own;
  const [group = '', version] = reference.apiVersion.split('/');
  const kind = reference.kind.toLowerCase();
  return {
    owner: {
      key: formatTarget({
        type: 'k8s',
        cluster: cluster.name,
        namespace: pod.metadata.namespace ?? '',
        kind,
        ...(version !== undefined && { group }),
        name: reference.name,
      }),
      uid: controller.metadata.uid,
      ...replicasOf(controller),
    },
    selectsOn: selectorKeys(controller),
  };
}

export const replicasOf = (controller: Controller): { desired: number; ready: number } => ({
  desired: controller.spec?.replicas ?? 1,
  ready: controller.status?.readyReplicas ?? 0,
});

async function readOwner(cluster: Cluster, metadata: Metadata) {
  const reference = controllerOf(metadata);
  const ref = reference && (await resourceOf(cluster, reference));
  if (!ref) return undefined;
  const controller = await cluster.get<Controller>({ ...ref, namespace: metadata.namespace, name: reference.name });
  return controller?.metadata.uid === reference.uid ? { reference, controller } : undefined;
}

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

function selectorKeys({ spec }: Controller): Set<string> | undefined {
  const selector = spec?.selector;
  if (!selector) return undefined;
  const { matchLabels, matchExpressions } = selector;
  if (typeof matchLabels === 'object' || Array.isArray(matchExpressions)) {
    const expressions = Array.isArray(matchExpressions) ? matchExpressions.map(({ key }) => key) : [];
    return new Set([...Object.keys(matchLabels ?? {}), ...expressions]);
  }
  return new Set(Object.keys(selector));
}
