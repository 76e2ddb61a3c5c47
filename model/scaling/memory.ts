import { type Behavior, type Dated, rememberChange } from './behavior.ts';
import type { Serving } from './forecast.ts';
import { followOrders, NO_ORDERS, type Orders } from './orders.ts';
import { type Interval, intervalBetween, learnRate, NO_RATES, type Rates, serviceRate } from './rate.ts';
import { measured } from './series.ts';
import { judgedBacklog, judgedLatency, markOf, type StallMark } from './stall.ts';
import type { Observation, Sample, ScalingOptions } from './types.ts';

/**
 * What a controller remembers from one decision to the next. Plain JSON of less than 32 KiB, for it lives in heartbeats and in
 * workflow state; nobody else reads it.
 */
export interface ScalingState {
  version: 1;
  /** Of the last observation. */
  observed?: { at: number; desired: number };
  /** The newest sample, with the replicas that served then. */
  last?: Sample;
  /** Where the interval begins that is not closed yet. */
  base?: Sample;
  /** Oldest first. */
  intervals: Interval[];
  /** Who served since when, oldest first. */
  served: Serving[];
  rates: Rates;
  orders: Orders;
  /** Which signals were ever there, and are missed when they are not. */
  seen: { backlog?: true; arrivals?: true };
  /**
   * The most that was asked for: `order` by the backlog and by forecasts, `steady` by what is so already; and the least of all, for
   * stabilization upwards.
   */
  asked: { order: Dated[]; steady: Dated[]; least: Dated[] };
  /** By how much the target has changed, as far as policies count it. */
  changes: Dated[];
  /** Where replicas were added for a backlog, and against a latency. */
  stall?: StallMark;
  slow?: StallMark;
}

export const startingState = (): ScalingState => ({
  version: 1,
  intervals: [],
  served: [],
  rates: NO_RATES,
  orders: NO_ORDERS,
  seen: {},
  asked: { order: [], steady: [], least: [] },
  changes: [],
});

/** Kept at most. */
const INTERVALS = 48;
const SERVED = 32;
/** In milliseconds: a shorter interval tells little, unless decisions come as quickly. */
const SHORTEST = 5000;
/** In milliseconds: so long a source may take to measure again. */
const SLOWEST = 60_000;
/** In milliseconds: after so long Prometheus itself takes a series for gone. */
const OLDEST = 300_000;

/** The state after an observation, before anything is decided. `fresh` is its sample, if it is newer than all before. */
export function remember(
  state: ScalingState,
  observation: Observation,
  options: ScalingOptions,
): { state: ScalingState; fresh: Sample | undefined } {
  const { at, ready, desired, sample } = observation;
  const last = state.served.at(-1);
  const served =
    last?.replicas === ready ? state.served : [...state.served, { from: at, replicas: ready }].slice(-SERVED);
  const next: ScalingState = {
    ...state,
    observed: { at, desired },
    served,
    orders: followOrders(state.orders, state.observed, observation),
    changes: changesOf(state, observation, options.behavior),
  };
  if (!sample || !isNew(sample, state.last, at, options)) return { state: next, fresh: undefined };
  const fresh = cleaned(sample, served, observation);
  // A sample without any value is none.
  if (Object.keys(fresh).length <= 2) return { state: next, fresh: undefined };
  return { state: learn(next, fresh, options), fresh };
}

/** Newer than what was seen before, and not so old that it tells nothing of now. */
function isNew(sample: Sample, last: Sample | undefined, at: number, { period }: ScalingOptions): boolean {
  const oldest = at - Math.max(OLDEST, 10 * period);
  return Number.isFinite(sample.at) && sample.at >= oldest && (last === undefined || sample.at > last.at);
}

function changesOf({ changes, observed }: ScalingState, { at, desired }: Observation, behavior: Behavior): Dated[] {
  if (!observed) return [];
  const kept = rememberChange(changes, { at: observed.at, n: desired - observed.desired }, behavior);
  const longest = Math.max(
    0,
    ...[...behavior.scaleUp.policies, ...behavior.scaleDown.policies].map(({ period }) => period),
  );
  return kept.filter((change) => change.at > at - longest);
}

/**
 * With nothing but values that can be true, and with the replicas that served at its time. A source whose clock is ahead has
 * measured now.
 */
function cleaned(sample: Sample, served: readonly Serving[], { at: now, ready }: Observation): Sample {
  const names = ['backlog', 'arrivalsTotal', 'arrivalRate', 'servedTotal', 'latency'] as const;
  const values = names
    .map((name) => [name, measured(sample[name])] as const)
    .filter(([, value]) => value !== undefined);
  const at = Math.min(sample.at, now);
  const then = (served.findLast(({ from }) => from <= at) ?? served[0])?.replicas ?? ready;
  return { at, ready: measured(sample.ready) ?? then, ...Object.fromEntries(values) };
}

/**
 * Whether the interval that begins at `base` goes on. It does while nothing has changed at all: a source that measures more seldom
 * than it is asked tells the same again, which does not mean that nothing comes.
 */
function isOpen(base: Sample, fresh: Sample, { period }: ScalingOptions): boolean {
  const same = (['backlog', 'arrivalsTotal', 'arrivalRate', 'servedTotal'] as const).every(
    (name) => base[name] === fresh[name],
  );
  return fresh.at - base.at < (same ? SLOWEST : Math.min(SHORTEST, period));
}

function learn(state: ScalingState, fresh: Sample, options: ScalingOptions): ScalingState {
  const { base, seen } = state;
  const perReplica = serviceRate(state.rates, options.ratePerReplica, fresh.at)?.perReplica;
  const flows = fresh.arrivalsTotal ?? fresh.arrivalRate ?? fresh.servedTotal;
  const next: ScalingState = {
    ...state,
    last: fresh,
    seen: {
      ...seen,
      ...(fresh.backlog !== undefined && { backlog: true }),
      ...(flows !== undefined && { arrivals: true }),
    },
    ...marksOf(state, fresh, perReplica, options),
  };
  if (!base) return { ...next, base: fresh };
  if (isOpen(base, fresh, options)) return next;
  const interval = intervalBetween(base, fresh, perReplica);
  if (!interval) return { ...next, base: fresh };
  return {
    ...next,
    base: fresh,
    intervals: [...state.intervals, interval].slice(-INTERVALS),
    rates: learnRate(state.rates, interval),
  };
}

function marksOf(
  { stall, slow, last, intervals }: ScalingState,
  fresh: Sample,
  perReplica: number | undefined,
  { drainWithin, latency, tolerance }: ScalingOptions,
): Pick<ScalingState, 'stall' | 'slow'> {
  const backlog = judgedBacklog(fresh, servedNow(intervals, fresh), perReplica, drainWithin);
  const byBacklog = markOf(stall, last, fresh, backlog);
  const byLatency =
    latency && markOf(slow, last, fresh, judgedLatency(fresh, latency.objective, tolerance, perReplica));
  return { stall: byBacklog, slow: byLatency };
}

/** Items a second that are served, as far as it was measured. */
export function servedNow(intervals: readonly Interval[], last: Sample | undefined): number | undefined {
  const newest = intervals.findLast((one) => one.perReplica !== undefined);
  return newest?.perReplica === undefined ? undefined : newest.perReplica * (last?.ready ?? 0);
}
