import { isObject, type Json, type PlanJson } from './plan-json.ts';

/** A resource of the state, as it is after the refresh. */
export interface StateResource {
  address: string;
  mode: string;
  type: string;
  name: string;
  module_address?: string;
  provider_name?: string;
  /** What it depends on: addresses without an index. */
  dependencies: string[];
}

export function resourcesIn({ prior_state: state }: PlanJson): StateResource[] {
  const found: StateResource[] = [];
  const visit = (module: unknown): void => {
    if (!isObject(module)) return;
    for (const resource of listOf(module['resources'])) {
      const one = isObject(resource) ? resourceOf(resource, module['address']) : undefined;
      if (one) found.push(one);
    }
    listOf(module['child_modules']).forEach(visit);
  };
  const values = isObject(state?.values) ? state.values : undefined;
  visit(values?.['root_module']);
  return found;
}

function resourceOf(resource: Json, module: unknown): StateResource | undefined {
  const { address, mode, type, name, provider_name } = resource;
  if (!isText(address)) return undefined;
  return {
    ...{ address, mode: textOf(mode), type: textOf(type), name: textOf(name) },
    ...(isText(module) && { module_address: module }),
    ...(isText(provider_name) && { provider_name }),
    dependencies: listOf(resource['depends_on']).filter(isText),
  };
}

/** What each resource of the state depends on, by its address: addresses without an index. */
export const dependenciesOf = (plan: PlanJson): Map<string, string[]> =>
  new Map(resourcesIn(plan).map(({ address, dependencies }) => [address, dependencies]));

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const isText = (value: unknown): value is string => typeof value === 'string';
const textOf = (value: unknown): string => (isText(value) ? value : '');
