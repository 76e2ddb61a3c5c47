/** A share of what there is, in percent (0 to 100), or a number of it. */
export type Bound = { percent: number } | { count: number };

/**
 * How many of `total` a bound allows. Percentages round down, but never below 1 where there are 2 or more: else a
 * quarter of three replicas could never be healed. A single one is touched only by an explicit number.
 */
export function allowance(bound: Bound, total: number): number {
  if ('count' in bound) return bound.count;
  const share = Math.floor((bound.percent * total) / 100);
  return total >= 2 ? Math.max(1, share) : share;
}

export const formatBound = (bound: Bound): string => ('count' in bound ? String(bound.count) : `${bound.percent}%`);
