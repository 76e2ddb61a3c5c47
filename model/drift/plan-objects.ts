import { InputError } from '../input-error.ts';
import { parseTarget, type Target } from '../target.ts';
import { isObject, type ResourceChange } from './plan-json.ts';

/** An object of an API that a resource is of, where its type tells. */
export type PlannedObject =
  | { of: 'kubernetes'; kind: string; group?: string; namespace?: string; name: string; shownKind?: string }
  | { of: 'asg'; name: string };

/** Which object a resource is of; undefined where it is of none that Salvor holds anything on. */
export function objectOf({ type, change }: Pick<ResourceChange, 'type' | 'change'>): PlannedObject | undefined {
  const values = isObject(change.before) ? change.before : change.after;
  if (!isObject(values)) return undefined;
  if (type === 'aws_autoscaling_group') {
    const name = values['name'];
    return typeof name === 'string' ? { of: 'asg', name } : undefined;
  }
  if (type === 'kubectl_manifest') return manifest(values['api_version'], values['kind'], values);
  if (type === 'kubernetes_manifest') {
    const text = isObject(values['object']) ? values['object'] : values['manifest'];
    return isObject(text) ? manifest(text['apiVersion'], text['kind'], text['metadata']) : undefined;
  }
  if (!type.startsWith('kubernetes_')) return undefined;
  const metadata = Array.isArray(values['metadata']) ? values['metadata'][0] : undefined;
  if (typeof values['kind'] === 'string') return manifest(values['api_version'], values['kind'], metadata);
  // kubernetes_horizontal_pod_autoscaler_v2, of a group that its type does not name.
  const kind = type
    .slice('kubernetes_'.length)
    .replace(/_v[0-9]+(?:beta[0-9]+)?$/, '')
    .replaceAll('_', '');
  return named({ kind }, metadata);
}

function manifest(apiVersion: unknown, kind: unknown, metadata: unknown): PlannedObject | undefined {
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return undefined;
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  return named({ kind: kind.toLowerCase(), group, shownKind: kind }, metadata);
}

function named(of: { kind: string; group?: string; shownKind?: string }, metadata: unknown): PlannedObject | undefined {
  if (!isObject(metadata) || typeof metadata['name'] !== 'string') return undefined;
  const namespace = metadata['namespace'];
  return {
    ...{ of: 'kubernetes', ...of, name: metadata['name'] },
    ...(typeof namespace === 'string' && namespace !== '' && { namespace }),
  };
}

/**
 * Whether a target key is of this object, whatever its cluster or account is called: the source of a stack does not tell that.
 * An instance of a group counts as its group, for to hold one changes what the group wants.
 */
export function isOf(object: PlannedObject, key: string): boolean {
  const target = targetOf(key);
  if (target === undefined) return false;
  if (object.of === 'asg') return target.type === 'asg' && target.group === object.name;
  if (target.type === 'node') return object.kind === 'node' && target.name === object.name;
  return (
    target.type === 'k8s' &&
    target.kind === object.kind &&
    target.name === object.name &&
    // Without one it is of the provider's default namespace.
    (object.namespace ?? 'default') === target.namespace &&
    (object.group === undefined || object.group === (target.group ?? ''))
  );
}

function targetOf(key: string): Target | undefined {
  try {
    return parseTarget(key);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
