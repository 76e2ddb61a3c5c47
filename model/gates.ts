import { formatDuration } from './duration.ts';
import type { Decision, Request } from './request.ts';
import type { ResponderState } from './responder.ts';
import type { ResolvedRule } from './rule.ts';

/** What a gate decides on. Later gates add fresh evidence of the target here, read once for all of them. */
export interface Case {
  request: Pick<Request, 'fingerprint' | 'startsAt' | 'target'>;
  rule: ResolvedRule;
  state: ResponderState;
  /** Milliseconds since the epoch. */
  now: number;
  /** It waits already and is decided anew: it is no duplicate of itself. */
  waiting?: boolean;
}

/** A reason not to start now; undefined lets the request pass to the next gate. */
type Gate = (c: Case) => Exclude<Decision, { answer: 'admit' }> | undefined;

/** Names one firing of one alert. */
export const alertKey = (alert: { fingerprint: string; startsAt: string }): string =>
  `${alert.fingerprint}@${alert.startsAt}`;

const duplicate: Gate = ({ request, state, waiting }) => {
  const key = alertKey(request);
  const settled = state.settled[key];
  if (settled)
    return {
      answer: 'coalesce',
      gate: 'duplicate',
      reason: `already ${settled.outcome}${settled.reason ? `: ${settled.reason}` : ''}`,
    };
  const open = state.open[request.target];
  if (open && alertKey(open) === key)
    return { answer: 'coalesce', gate: 'duplicate', reason: 'its remediation is under way' };
  if (state.queue[key] && !waiting) return { answer: 'coalesce', gate: 'duplicate', reason: 'it waits already' };
  return undefined;
};

/** A proposal holds neither target nor slot, so it waits for none. */
export const holds = ({ mode }: ResolvedRule): boolean => mode !== 'observe';

const targetBusy: Gate = ({ request, rule, state }) => {
  if (!holds(rule) || !state.open[request.target]) return undefined;
  return { answer: 'wait', gate: 'target-busy', reason: 'the target has an open remediation' };
};

const cooldown: Gate = ({ request, state, now }) => {
  const until = state.cooling[request.target];
  if (until === undefined || until <= now) return undefined;
  return {
    answer: 'wait',
    gate: 'cooldown',
    reason: `the target is left alone until ${new Date(until).toISOString()}`,
    until,
  };
};

/**
 * Failures are counted over the scope, not over the target: a pod's replacement has another name, and a workload whose
 * every pod fails must not be replaced for ever. The first remediation is no retry: with `max: 3`, the fifth is refused
 * after four have failed within `per`.
 */
const retryBudget: Gate = ({ rule, state, now }) => {
  const { max, per } = rule.gates.retries;
  const failed = Object.values(state.attempts)
    .flat()
    .filter(({ at }) => at > now - per).length;
  if (failed <= max) return undefined;
  return {
    answer: 'refuse',
    gate: 'retry-budget',
    reason: `${failed} remediations of the scope failed within ${formatDuration(per)}; at most ${max} retries`,
  };
};

const inFlight: Gate = ({ rule, state }) => {
  const open = Object.keys(state.open).length;
  if (!holds(rule) || open < rule.gates.maxInFlight) return undefined;
  return {
    answer: 'wait',
    gate: 'in-flight',
    reason: `${open} of at most ${rule.gates.maxInFlight} remediations are open in the scope`,
  };
};

/** All gates, in the order in which they are asked. A new gate is one function and its line here. */
export const GATES: readonly Gate[] = [duplicate, targetBusy, cooldown, retryBudget, inFlight];

/** Asks the gates in order; the first that objects decides. */
export function decide(c: Case): Decision {
  for (const gate of GATES) {
    const objection = gate(c);
    if (objection) return objection;
  }
  return { answer: 'admit' };
}
