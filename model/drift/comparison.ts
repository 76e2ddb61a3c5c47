import type { Comparison } from '../ports/desired-state.ts';
import { type Difference, type DriftClass, MOST_DIFFERENCES } from './difference.ts';

const ORDER: readonly DriftClass[] = [
  ...(['destructive', 'reversible', 'mixed', 'extra', 'unapplied', 'held', 'ignored', 'computed'] as const),
];

/** What is reverted first: of more than have room that is what stays. */
export const revertibleFirst = (differences: readonly Difference[]): Difference[] =>
  differences.toSorted((a, b) => ORDER.indexOf(a.class) - ORDER.indexOf(b.class) || (a.address < b.address ? -1 : 1));

/** The answer of a look. @param ordered all differences; the last of them are left out where they are too many */
export function comparisonOf(
  ordered: readonly Difference[],
  { why, revision }: { why: string; revision: string | undefined },
): Extract<Comparison, { verdict: 'same' | 'differs' }> {
  const more = ordered.length - MOST_DIFFERENCES;
  return {
    verdict: ordered.length > 0 ? 'differs' : 'same',
    why,
    ...(revision !== undefined && { revision }),
    differences: ordered.slice(0, MOST_DIFFERENCES),
    ...(more > 0 && { more }),
  };
}
