import { parse } from 'yaml';
import { isObject, type ResourceChange } from './plan-json.ts';
import { objectOf } from './plan-objects.ts';
import { pathText, type ValueDiff } from './plan-values.ts';

/**
 * How many there are of something: autoscalers change that, and nothing in a plan tells whether one did. To put it back may end
 * what carries the load, so a size alone is never drift.
 */
const SIZES: Readonly<Record<string, readonly string[]>> = {
  kubernetes_deployment: ['spec.replicas'],
  kubernetes_stateful_set: ['spec.replicas'],
  kubernetes_replication_controller: ['spec.replicas'],
  kubernetes_manifest: ['object.spec.replicas', 'manifest.spec.replicas'],
  aws_autoscaling_group: ['desired_capacity'],
  aws_ecs_service: ['desired_count'],
  aws_eks_node_group: ['scaling_config.desired_size'],
  google_compute_instance_group_manager: ['target_size'],
  google_compute_region_instance_group_manager: ['target_size'],
  google_container_node_pool: ['node_count'],
  azurerm_kubernetes_cluster: ['default_node_pool.node_count'],
  azurerm_kubernetes_cluster_node_pool: ['node_count'],
  azurerm_linux_virtual_machine_scale_set: ['instances'],
  azurerm_windows_virtual_machine_scale_set: ['instances'],
  azurerm_orchestrated_virtual_machine_scale_set: ['instances'],
};

/** Kinds of Kubernetes that have a size. */
const SCALED = new Set(['deployment', 'statefulset', 'replicaset', 'replicationcontroller', 'rollout']);

/** Which of these fields of a resource are its size. */
export function sizesIn(resource: ResourceChange, fields: readonly ValueDiff[]): ValueDiff[] {
  const { type } = resource;
  // The provider kubernetes has the version of the API in some of its types.
  const known = SIZES[type] ?? SIZES[type.replace(/_v[0-9]+$/, '')] ?? [];
  if (type === 'kubernetes_manifest' && !isScaled(resource)) return [];
  return fields.filter(({ path }) => known.includes(pathText(path.filter((key) => typeof key === 'string'))));
}

function isScaled(resource: ResourceChange): boolean {
  const object = objectOf(resource);
  return object?.of === 'kubernetes' && SCALED.has(object.kind);
}

/** The field that stands for all of an object of the provider kubectl. */
const SIZE_OF_MANIFEST = 'spec.replicas';

/** Whether what differs of it may be its size, where its provider does not tell which field it is. */
export function maybeItsSize(resource: ResourceChange): boolean {
  const values = resource.change.before;
  if (resource.type !== 'kubectl_manifest' || !isObject(values) || !isScaled(resource)) return false;
  const left = Array.isArray(values['ignore_fields']) ? values['ignore_fields'] : [];
  return !left.includes(SIZE_OF_MANIFEST) && setsSize(values['yaml_body']);
}

function setsSize(text: unknown): boolean {
  if (typeof text !== 'string') return true;
  try {
    const manifest: unknown = parse(text);
    const spec = isObject(manifest) ? manifest['spec'] : undefined;
    return isObject(spec) && spec['replicas'] !== undefined && spec['replicas'] !== null;
  } catch {
    // Who cannot read it cannot tell.
    return true;
  }
}
