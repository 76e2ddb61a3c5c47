import { askedAhead, askedByBacklog, askedByLatency, askedByRate } from './demand.ts';
import { type Arrivals, arrivalsAt, forecastArrivals, forecastBacklog, type Serving } from './forecast.ts';
import type { ScalingState } from './memory.ts';
import { servingOf, startUpOf } from './orders.ts';
import { serviceRate } from './rate.ts';
import type { Observation, Sample, ScalingEvidence, ScalingOptions } from './types.ts';

/** What the figures say, before anything is held or limited. */
export interface Assessment {
  evidence: ScalingEvidence;
  forecast?: { at: number; backlog: number };
  /** What the backlog would ask for if what is ordered never came; not known where nobody knows how much comes. */
  alone?: number;
  /** What could not be known of this sample, though it might have asked for more. */
  missing: string[];
}

/** For so long, in milliseconds, the last known arrivals stand for those that are not known, at least. */
const ARRIVALS_STAND = 60_000;

/** What the state says at an observation with a new sample. */
export function assess(
  state: ScalingState,
  fresh: Sample,
  observation: Observation,
  options: ScalingOptions,
): Assessment {
  const { at, ready, starting, desired } = observation;
  const startUp = startUpOf(state.orders, options.startUp, at);
  const until = at + (options.ahead ?? startUp + options.period);
  const rate = serviceRate(state.rates, options.ratePerReplica, fresh.at);
  const arrivals = currentArrivals(state, fresh, options);
  const byBacklog =
    rate &&
    backlogOf(state, fresh, observation, {
      arrivals,
      perReplica: rate.perReplica,
      startUp,
      until,
      drainWithin: options.drainWithin,
    });
  const ahead = arrivals && arrivalsAt(arrivals, until);
  const asked: ScalingEvidence['asked'] = {};
  if (byBacklog) asked.backlog = byBacklog.asked;
  // Nobody knows how many are needed, but none is too few.
  else if (fresh.backlog !== undefined && fresh.backlog > 0) asked.backlog = 1;
  if (arrivals && rate) asked.rate = askedByRate(arrivals.now, rate);
  if (ahead !== undefined && rate) asked.ahead = askedAhead(ahead, rate);
  if (fresh.latency !== undefined && options.latency) {
    const { objective } = options.latency;
    asked.latency = askedByLatency(fresh.latency, objective, fresh.ready ?? ready, desired, options.tolerance);
  }
  return {
    evidence: {
      sampleAt: fresh.at,
      ...(fresh.backlog !== undefined && { backlog: fresh.backlog }),
      ...(arrivals && { arrivals: arrivals.now, arrivalsAhead: ahead }),
      ...(rate && { ratePerReplica: rate.perReplica, rateBasis: rate.basis }),
      ...(fresh.latency !== undefined && { latency: fresh.latency }),
      ...{ ready, starting, asked, startUp },
    },
    ...(byBacklog && { forecast: byBacklog.forecast }),
    ...(byBacklog?.alone !== undefined && { alone: byBacklog.alone }),
    missing: missingOf(state, fresh, options, arrivals !== undefined, rate !== undefined),
  };
}

interface Outlook {
  arrivals: Arrivals | undefined;
  perReplica: number;
  startUp: number;
  until: number;
  drainWithin: number;
}

function backlogOf(
  state: ScalingState,
  { backlog, at: measuredAt }: Sample,
  { at, ready, starting }: Observation,
  { arrivals, perReplica, startUp, until, drainWithin }: Outlook,
): { forecast: { at: number; backlog: number }; asked: number; alone?: number } | undefined {
  if (backlog === undefined) return undefined;
  const coming = arrivals ? arrivalsAt(arrivals, until) : 0;
  const left = (serving: readonly Serving[]): number =>
    forecastBacklog({ backlog, at: measuredAt, arrivals, serving, perReplica }, until);
  const ask = (items: number): number => askedByBacklog(items, coming, perReplica, drainWithin);
  const then = left(servingOf(state.served, state.orders, ready, starting, at, startUp));
  const alone = arrivals && ask(left([...state.served, { from: at, replicas: ready }]));
  return { forecast: { at: until, backlog: then }, asked: ask(then), ...(alone !== undefined && { alone }) };
}

function currentArrivals({ intervals }: ScalingState, fresh: Sample, { period }: ScalingOptions): Arrivals | undefined {
  const newest = intervals.findLast((one) => one.arrivals !== undefined);
  const stands = Math.max(ARRIVALS_STAND, 4 * period);
  return newest && newest.to >= fresh.at - stands ? forecastArrivals(intervals) : undefined;
}

function missingOf(
  { seen }: ScalingState,
  fresh: Sample,
  { latency }: ScalingOptions,
  arrivals: boolean,
  rate: boolean,
): string[] {
  const missing: string[] = [];
  if (seen.backlog && fresh.backlog === undefined) missing.push('the backlog');
  if (seen.arrivals && !arrivals) missing.push('how much comes');
  if (latency && fresh.latency === undefined) missing.push('the latency');
  if ((seen.backlog || seen.arrivals) && !rate) missing.push('how much a replica serves');
  return missing;
}
