import type { Approval } from './approval.ts';
import { allowance, formatBound } from './bound.ts';
import { formatDuration } from './duration.ts';
import type { Evidence } from './evidence.ts';
import { limitsKey } from './limits.ts';
import { describePause, pauseOf } from './pause.ts';
import type { Decision, Request } from './request.ts';
import type { ResponderState } from './responder.ts';
import type { ResolvedRule } from './rule.ts';
import { isTick } from './tick.ts';

/** What a gate decides on. */
export interface Case {
  request: Pick<Request, 'fingerprint' | 'startsAt' | 'target' | 'approval'> & Partial<Pick<Request, 'by'>>;
  rule: ResolvedRule;
  /** What was admitted before in the same turn is open in it: requests of one turn count each other. */
  state: ResponderState;
  /** Read for this turn. Absent in a storm, which holds everything: the gates that need it have nothing to say then. */
  evidence?: Evidence | undefined;
  /** Milliseconds since the epoch. */
  now: number;
  /** It waits already and is decided anew: it is no duplicate of itself. */
  waiting?: boolean;
}

/** A reason not to start now; undefined lets the request pass to the next gate. */
export type Gate = (c: Case) => Exclude<Decision, { answer: 'admit' }> | undefined;

/** Names one firing of one alert. */
export const alertKey = (alert: { fingerprint: string; startsAt: string }): string =>
  `${alert.fingerprint}@${alert.startsAt}`;

/** Whether a request takes target, slot and budget. A proposal takes nothing, so it waits for none of them. */
export const holds = ({ mode }: Pick<ResolvedRule, 'mode'>, { approval }: { approval?: Approval } = {}): boolean =>
  mode === 'act' || (mode === 'propose' && approval !== undefined);

const coalesce = (reason: string): ReturnType<Gate> => ({ answer: 'coalesce', gate: 'duplicate', reason });

/** First, because a repeat is no new decision. */
export const duplicate: Gate = ({ request, rule, state, waiting }) => {
  const key = alertKey(request);
  const acts = holds(rule, request);
  const settled = state.settled[key];
  // An approved plan is what its proposal, which is settled, was made for.
  if (settled && !(acts && request.approval && settled.outcome === 'observed'))
    return coalesce(`already ${settled.outcome}${settled.reason ? `: ${settled.reason}` : ''}`);
  const open = state.open[request.target];
  if (open && alertKey(open) === key) return coalesce('its remediation is under way');
  if (state.queue[key] && !waiting) return coalesce('it waits already');
  if (!acts && rule.mode === 'propose' && state.proposed?.[request.target])
    return coalesce('its proposal waits for a person');
  if (isTick(request) && !request.approval && !waiting) return earlierTick(request, state);
  return undefined;
};

/** What one time of a schedule is about the next one is about too: never two of them are open or wait. */
function earlierTick({ fingerprint, target }: Case['request'], state: ResponderState): ReturnType<Gate> {
  if (state.open[target]?.fingerprint === fingerprint)
    return coalesce('what an earlier time of its schedule has started is under way');
  const waits = Object.values(state.queue).some((queued) => queued.fingerprint === fingerprint);
  return waits ? coalesce('an earlier time of its schedule waits') : undefined;
}

export const paused: Gate = ({ request, rule, evidence, now }) => {
  const pause = evidence && pauseOf(evidence.pauses, { target: request.target, rule: rule.name, now });
  if (!pause) return undefined;
  const until = pause.until === undefined ? {} : { until: Date.parse(pause.until) };
  return { answer: 'wait', gate: 'paused', reason: describePause(pause), ...until };
};

export const excluded: Gate = ({ request, evidence }) => {
  const why = evidence?.targets[request.target]?.excluded;
  return why === undefined ? undefined : { answer: 'refuse', gate: 'excluded', reason: `it is excluded: ${why}` };
};

/** What could not be read might have been a reason not to act. */
export const unread: Gate = ({ request, rule, evidence }) => {
  if (!evidence || !rule.gates.failClosed) return undefined;
  const what = evidence.error ?? unreadOf(evidence, request.target);
  if (what === undefined) return undefined;
  return {
    answer: 'refuse',
    gate: 'evidence',
    reason: `the live state could not be read: ${what}. Nothing is done blindly (failClosed)`,
  };
};

function unreadOf({ targets, workloads }: Evidence, target: string): string | undefined {
  const seen = targets[target];
  if (!seen) return 'nothing is known of the target';
  if (seen.error !== undefined) return seen.error;
  return seen.workload === undefined || workloads[seen.workload]
    ? undefined
    : `nothing is known of its workload ${seen.workload}`;
}

export const windows: Gate = ({ rule, evidence }) => {
  if (!evidence || evidence.window.open) return undefined;
  const { opensAt } = evidence.window;
  return {
    answer: 'wait',
    gate: 'windows',
    reason: `outside its windows (${rule.gates.windows.join(', ')})${opensAt === undefined ? '' : `; the next opens at ${iso(opensAt)}`}`,
    ...(opensAt !== undefined && { until: opensAt }),
  };
};

