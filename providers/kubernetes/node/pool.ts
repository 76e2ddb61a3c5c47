import { HELD_ANNOTATION } from '../../../model/names.ts';
import { formatTarget, parseTarget } from '../../../model/target.ts';
import { FinalError } from '../../errors.ts';
import { isTrue } from '../health.ts';
import type { Metadata, Node } from '../objects.ts';

/** How those who make nodes in groups say of which group each is; the first that a node carries counts. */
const POOL_LABELS = [
  'eks.amazonaws.com/nodegroup',
  'karpenter.sh/nodepool',
  'cloud.google.com/gke-nodepool',
  'kubernetes.azure.com/agentpool',
  'agentpool',
  'kops.k8s.io/instancegroup',
];
const CONTROL_PLANE_LABELS = ['node-role.kubernetes.io/control-plane', 'node-role.kubernetes.io/master'];
const CONTROL_PLANE = 'control-plane';

export const isControlPlane = ({ labels = {} }: Metadata): boolean =>
  CONTROL_PLANE_LABELS.some((label) => labels[label] !== undefined);

/** The label that says of which pool a node is; undefined where it carries none, or is of the control plane. */
function poolLabel(metadata: Metadata): { label: string; value: string } | undefined {
  if (isControlPlane(metadata)) return undefined;
  for (const label of POOL_LABELS) {
    const value = metadata.labels?.[label];
    if (value) return { label, value };
  }
  return undefined;
}

/**
 * The workload of a node: what its unavailable budget is counted over. `k8s/<cluster>/node-pool/<value of its pool label>`,
 * `k8s/<cluster>/node-pool/-` for all nodes without one; the nodes of the control plane are a pool of their own.
 */
export function poolKey(cluster: string, metadata: Metadata): string {
  const pool = isControlPlane(metadata) ? CONTROL_PLANE : (poolLabel(metadata)?.value ?? '-');
  return `k8s/${encodeURIComponent(cluster)}/node-pool/${encodeURIComponent(pool)}`;
}

/** kubectl's `-l` for the nodes that may be of the pool of this one; undefined: it takes all to tell. */
export function poolSelector(metadata: Metadata): string | undefined {
  const pool = poolLabel(metadata);
  return pool && `${pool.label}=${pool.value}`;
}

export const nodeKey = (cluster: string, name: string): string => formatTarget({ type: 'node', cluster, name });

/** @throws FinalError `UnknownTarget` for the key of anything else */
export function nodeName(key: string): string {
  const target = parseTarget(key);
  if (target.type === 'node') return target.name;
  throw new FinalError(`${key} is not a node`, { type: 'UnknownTarget' });
}

/** It takes new pods: it is Ready, and neither a person nor Salvor keeps anything on it. */
export const serves = (node: Node): boolean =>
  isTrue(node, 'Ready') &&
  node.spec?.unschedulable !== true &&
  node.metadata.annotations?.[HELD_ANNOTATION] === undefined;

/** The machine under it, as AWS names it; undefined where it is none of AWS, or not known yet. */
export const instanceIdOf = ({ providerID = '' }: { providerID?: string } = {}): string | undefined =>
  /^aws:\/\/\/[^/]+\/(i-[0-9a-f]+)$/.exec(providerID)?.[1];
