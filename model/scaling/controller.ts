import { type Assessment, assess } from './assess.ts';
import { allowed, clamp, DEFAULT_BEHAVIOR, type Limits, rememberLeast, rememberMost, tolerable } from './behavior.ts';
import { remember, type ScalingState, servedNow } from './memory.ts';
import { startUpOf } from './orders.ts';
import { explain, missingReason } from './reason.ts';
import { stalledSince } from './stall.ts';
import type { Decision, Hold, Observation, ScalingOptions, Signal, Stalled } from './types.ts';

export { type ScalingState, startingState } from './memory.ts';
export type * from './types.ts';

/** An order for the backlog stands for its start-up time and so many milliseconds: so long it takes until its work is seen. */
const SEEN_WITHIN = 30_000;

/** The options with all defaults. */
export function scalingOptions(given: Limits & Partial<ScalingOptions>): ScalingOptions {
  const defaults = { period: 15_000, startUp: 60_000, drainWithin: 60_000, tolerance: 0.1, stalledAfter: 300_000 };
  return { ...defaults, behavior: DEFAULT_BEHAVIOR, ...given };
}

/**
 * Decides how many replicas there should be: the most that any signal asks for, held, slowed and limited. Pure: the same state,
 * observation and options give the same answer, and none of them is changed.
 */
export function decide(
  state: ScalingState,
  observation: Observation,
  options: ScalingOptions,
): { state: ScalingState; decision: Decision } {
  const { state: seen, fresh } = remember(state, observation, options);
  // As in HorizontalPodAutoscaler, what there was at the beginning counts as asked for: a new controller lowers nothing early.
  const known = state.observed ? seen : withAsked(seen, observation, options, { steady: observation.desired });
  return fresh
    ? decideBy(known, assess(known, fresh, observation, options), observation, options)
    : hold(known, observation, options);
}

/** Nothing new was read. Not to know counts as asking for what there is, also for what is decided later. */
function hold(
  state: ScalingState,
  observation: Observation,
  options: ScalingOptions,
): { state: ScalingState; decision: Decision } {
  const { at, ready, starting } = observation;
  const desired = clamp(observation.desired, options);
  const startUp = startUpOf(state.orders, options.startUp, at);
  return {
    state: withAsked(state, observation, options, { steady: desired, least: desired }),
    decision: {
      ...{ at, desired, by: desired === observation.desired ? 'none' : 'limits', hold: 'missing-data' },
      reason: missingReason(state.last, observation, desired),
      evidence: { ...(state.last && { sampleAt: state.last.at }), ready, starting, asked: {}, startUp },
    },
  };
}

function decideBy(
  before: ScalingState,
  assessment: Assessment,
  observation: Observation,
  options: ScalingOptions,
): { state: ScalingState; decision: Decision } {
  const { at, desired: current } = observation;
  const { missing, alone } = assessment;
  const { asked } = assessment.evidence;
  // Where nothing else tells what is needed when nothing waits, the backlog is what must not be followed down at once.
  const others = [asked.rate, asked.latency].filter((n) => n !== undefined);
  const steady = Math.max(0, ...(others.length > 0 ? others : [asked.backlog ?? 0]), missing.length > 0 ? current : 0);
  const order = Math.max(asked.backlog ?? 0, asked.ahead ?? 0);
  const now = Math.max(steady, order);
  const needed = missing.length > 0 || alone === undefined ? before : withoutNeedless(before, alone, observation);
  const state = withAsked(needed, observation, options, { steady, order, least: now });
  const most = (memory: readonly { n: number }[]): number => memory[0]?.n ?? 0;
  const wanted: Wanted = {
    now,
    order: most(state.asked.order),
    steady: most(state.asked.steady),
    least: Math.min(now, most(state.asked.least)),
    urgent: (asked.backlog ?? 0) > current,
  };
  const { desired, hold } = restrain(wanted, state, observation, options);
  const partial = missing.length > 0 && desired === current && now <= current;
  const by = signalOf(desired, wanted, assessment, options);
  const decision: Omit<Decision, 'reason'> = {
    ...{ at, desired, by, evidence: assessment.evidence },
    ...(assessment.forecast && { forecast: assessment.forecast }),
    ...(partial ? { hold: 'partial-data' as const } : hold && { hold }),
  };
  return { state, decision: { ...decision, reason: explain(decision, missing, observation, options) } };
}

