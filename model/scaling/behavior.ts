/** The numbers of replicas between which Salvor may choose. */
export interface Limits {
  min: number;
  max: number;
}

/** How much may change within a time. */
export interface Policy {
  type: 'Pods' | 'Percent';
  /** Replicas, or percent of those that there were at the beginning of the period. */
  value: number;
  /** In milliseconds. */
  period: number;
}

/** One direction of `behavior`. */
export interface Direction {
  /** For so long, in milliseconds, the most careful of the recommendations counts: the least for more, the most for less. */
  stabilization: number;
  /** Of several policies the one that allows most (Max) or least (Min); Disabled: never in this direction. */
  select: 'Max' | 'Min' | 'Disabled';
  /** None: no limit but `Limits`. */
  policies: Policy[];
  /** A share, instead of the general one, as in KEP-4951. */
  tolerance?: number;
}

/**
 * The `behavior` of HorizontalPodAutoscaler, autoscaling/v2 (kubernetes.io/docs, "Configurable scaling behavior", and KEP-853),
 * with durations in milliseconds.
 */
export interface Behavior {
  scaleUp: Direction;
  scaleDown: Direction;
}

/**
 * Down as in HorizontalPodAutoscaler: 300 s of stabilization, then as far as is asked for. Up without its limit of 100% or 4 pods
 * in 15 s: a backlog that was seen late is not drained by doubling five times.
 */
export const DEFAULT_BEHAVIOR: Behavior = {
  scaleUp: { stabilization: 0, select: 'Max', policies: [] },
  scaleDown: { stabilization: 300_000, select: 'Max', policies: [] },
};

/** A number of replicas that was asked for, or by which the number changed (then it may be negative), and when. */
export interface Dated {
  at: number;
  n: number;
}

export const clamp = (n: number, { min, max }: Limits): number => Math.min(max, Math.max(min, n));

/** So many values are kept at most of a window; if there are more, older ones are merged, to the careful side. */
const KEPT = 120;

/**
 * A window's memory with one more value. `worse` tells whether a value can never count again once a later one is known: for a
 * maximum, whatever is not larger. So only a few are kept, and the first is the extreme of the window.
 */
function remembered(
  memory: readonly Dated[],
  next: Dated,
  length: number,
  worse: (old: number, n: number) => boolean,
): Dated[] {
  const kept = memory.filter(({ at, n }) => at > next.at - length && !worse(n, next.n));
  // The oldest of what is left is the extreme, so what replaces the one after it may only be kept longer, never less.
  if (kept.length >= KEPT) kept.splice(0, 2, { at: kept[1]?.at ?? next.at, n: kept[0]?.n ?? next.n });
  return [...kept, next];
}

/** The most that was asked for within `length` milliseconds: the value of the first. */
export const rememberMost = (memory: readonly Dated[], next: Dated, length: number): Dated[] =>
  remembered(memory, next, length, (old, n) => old <= n);

/** The least that was asked for within `length` milliseconds: the value of the first. */
export const rememberLeast = (memory: readonly Dated[], next: Dated, length: number): Dated[] =>
  remembered(memory, next, length, (old, n) => old >= n);

/** Changes that policies still have to count. */
export function rememberChange(changes: readonly Dated[], change: Dated, { scaleUp, scaleDown }: Behavior): Dated[] {
  const longest = Math.max(0, ...[...scaleUp.policies, ...scaleDown.policies].map(({ period }) => period));
  const kept = changes.filter(({ at }) => at > change.at - longest);
  return change.n === 0 || longest === 0 ? kept : [...kept, change].slice(-KEPT);
}

/**
 * How far the policies let the number go at once. Each counts from the number at the beginning of its period: what there is now,
 * without what has changed since. A percentage of none allows one, or none would stay none for ever.
 */
export function allowed(
  current: number,
  toward: 'up' | 'down',
  direction: Direction,
  changes: readonly Dated[],
  at: number,
): number {
  if (direction.select === 'Disabled') return current;
  const up = toward === 'up';
  if (direction.policies.length === 0) return up ? Number.POSITIVE_INFINITY : 0;
  const ends = direction.policies.map(({ type, value, period }) => {
    const since = changes.filter((change) => change.at > at - period).reduce((sum, { n }) => sum + n, 0);
    const start = current - since;
    if (type === 'Pods') return up ? start + value : start - value;
    return up ? Math.ceil(Math.max(1, start) * (1 + value / 100)) : Math.floor(start * (1 - value / 100));
  });
  const most = (direction.select === 'Max') === up;
  const end = most ? Math.max(...ends) : Math.min(...ends);
  // What is there already was allowed, or was done by somebody else: a policy never undoes it.
  return up ? Math.max(current, end) : Math.min(current, end);
}

/** Whether a change is too small to be made. */
export const tolerable = (current: number, desired: number, tolerance: number): boolean =>
  Math.abs(desired - current) <= tolerance * current + 1e-9;
