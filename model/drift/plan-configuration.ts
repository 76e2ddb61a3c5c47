import { isObject, type Json, type PlanJson, type ResourceChange } from './plan-json.ts';
import type { ValueDiff } from './plan-values.ts';

/** What the source itself says of a resource: `configuration` of a plan. */
export class Configuration {
  readonly #root: unknown;

  constructor({ configuration }: Pick<PlanJson, 'configuration'>) {
    this.#root = configuration?.root_module;
  }

  /** The expressions of a resource, by attribute and block; undefined where the source does not have it. */
  expressions(resource: Named): Json | undefined {
    const found = this.#find(resource);
    return found && (isObject(found['expressions']) ? found['expressions'] : {});
  }

  /** The key of the configuration of its provider; undefined where the source does not have the resource. */
  providerOf(resource: Named): string | undefined {
    const key = this.#find(resource)?.['provider_config_key'];
    return typeof key === 'string' ? key : undefined;
  }

  /** Whether something is run on the worker, or by it, when the resource is made. */
  hasProvisioners(resource: Named): boolean {
    const provisioners = this.#find(resource)?.['provisioners'];
    return Array.isArray(provisioners) && provisioners.length > 0;
  }

  #find({ module_address: module, type, name, mode }: Named): Json | undefined {
    let at = this.#root;
    for (const call of callsOf(module)) {
      const calls = isObject(at) ? at['module_calls'] : undefined;
      const called = isObject(calls) ? calls[call] : undefined;
      at = isObject(called) ? called['module'] : undefined;
    }
    const resources = isObject(at) ? at['resources'] : undefined;
    if (!Array.isArray(resources)) return undefined;
    const found = resources.find(
      (one: unknown) => isObject(one) && one['type'] === type && one['name'] === name && (one['mode'] ?? mode) === mode,
    );
    return isObject(found) ? found : undefined;
  }
}

type Named = Pick<ResourceChange, 'module_address' | 'type' | 'name' | 'mode'>;

/** Names of the calls in `module.a["x.y"].module.b[0]`. */
function callsOf(module: string | undefined): string[] {
  // Keys of instances may hold anything, in quotes.
  const plain = (module ?? '').replace(/\[(?:"(?:[^"\\]|\\.)*"|[0-9]+)\]/g, '');
  return plain.split('.').filter((_, place) => place % 2 === 1);
}

const isExpression = (node: unknown): boolean =>
  isObject(node) && ('constant_value' in node || 'references' in node || Object.keys(node).length === 0);

/** Whether the source sets what is at this path: an attribute, or one of a block. */
export function isSet(expressions: Json | undefined, path: ValueDiff['path']): boolean {
  return expressionsAt(expressions, path).length > 0;
}

/** What the source refers to there: `local_file.motd.id`, `var.port`, … */
export function referencesAt(expressions: Json | undefined, path: ValueDiff['path']): string[] {
  return expressionsAt(expressions, path).flatMap((node) => {
    const references = isObject(node) ? node['references'] : undefined;
    return Array.isArray(references) ? references.filter((one) => typeof one === 'string') : [];
  });
}

function expressionsAt(expressions: Json | undefined, path: ValueDiff['path']): unknown[] {
  let nodes: unknown[] = expressions ? [expressions] : [];
  let isTop = true;
  for (const key of path) {
    // Blocks of one name are a list, and which of them becomes which element nobody can tell.
    if (typeof key === 'number') continue;
    if (!isTop && nodes.some(isExpression)) return nodes.filter(isExpression);
    nodes = nodes.flatMap((node) => (isObject(node) && key in node ? node[key] : []));
    isTop = false;
  }
  return nodes;
}
