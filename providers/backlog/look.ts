import type { Scale, ScalePoint, WatchState } from '../../model/ports/scalable.ts';
import { sizeBefore } from '../../model/scaling/before.ts';
import {
  type Decision,
  decide,
  type Sample,
  type ScalingOptions,
  type ScalingState,
  scalingOptions,
  startingState,
} from '../../model/scaling/controller.ts';
import type { ScaleOnBacklogOptions, ScalingRules } from '../../model/scaling/options.ts';

/** The size below which Salvor never goes: what it was before, or what the rule wants at least. */
export const floorOf = ({ min }: ScaleOnBacklogOptions, found: Scale): number => Math.max(min, sizeBefore(found));

/** The controller's options for a target, as it was found. */
export function controllerOptions(options: ScaleOnBacklogOptions, found: Scale): ScalingOptions {
  const { backlog, latency, perReplica, startUp, tolerance, behavior, every, stalledAfter } = options;
  const min = floorOf(options, found);
  return scalingOptions({
    min,
    max: Math.max(min, Math.min(options.max, found.max)),
    ...{ period: every, startUp, tolerance, stalledAfter },
    ...(backlog && { drainWithin: backlog.drainWithin }),
    ...(perReplica !== undefined && { ratePerReplica: perReplica }),
    ...(latency && { latency: { objective: latency.objective } }),
    behavior: { scaleUp: directionOf(behavior.scaleUp), scaleDown: directionOf(behavior.scaleDown) },
  });
}

const directionOf = ({ stabilizationWindow, policies, select }: ScalingRules) => ({
  stabilization: stabilizationWindow,
  ...{ select, policies },
});

/** One decision about a target, as it stands and as it was measured. */
export function decideNow(
  state: ScalingState,
  now: Scale,
  sample: Sample | null,
  options: ScalingOptions,
  at = Date.now(),
): { state: ScalingState; decision: Decision } {
  const { ready, desired } = now;
  const starting = Math.max(0, desired - ready);
  return decide(state, { at, sample, ready, starting, desired }, options);
}

/** A state that knows what was measured before it: a first look is to know rates and slopes already. */
export function primed(samples: readonly Sample[], now: Scale, options: ScalingOptions): ScalingState {
  // As if it had been looked at then; who served at that time is not known, and taken to be as many as now.
  return samples.reduce((state, sample) => decideNow(state, now, sample, options, sample.at).state, startingState());
}

/** The newest sample that has all that any of them has; else the newest. */
export function newestOf(samples: readonly Sample[]): Sample | null {
  const most = Math.max(0, ...samples.map((sample) => Object.keys(sample).length));
  return samples.findLast((sample) => Object.keys(sample).length === most) ?? null;
}

export const pointOf = ({ at, desired, forecast, evidence }: Decision): ScalePoint => ({
  at,
  backlog: evidence.backlog ?? null,
  forecast: forecast?.backlog ?? null,
  latency: evidence.latency ?? null,
  desired,
  ready: evidence.ready,
});

export const newState = (controller: ScalingState): WatchState => ({ controller });

/** Data points of AWS' own services come minutes after the end of their period. */
const CLOUDWATCH_LATE = 360_000;

/** Milliseconds within which the newest values are. @param looks how many of them are wanted, at least */
export function lookBack({ every, backlog, latency }: ScaleOnBacklogOptions, looks = 3): number {
  const queries = [backlog?.items, backlog?.arrivals, backlog?.served, latency?.seconds];
  const periods = queries.flatMap((query) => (query && 'cloudwatch' in query ? [query.cloudwatch.period] : []));
  return Math.max(looks * every, ...periods.map((period) => CLOUDWATCH_LATE + looks * period));
}
