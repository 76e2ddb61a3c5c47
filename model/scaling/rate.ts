import { increase, measured, median } from './series.ts';
import type { Sample } from './types.ts';

/** What happened between two samples. Rates are in items a second; a figure that is not known is not there. */
export interface Interval {
  from: number;
  to: number;
  /** Items that came. */
  arrivals?: number;
  /** Items that one replica served. */
  perReplica?: number;
  /** Something waited from its beginning to its end, so that `perReplica` is all that a replica can serve. */
  saturated: boolean;
}

/** If the number of replicas changed by more than this factor, nobody knows how many of them served for how long. */
const MOST_CHANGE = 1.25;

/**
 * The interval between two samples, or undefined if it tells nothing: a counter that was reset takes its interval with it. `rate`
 * is what a replica serves, as far as it is known.
 */
export function intervalBetween(a: Sample, b: Sample, rate: number | undefined): Interval | undefined {
  const seconds = (b.at - a.at) / 1000;
  if (!(seconds > 0)) return undefined;
  const [least, most] = [Math.min(a.ready ?? 0, b.ready ?? 0), Math.max(a.ready ?? 0, b.ready ?? 0)];
  const saturated = isSaturated(a, b);
  const [came, served] = flow(
    a,
    b,
    saturated && rate !== undefined ? ((rate * (least + most)) / 2) * seconds : undefined,
  );
  const even = least > 0 && most <= least * MOST_CHANGE;
  if (came === undefined && (served === undefined || !even)) return undefined;
  const perReplica = served !== undefined && even ? short(served / seconds / ((least + most) / 2)) : undefined;
  return {
    ...{ from: a.at, to: b.at, saturated },
    ...(came !== undefined && { arrivals: short(came / seconds) }),
    // Of so little of a replica that its rate is no number there is none.
    ...(Number.isFinite(perReplica) && { perReplica }),
  };
}

/** Six digits are more than any source gives, and keep the state small. */
const short = (value: number): number => Number(value.toPrecision(6));

/** In milliseconds: of a longer interval its ends tell nothing about its midst. */
const GAP = 60_000;

/** More waited at both ends than there were replicas: those may each have one item in hand, and be idle soon. */
function isSaturated(a: Sample, b: Sample): boolean {
  if (b.at - a.at > GAP) return false;
  const waited = ({ backlog, ready }: Sample): boolean =>
    (measured(backlog) ?? 0) > (ready ?? Number.POSITIVE_INFINITY);
  return waited(a) && waited(b) && (a.ready ?? 0) > 0 && (b.ready ?? 0) > 0;
}

/**
 * How many items came and were served. What came: the gain of the counter; else the rate that was read; else what was served
 * and what the backlog has grown by. What was served: the gain of its counter; else what came less what the backlog has grown by;
 * else, for what came, `capacity`, if the replicas were busy all the time. A reset of a counter is not made up for by the others,
 * for what was reset may have been the source of them all.
 */
function flow(
  a: Sample,
  b: Sample,
  capacity: number | undefined,
): [came: number | undefined, served: number | undefined] {
  const seconds = (b.at - a.at) / 1000;
  const reset = (from: number | undefined, to: number | undefined): boolean =>
    (measured(to) ?? 0) < (measured(from) ?? 0);
  if (reset(a.arrivalsTotal, b.arrivalsTotal) || reset(a.servedTotal, b.servedTotal)) return [undefined, undefined];
  const [before, after, rate] = [measured(a.backlog), measured(b.backlog), measured(b.arrivalRate)];
  const grown = before === undefined || after === undefined ? undefined : after - before;
  const came = increase(a.arrivalsTotal, b.arrivalsTotal) ?? (rate === undefined ? undefined : rate * seconds);
  const served = increase(a.servedTotal, b.servedTotal);
  if (grown === undefined) return [came, served];
  if (came !== undefined) return [came, served ?? Math.max(0, came - grown)];
  const drained = served ?? capacity;
  return [drained === undefined ? undefined : Math.max(0, drained + grown), served];
}

/** So many saturated intervals make a rate: their median, so that one that was measured badly is not followed. */
const COUNTED = 3;
/** Those of one stretch only, in milliseconds: what was measured long ago says little of a rate that has fallen since. */
const STRETCH = 120_000;
/** For so long, in milliseconds, a rate that was measured stands. Then it comes closer to the usual one in as much time again. */
const STANDS = 1_800_000;

/** What is known of the rate at which one replica serves. */
export interface Rates {
  /** The last saturated measurements, oldest first. */
  full: { at: number; rate: number }[];
  /** The most that a replica has served since, with nothing waiting: it can serve that much, and perhaps more. */
  bound: number;
  /** The best that was measured saturated. */
  best: number;
}

export const NO_RATES: Rates = { full: [], bound: 0, best: 0 };

/** What is known after one more interval. */
export function learnRate(rates: Rates, { to, perReplica, saturated }: Interval): Rates {
  if (perReplica === undefined || perReplica === 0) return rates;
  if (!saturated) return { ...rates, bound: Math.max(rates.bound, perReplica) };
  const full = [...rates.full.filter(({ at }) => at > to - STRETCH), { at: to, rate: perReplica }].slice(-COUNTED);
  return { full, bound: 0, best: Math.max(rates.best, median(full.map(({ rate }) => rate)) ?? 0) };
}

export interface ServiceRate {
  /** Items a second that one replica serves. */
  perReplica: number;
  /** `bound`: it serves that much with nothing waiting, and nobody knows how much more it could. */
  basis: 'measured' | 'given' | 'bound';
}

/**
 * How much one replica serves: what it did when it had more to do than it could, whatever was given, for what is configured is
 * seldom true for long. What it served with nothing waiting is only a lower bound. A low rate that was measured once would never be
 * measured again, because there is too much capacity since: after half an hour without a measurement it goes back to the given
 * one (or the best that was seen), slowly, so that what is missing then is little when the next measurement corrects it.
 */
export function serviceRate(
  { full, bound, best }: Rates,
  given: number | undefined,
  at: number,
): ServiceRate | undefined {
  const last = median(full.map(({ rate }) => rate));
  const rate = last === undefined ? given : relaxed(last, given ?? best, at - (full.at(-1)?.at ?? at));
  if (rate !== undefined && rate >= bound)
    return { perReplica: rate, basis: last === undefined ? 'given' : 'measured' };
  return bound > 0 ? { perReplica: bound, basis: rate === undefined ? 'bound' : 'measured' } : undefined;
}

function relaxed(last: number, usual: number, age: number): number {
  const share = Math.min(1, Math.max(0, age / STANDS - 1));
  return last + Math.max(0, usual - last) * share;
}
