import type { Behavior, Limits } from './behavior.ts';

/**
 * What was measured at one time, by the source's own clock. A value that is not a finite number of at least 0 is no value. Of
 * `backlog`, arrivals and latency at least one should be there; what is missing is never taken for zero.
 */
export interface Sample {
  /** When it was measured, in milliseconds since 1970; not when it was read. One older than five minutes (or ten periods) is none. */
  at: number;
  /** Items that wait or are in work. */
  backlog?: number;
  /** Items that have come, ever: a counter, which may start again at 0. */
  arrivalsTotal?: number;
  /** Items that come in a second, where no counter is to be had. */
  arrivalRate?: number;
  /** Items that were served, ever: a counter, which may start again at 0. */
  servedTotal?: number;
  /** In the unit of `latency.objective`. */
  latency?: number;
  /** Replicas that served when it was measured, if the source knows; else what `Observation.ready` was at that time. */
  ready?: number;
}

/** What is known at the time of one decision. */
export interface Observation {
  /** Now, in milliseconds since 1970; never earlier than in the observation before. */
  at: number;
  /** The newest sample, even if it was seen before; null when nothing could be read. */
  sample: Sample | null;
  /** Replicas that serve now. */
  ready: number;
  /** Replicas that were ordered and are not ready yet. */
  starting: number;
  /** What the target is set to now: what Salvor set, or a person since. */
  desired: number;
}

/** All durations in milliseconds, rates in items a second. Plain JSON; `scalingOptions` fills in what is not given. */
export interface ScalingOptions extends Limits {
  /** The time from one decision to the next. */
  period: number;
  /** From an order to a replica that serves: an estimate, until orders have shown how long it takes. */
  startUp: number;
  /** A backlog is to be gone within this time from the moment at which what was ordered for it serves. */
  drainWithin: number;
  /** Items a second that one replica serves. Taken only until it could be measured. */
  ratePerReplica?: number;
  /** How far the forecast looks; by default the start-up time, the age of the data and one period together. */
  ahead?: number;
  latency?: { objective: number };
  behavior: Behavior;
  /** A share: a change of fewer replicas than this share of those there are is not made. 0.1 as in HorizontalPodAutoscaler. */
  tolerance: number;
  /** More replicas serve, and neither backlog nor latency has fallen for so long: more of the same will not help. */
  stalledAfter: number;
}

/**
 * What a decision follows: a signal, the limits if they say something else than every signal, or nothing that was read. `backlog`
 * also stands for what was ordered for it, or for a forecast, a short while ago.
 */
export type Signal = 'backlog' | 'rate' | 'latency' | 'limits' | 'none';

/** Why the number is not the one that the signals ask for. */
export type Hold =
  /** Nothing new was read: never down, whatever was known before. */
  | 'missing-data'
  /** What is missing might ask for more: as in HorizontalPodAutoscaler, up if another signal asks for it, never down. */
  | 'partial-data'
  /** Less is asked for, but an order of a short while ago is still needed and has yet to do its work. */
  | 'order'
  /** Too small a change. */
  | 'tolerance'
  /** A higher number was asked for a short while ago (down), or a lower one (up). */
  | 'stabilization'
  /** A policy of `behavior` allows no more at once. */
  | 'policy';

export interface Decision {
  at: number;
  /** The number of replicas to have: absolute, within the limits. */
  desired: number;
  by: Signal;
  hold?: Hold;
  /** One sentence for people. */
  reason: string;
  /** The backlog at the time at which what is ordered now will serve, if nothing new is ordered. */
  forecast?: { at: number; backlog: number };
  evidence: ScalingEvidence;
}

/** The figures behind a decision; what is not known is not there. */
export interface ScalingEvidence {
  /** When the newest sample was measured. */
  sampleAt?: number;
  backlog?: number;
  /** Items a second: now, and at the time of the forecast. */
  arrivals?: number;
  arrivalsAhead?: number;
  /** Items a second that one replica serves, and how that is known. */
  ratePerReplica?: number;
  rateBasis?: 'measured' | 'given' | 'bound';
  latency?: number;
  ready: number;
  starting: number;
  /** What each signal asked for, before any hold or limit. */
  asked: {
    backlog?: number;
    /** By what comes now. */
    rate?: number;
    /** By what is forecast to come. */
    ahead?: number;
    latency?: number;
  };
  /** The start-up time that was reckoned with, in milliseconds. */
  startUp: number;
}

/** More of the same does not help: what was added, and what the backlog, or the latency, did meanwhile. */
export interface Stalled {
  /** From the moment at which the added replicas served to the newest sample. */
  since: number;
  at: number;
  ready: { before: number; now: number };
  of: 'backlog' | 'latency';
  level: { before: number; now: number };
  /** One sentence for people. */
  reason: string;
}
