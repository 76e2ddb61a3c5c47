import type { Interval } from './rate.ts';
import { median, type Point, theilSen, withoutSpikes } from './series.ts';

/** How many items come in a second, and how that changes. */
export interface Arrivals {
  now: number;
  /** In a second so many more each second; 0 where no trend stands out from the noise. */
  slope: number;
  /** The middle of the newest interval, in milliseconds since 1970. */
  at: number;
}

/** Items a second at the time `t`. */
export const arrivalsAt = ({ now, slope, at }: Arrivals, t: number): number =>
  Math.max(0, now + (slope * (t - at)) / 1000);

/** Of so many newest intervals a trend is looked for: a short look sees a rise early, a long one sees it through noise. */
const LOOKS = [5, 12];
/** The level is the median of so many. */
const RECENT = 3;

/**
 * What comes by the newest intervals. The level is what came last, or the median of the last three if that is more: the last
 * may be a gap, and may be the first of a step that nobody should wait to be sure of. A rise is followed only as far as it stands
 * out from the noise: by the low end of its interval of confidence. A fall is not followed: it costs nothing to see it later.
 *
 * @returns undefined if no interval tells what came
 */
export function forecastArrivals(intervals: readonly Interval[]): Arrivals | undefined {
  const known = intervals.filter((one) => one.arrivals !== undefined).slice(-Math.max(...LOOKS));
  const last = known.at(-1);
  if (!last) return undefined;
  const values = withoutSpikes(known.map((one) => one.arrivals ?? 0));
  const points = known.map((one, i): Point => ({ x: (one.from + one.to) / 2000, y: values[i] ?? 0 }));
  const now = Math.max(values.at(-1) ?? 0, median(values.slice(-RECENT)) ?? 0);
  const rises = LOOKS.filter((look) => points.length >= look).map((look) => theilSen(points.slice(-look))?.low ?? 0);
  return { now, slope: Math.max(0, ...rises), at: (last.from + last.to) / 2 };
}

/** So many replicas serve from a time on, until the next. */
export interface Serving {
  from: number;
  replicas: number;
}

/** A queue, and those who serve it. */
export interface Queue {
  /** Items at the time `at`. */
  backlog: number;
  at: number;
  arrivals: Arrivals | undefined;
  /** In the order of time; before the first, its number serves. */
  serving: readonly Serving[];
  /** Items a second. */
  perReplica: number;
}

const STEPS = 64;

/** The backlog at `until`, if nothing is ordered: in steps, for a queue never holds less than nothing. */
export function forecastBacklog({ backlog, at, arrivals, serving, perReplica }: Queue, until: number): number {
  const step = (until - at) / STEPS;
  let items = backlog;
  for (let i = 0; i < STEPS; i++) {
    const t = at + (i + 0.5) * step;
    const replicas = (serving.findLast(({ from }) => from <= t) ?? serving[0])?.replicas ?? 0;
    const grown = (arrivals ? arrivalsAt(arrivals, t) : 0) - replicas * perReplica;
    items = Math.max(0, items + (grown * step) / 1000);
  }
  return items;
}
