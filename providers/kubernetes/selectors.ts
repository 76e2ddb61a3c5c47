import type { LabelSelector, Service } from './objects.ts';

export type Labels = Readonly<Record<string, string>>;

/** What a Service selects; undefined where that is nothing: such a Service has its endpoints from elsewhere. */
export function selectorOfService({ spec }: Service): LabelSelector | undefined {
  const matchLabels = spec?.selector ?? {};
  return Object.keys(matchLabels).length > 0 ? { matchLabels } : undefined;
}

/** The label keys that a selector looks at. */
export const keysOf = ({ matchLabels = {}, matchExpressions = [] }: LabelSelector): Set<string> =>
  new Set([...Object.keys(matchLabels), ...matchExpressions.map(({ key }) => key)]);

/** As the API evaluates it: all of it must be met, and an empty one selects everything. */
export const selects = ({ matchLabels = {}, matchExpressions = [] }: LabelSelector, labels: Labels): boolean =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
  matchExpressions.every((expression) => isMet(expression, labels));

function isMet(
  { key, operator, values = [] }: NonNullable<LabelSelector['matchExpressions']>[number],
  labels: Labels,
): boolean {
  const value = labels[key];
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      // Unknown here, so no change of a label can be counted on to leave it.
      return true;
  }
}
