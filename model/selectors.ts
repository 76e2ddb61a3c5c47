/** As Kubernetes' API has it (`meta/v1` LabelSelector). */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator?: string; values?: string[] }[];
}

export type Labels = Readonly<Record<string, string>>;

/**
 * As the API evaluates it: all of it must be met, and an empty one selects everything.
 *
 * @param unknown what an expression comes to whose operator is none of the four
 */
export const selects = ({ matchLabels, matchExpressions }: LabelSelector, labels: Labels, unknown: boolean): boolean =>
  Object.entries(matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
  (matchExpressions ?? []).every(({ key, operator, values = [] }) => {
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
        return unknown;
    }
  });
