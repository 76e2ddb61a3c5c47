import { DEFAULT_BEHAVIOR, type Limits } from './behavior.ts';
import type { Decision, Observation, Sample, ScalingOptions, Stalled } from './types.ts';

export type * from './types.ts';

/**
 * What a controller remembers from one decision to the next. Plain JSON of less than 32 KiB, for it lives in heartbeats and in
 * workflow state; nobody else reads it.
 */
export interface ScalingState {
  version: 1;
  samples: Sample[];
}

export const startingState = (): ScalingState => ({ version: 1, samples: [] });

/** The options with all defaults. */
export function scalingOptions(given: Limits & Partial<ScalingOptions>): ScalingOptions {
  const defaults = { period: 15_000, startUp: 60_000, drainWithin: 60_000, tolerance: 0.1, stalledAfter: 300_000 };
  return { ...defaults, behavior: DEFAULT_BEHAVIOR, ...given };
}

/**
 * Decides how many replicas there should be. Pure: the same state, observation and options give the same answer, and none of
 * them is changed.
 */
export function decide(
  state: ScalingState,
  observation: Observation,
  options: ScalingOptions,
): { state: ScalingState; decision: Decision } {
  const { at, sample, ready, starting, desired } = observation;
  const { backlog } = sample ?? {};
  const rate = options.ratePerReplica;
  const asked =
    backlog === undefined || rate === undefined ? desired : Math.ceil(backlog / ((rate * options.drainWithin) / 1000));
  return {
    state: { version: 1, samples: sample ? [sample] : state.samples },
    decision: {
      at,
      desired: Math.min(options.max, Math.max(options.min, asked)),
      by: sample ? 'backlog' : 'none',
      ...(sample ? {} : { hold: 'missing-data' as const }),
      reason: sample ? `the backlog is ${backlog}` : 'no data',
      evidence: { ready, starting, startUp: options.startUp, asked: sample ? { backlog: asked } : {} },
    },
  };
}

/** Whether replicas were added, became ready, and the backlog still does not fall. By the newest sample that `decide` has seen. */
export function stalled(_state: ScalingState, _options: ScalingOptions): Stalled | undefined {
  return undefined;
}
