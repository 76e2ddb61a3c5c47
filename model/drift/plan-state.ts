import { isObject, type PlanJson } from './plan-json.ts';

/** What each resource of the state depends on, by its address: addresses without an index. */
export function dependenciesOf({ prior_state: state }: PlanJson): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const visit = (module: unknown): void => {
    if (!isObject(module)) return;
    for (const resource of listOf(module['resources'])) {
      if (!isObject(resource) || typeof resource['address'] !== 'string') continue;
      found.set(
        resource['address'],
        listOf(resource['depends_on']).filter((one) => typeof one === 'string'),
      );
    }
    listOf(module['child_modules']).forEach(visit);
  };
  const values = isObject(state?.values) ? state.values : undefined;
  visit(values?.['root_module']);
  return found;
}

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