interface Wanted {
  /** What all signals ask for now. */
  now: number;
  /** The most that the backlog and forecasts asked for, as long as their orders stand. */
  order: number;
  /** The most that the other signals asked for within the stabilization of less. */
  steady: number;
  /** The least that all asked for within the stabilization of more. */
  least: number;
  /** The backlog asks for more than there is: a small change is made too, for somebody waits. */
  urgent: boolean;
}

/** From what is wanted to what is done: stabilization, tolerance, policies, limits, in this order. */
function restrain(
  wanted: Wanted,
  state: ScalingState,
  { at, desired: current }: Observation,
  options: ScalingOptions,
): { desired: number; hold?: Hold } {
  const { scaleUp, scaleDown } = options.behavior;
  const low = Math.max(wanted.steady, wanted.order);
  let desired = current;
  let hold: Hold | undefined;
  if (low < current) {
    desired = low;
    if (low > wanted.now) hold = wanted.order > wanted.steady ? 'order' : 'stabilization';
    if (tolerable(current, desired, scaleDown.tolerance ?? options.tolerance)) [desired, hold] = [current, 'tolerance'];
    const floor = allowed(current, 'down', scaleDown, state.changes, at);
    if (desired < floor) [desired, hold] = [floor, 'policy'];
  } else if (low > current) {
    desired = Math.max(current, Math.min(low, wanted.least));
    if (desired < low) hold = 'stabilization';
    const small = tolerable(current, desired, scaleUp.tolerance ?? options.tolerance);
    if (desired > current && small && !wanted.urgent) [desired, hold] = [current, 'tolerance'];
    const ceiling = allowed(current, 'up', scaleUp, state.changes, at);
    if (desired > ceiling) [desired, hold] = [ceiling, 'policy'];
  } else if (wanted.now < current) hold = wanted.order > wanted.steady ? 'order' : 'stabilization';
  return { desired: clamp(desired, options), hold };
}

function signalOf(desired: number, wanted: Wanted, { evidence: { asked } }: Assessment, limits: Limits): Signal {
  const low = Math.max(wanted.steady, wanted.order);
  if ((desired === limits.max && low > desired) || (desired === limits.min && low < desired)) return 'limits';
  const { backlog = 0, latency = 0 } = asked;
  const rate = Math.max(asked.rate ?? 0, asked.ahead ?? 0);
  if (wanted.order > wanted.steady && wanted.order > wanted.now) return 'backlog';
  if (backlog > rate && backlog > latency) return 'backlog';
  if (latency > rate) return 'latency';
  if (asked.rate !== undefined) return 'rate';
  return asked.latency !== undefined ? 'latency' : asked.backlog !== undefined ? 'backlog' : 'none';
}

/**
 * Replicas that have not started yet are given up when those that serve will have drained the backlog by themselves: what comes
 * may have ended as quickly as it began.
 */
function withoutNeedless(state: ScalingState, alone: number, { ready, starting }: Observation): ScalingState {
  if (starting === 0) return state;
  const most = Math.max(alone, ready);
  const order = state.asked.order.map(({ at, n }) => ({ at, n: Math.min(n, most) }));
  return { ...state, asked: { ...state.asked, order } };
}

/** The state after something was asked for; what is not given is not remembered. */
function withAsked(
  state: ScalingState,
  { at }: Observation,
  { behavior, startUp }: ScalingOptions,
  asked: { steady?: number; order?: number; least?: number },
): ScalingState {
  const stands = startUpOf(state.orders, startUp, at) + SEEN_WITHIN;
  const { order, steady, least } = state.asked;
  const { scaleUp, scaleDown } = behavior;
  return {
    ...state,
    asked: {
      order: asked.order === undefined ? order : rememberMost(order, { at, n: asked.order }, stands),
      steady:
        asked.steady === undefined ? steady : rememberMost(steady, { at, n: asked.steady }, scaleDown.stabilization),
      least: asked.least === undefined ? least : rememberLeast(least, { at, n: asked.least }, scaleUp.stabilization),
    },
  };
}

/**
 * Whether more of the same does not help: replicas were added, serve, and the backlog has not fallen for `stalledAfter`; nor, where
 * no backlog tells more, the latency. Judged by the newest sample that `decide` has seen.
 */
export function stalled(state: ScalingState, options: ScalingOptions): Stalled | undefined {
  const { stall, slow, last, intervals, observed } = state;
  const exhausted = observed !== undefined && observed.desired >= options.max;
  const known = { last, throughput: servedNow(intervals, last), stalledAfter: options.stalledAfter, exhausted };
  return stall ? stalledSince(stall, 'backlog', known) : stalledSince(slow, 'latency', known);
}
