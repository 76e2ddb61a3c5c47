/** A value at a time: `x` in any unit of time, `y` in any unit. */
export interface Point {
  x: number;
  y: number;
}

/** A straight line through points. */
export interface Line {
  /** In units of `y` for each unit of `x`. */
  slope: number;
  /** Of the line, at the last point. */
  level: number;
  /** The slopes between which the true one lies with a confidence of about 90%. */
  low: number;
  high: number;
  /** The median distance of the points from the line. */
  noise: number;
}

/** A measured value, or undefined: nothing that is missing, NaN, infinite or negative is a number of items or of milliseconds. */
export const measured = (value: number | undefined): number | undefined =>
  value !== undefined && Number.isFinite(value) && value >= 0 ? value : undefined;

/** What a counter has gained; undefined after a reset, for nobody knows what it had when it was reset. */
export function increase(from: number | undefined, to: number | undefined): number | undefined {
  const [before, now] = [measured(from), measured(to)];
  return before === undefined || now === undefined || now < before ? undefined : now - before;
}

export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : mean(sorted[middle - 1], sorted[middle]);
}

const mean = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : (a + b) / 2;

/**
 * A single value that stands out from both of its neighbours, to the same side, becomes the nearer one of them. The last value has
 * but one neighbour and stays as it is: it may be the first of many.
 */
export const withoutSpikes = (values: readonly number[]): number[] =>
  values.map((value, i) => {
    const [before, after] = [values[i - 1], values[i + 1]];
    if (before === undefined || after === undefined) return value;
    const [low, high] = [Math.min(before, after), Math.max(before, after)];
    return Math.min(high, Math.max(low, value));
  });

/** Of the normal distribution: 90% lies within so many standard deviations. */
const Z90 = 1.645;

/**
 * The line whose slope is the median of the slopes of all pairs of points, which up to 29% of wrong points do not move far (H.
 * Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950). Its interval of confidence is that of P.
 * K. Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968: of the sorted slopes, those at (N ± z·σ)/2
 * with N pairs and σ² = n(n−1)(2n+5)/18. Fewer than four points never make a slope that is sure.
 *
 * @returns undefined for fewer than two points at different times
 */
export function theilSen(points: readonly Point[]): Line | undefined {
  const slopes = points
    .flatMap((a, i) => points.slice(i + 1).map((b) => (b.y - a.y) / (b.x - a.x)))
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const slope = median(slopes);
  const last = points.at(-1);
  if (slope === undefined || !last) return undefined;
  const offset = median(points.map(({ x, y }) => y - slope * (x - last.x))) ?? last.y;
  const n = points.length;
  const spread = Z90 * Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
  const below = Math.round((slopes.length - spread) / 2) - 1;
  return {
    slope,
    level: offset,
    low: slopes[below] ?? Number.NEGATIVE_INFINITY,
    high: slopes[slopes.length - 1 - below] ?? Number.POSITIVE_INFINITY,
    noise: median(points.map(({ x, y }) => Math.abs(y - offset - slope * (x - last.x)))) ?? 0,
  };
}
