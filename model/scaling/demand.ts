import type { ServiceRate } from './rate.ts';

/** What the signals ask for, in replicas; before limits, tolerance and stabilization. All round up, and rates are in items a second. */

/** Of what replicas can serve, so much is used: of the current arrivals, and of those that are forecast, which are less sure to come. */
const USED_NOW = 0.75;
const USED_AHEAD = 0.9;

/** Whole replicas, and a number that JSON has; what is whole but for the last digits of a float stays so. */
const whole = (replicas: number): number => Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.ceil(replicas - 1e-9)));

/**
 * Enough to serve what comes then, and to drain beside it what is left then, within `drainWithin` milliseconds. `backlog` and
 * `arrivals` are those at the time at which an order of now serves, so what is ordered already is counted in them. No backlog asks
 * for nothing: what comes is the rate's to ask for.
 */
export function askedByBacklog(backlog: number, arrivals: number, perReplica: number, drainWithin: number): number {
  return backlog > 0 ? whole((arrivals + backlog / (drainWithin / 1000)) / perReplica) : 0;
}

/**
 * Enough that replicas are not busy all the time: by Little's law and the theory of queues waits grow without bound near 100%. Where
 * no more is known than that they serve so much with nothing waiting, as many as serve it so: they may be far from busy.
 */
export const askedByRate = (arrivals: number, { perReplica, basis }: ServiceRate): number =>
  whole(arrivals / (basis === 'bound' ? 1 : USED_NOW) / perReplica);

/** The same for the arrivals at the time at which an order of now serves. */
export const askedAhead = (arrivals: number, { perReplica, basis }: ServiceRate): number =>
  whole(arrivals / (basis === 'bound' ? 1 : USED_AHEAD) / perReplica);

/**
 * In proportion: as many times the replicas that served with this latency as it is over its objective. As in
 * HorizontalPodAutoscaler (desired = ceil(current × value / target)) a ratio within the tolerance asks for what there is.
 */
export function askedByLatency(
  latency: number,
  objective: number,
  served: number,
  current: number,
  tolerance: number,
): number {
  const ratio = latency / objective;
  return Math.abs(ratio - 1) <= tolerance ? current : whole(served * ratio);
}
