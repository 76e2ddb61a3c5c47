import { formatTarget, type ObjectTarget } from '../../../model/target.ts';
import { FinalError } from '../../errors.ts';
import type { Cluster } from '../cluster.ts';
import type { KubeObject, Ref } from '../objects.ts';
import { resourceOfKind } from '../owner.ts';
import { AUTOSCALERS, objectOf, SCALED_OBJECTS } from './objects.ts';

/** A kind whose objects have a size, by their scale subresource. */
export interface SizedKind {
  ref: Ref;
  /** Where in the object its size is; with it the note of what is held can be written, which the subresource cannot take. */
  field: string;
  /** Where it says how many replicas it has, ready or not. */
  statusField: string;
  /** `status.readyReplicas` is there, and left out where none is ready; a custom resource may not have it at all. */
  saysReady: boolean;
}

/** Those of Kubernetes itself, by group and kind; all else that has a scale subresource is a custom resource. */
const BUILT_IN: Record<string, string> = {
  'apps deployment': 'deployments',
  'apps replicaset': 'replicasets',
  'apps statefulset': 'statefulsets',
  ' replicationcontroller': 'replicationcontrollers',
};

const CRDS: Ref = { group: 'apiextensions.k8s.io', version: 'v1', resource: 'customresourcedefinitions' };

interface Definition extends KubeObject {
  spec: { versions: { name: string; subresources?: { scale?: Paths } }[] };
}

interface Paths {
  /** `.spec.replicas` */
  specReplicasPath: string;
  statusReplicasPath: string;
}

/** @throws FinalError `UnknownTarget` where the cluster has no such kind, or objects of the kind have no size */
export async function sizedKind(cluster: Cluster, { group = '', kind }: KindOf): Promise<SizedKind> {
  const known = BUILT_IN[`${group} ${kind}`];
  if (known)
    return {
      ref: { group, version: 'v1', resource: known },
      ...{ field: 'spec.replicas', statusField: 'status.replicas', saysReady: true },
    };
  // Only groups with a dot have custom resources.
  const ref = group.includes('.') ? await resourceOfKind(cluster, group, kind) : undefined;
  if (!ref)
    throw withoutSize(cluster, { group, kind }, 'the cluster has no such kind, or it is not one that is scaled');
  const definition = await cluster.get<Definition>({ ...CRDS, name: `${ref.resource}.${group}` });
  if (!definition) throw withoutSize(cluster, { group, kind }, 'it is not a custom resource');
  const paths = definition.spec.versions.find(({ name }) => name === ref.version)?.subresources?.scale;
  if (!paths) throw withoutSize(cluster, { group, kind }, `its version ${ref.version} has no scale subresource`);
  const [field, statusField] = [paths.specReplicasPath.slice(1), paths.statusReplicasPath.slice(1)];
  return { ref, field, statusField, saysReady: false };
}

type KindOf = Pick<ObjectTarget, 'group' | 'kind'>;

function withoutSize({ name }: Cluster, { group, kind }: KindOf, why: string): FinalError {
  const named = group ? `${kind}.${group}` : kind;
  return new FinalError(
    `objects of the kind ${named} in cluster ${name} have no size that could be set: ${why}; name a kind that has a scale subresource, such as deployment.apps`,
    { type: 'UnknownTarget' },
  );
}

/** What is written: an autoscaler, or what is scaled itself. @throws as {@link sizedKind} does */
export async function refOf(cluster: Cluster, key: string): Promise<Ref> {
  const { namespace, name, group, kind } = objectOf(key);
  if (group === AUTOSCALERS.group && kind === 'horizontalpodautoscaler') return { ...AUTOSCALERS, namespace, name };
  if (group === SCALED_OBJECTS.group && kind === 'scaledobject') return { ...SCALED_OBJECTS, namespace, name };
  const { ref } = await sizedKind(cluster, { group, kind });
  return { ...ref, namespace, name };
}

/** The key of an object, without the name of its cluster and namespace; for people: `horizontalpodautoscaler.autoscaling/web`. */
export const shortKey = (key: string): string => key.split('/').slice(3).join('/');

/** Group and name of an API version: of `v1` the group is ''. */
export const groupOf = (apiVersion: string): string =>
  apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';

export const keyFor = (cluster: string, { group, kind, namespace, name }: Omit<ObjectTarget, 'type' | 'cluster'>) =>
  formatTarget({ type: 'k8s', cluster, namespace, kind, ...(group && { group }), name });
