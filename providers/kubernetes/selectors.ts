import { type LabelSelector, type Labels, selects as meets } from '../../model/selectors.ts';
import type { Service } from './objects.ts';

/** What a Service selects; undefined where that is nothing: such a Service has its endpoints from elsewhere. */
export function selectorOfService({ spec }: Service): LabelSelector | undefined {
  const matchLabels = spec?.selector ?? {};
  return Object.keys(matchLabels).length > 0 ? { matchLabels } : undefined;
}

/** The label keys that a selector looks at. */
export const keysOf = ({ matchLabels = {}, matchExpressions = [] }: LabelSelector): Set<string> =>
  new Set([...Object.keys(matchLabels), ...matchExpressions.map(({ key }) => key)]);

/** Of an operator that is unknown here it counts as met: no change of a label can be counted on to leave it. */
export const selects = (selector: LabelSelector, labels: Labels): boolean => meets(selector, labels, true);