/** What another rule's remediation holds now is none of a proposal's business either: it would be refused for good. */
export const targetBusy: Gate = ({ request, rule, state, evidence }) => {
  const isOpen = holds(rule, request) && state.open[request.target] !== undefined;
  const reason = isOpen ? 'the target has an open remediation' : evidence?.targets[request.target]?.busy;
  return reason === undefined ? undefined : { answer: 'wait', gate: 'target-busy', reason };
};

export const held: Gate = ({ request, evidence }) => {
  const by = evidence?.targets[request.target]?.held;
  return by === undefined ? undefined : { answer: 'refuse', gate: 'held', reason: `it is held: ${by}` };
};

export const cooldown: Gate = ({ request, state, now }) => {
  const until = state.cooling[request.target];
  if (until === undefined || until <= now) return undefined;
  return { answer: 'wait', gate: 'cooldown', reason: `the target is left alone until ${iso(until)}`, until };
};

/** The ends of failed remediations that still count, newest first. */
export const failures = ({ attempts }: ResponderState, per: number, now: number): number[] =>
  Object.values(attempts)
    .flatMap((failed) => failed.map(({ at }) => at))
    .filter((at) => at > now - per)
    .sort((a, b) => b - a);

/**
 * Failures are counted over the scope, not over the target: a pod's replacement has another name, and a workload whose
 * every pod fails must not be replaced for ever. The first remediation is no retry: with `max: 3`, the fifth is refused
 * after four have failed within `per`.
 */
export const retryBudget: Gate = ({ rule, state, now }) => {
  const { max, per } = rule.gates.retries;
  const failed = failures(state, per, now).length;
  if (failed <= max) return undefined;
  return {
    answer: 'refuse',
    gate: 'retry-budget',
    reason: `${failed} remediations of the scope failed within ${formatDuration(per)}; at most ${max} retries`,
  };
};

export const inFlight: Gate = ({ request, rule, state }) => {
  const open = Object.keys(state.open).length;
  if (!holds(rule, request) || open < rule.gates.maxInFlight) return undefined;
  return {
    answer: 'wait',
    gate: 'in-flight',
    reason: `${open} of at most ${rule.gates.maxInFlight} remediations are open in the scope`,
  };
};

/** How many remediations are open under a key of the limits. */
export const openUnder = ({ open }: ResponderState, key: string): number =>
  Object.keys(open).filter((target) => limitsKey(target) === key).length;

/** Over all rules. What was granted is in the state: a slot for each remediation that may be open. */
export const limits: Gate = ({ request, rule, state, evidence }) => {
  if (!rule.limits || !evidence || !holds(rule, request)) return undefined;
  const key = limitsKey(request.target);
  const slots = state.slots?.[key] ?? 0;
  if (slots > openUnder(state, key)) return undefined;
  const lease = evidence.leases[key];
  if (!lease && !rule.gates.failClosed) return undefined;
  const until = lease?.notBefore === undefined ? {} : { until: Date.parse(lease.notBefore) };
  const storm =
    lease?.storm && `${lease.storm.targets} targets of ${key} have alerted since ${lease.storm.since}: all is held`;
  const reason =
    storm ?? (lease ? (lease.reason ?? `no slot of ${key} is free`) : `the limits of ${key} do not answer`);
  return { answer: 'wait', gate: 'limits', reason, ...until };
};

export const storm: Gate = ({ state }) =>
  state.storm && {
    answer: 'wait',
    gate: 'storm',
    reason: `the scope is held since ${state.storm.since}: ${state.storm.why}`,
  };

/** Counted are those of its workload that are not Ready, those in flight, and the target itself: each once. */
export const unavailable: Gate = ({ request, rule, state, evidence }) => {
  const key = evidence?.targets[request.target]?.workload;
  const workload = key === undefined ? undefined : evidence?.workloads[key];
  if (!workload || !holds(rule, request)) return undefined;
  const { desired, unready } = workload;
  const open = Object.keys(state.open).filter((target) => state.open[target]?.workload === key);
  const down = new Set([...unready, ...open, request.target]).size;
  const bound = rule.gates.maxUnavailable;
  const most = allowance(bound, desired);
  if (down <= most) return undefined;
  const share = formatBound(bound);
  const reason =
    desired === 1 && 'percent' in bound
      ? `it is the only replica of ${key}: ${share} of one is none, only an explicit number (maxUnavailable: 1) allows it`
      : `${down} of ${desired} of ${key} would be unavailable (${unready.length} are not Ready, ${open.length} in flight), above ${'percent' in bound ? `${share}, which is ${most}` : share}`;
  return { answer: 'wait', gate: 'unavailable', reason };
};

/** All gates, in the order in which they are asked. A new gate is one function and its place here. */
export const GATES: readonly Gate[] = [
  duplicate,
  paused,
  excluded,
  unread,
  windows,
  targetBusy,
  held,
  cooldown,
  retryBudget,
  inFlight,
  limits,
  storm,
  unavailable,
];

/** Asks the gates in order; the first that objects decides. */
export function decide(c: Case): Decision {
  for (const gate of GATES) {
    const objection = gate(c);
    if (objection) return objection;
  }
  return { answer: 'admit' };
}

const iso = (at: number): string => new Date(at).toISOString();
