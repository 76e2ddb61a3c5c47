import { formatDuration } from '../duration.ts';
import type { Finding } from '../ports/switch.ts';
import type { Dependency } from './options.ts';

/**
 * The breaker as a pure machine. Its states are those of M. Nygard, "Release It!", chapter Stability Patterns (closed, open,
 * half-open), with one more, for an alert alone opens nothing: confirming. A bounded number of trials and a maximum time in
 * half-open are resilience4j's `permittedNumberOfCallsInHalfOpenState` and `maxWaitDurationInHalfOpenState`
 * (https://resilience4j.readme.io/docs/circuitbreaker); the doubled open time is the exponential backoff of its
 * `waitIntervalFunctionInOpenState`.
 *
 * A state is plain JSON with absolute times, in milliseconds since the epoch: whoever loads it goes on where it was, and what
 * fell due meanwhile is due at once.
 */
export interface BreakerState {
  phase: BreakerPhase;
  /** When the phase began, and why. */
  since: number;
  reason: string;
  /**
   * When the time of the phase ends: open → half-open, half-open → open, confirming → closed; and when what is closed has been
   * healthy for long enough, or a person's close is no longer respected. Null: only a person ends it.
   */
  until: number | null;
  /** How often it was opened again since it was last healthy for long. */
  relapses: number;
  /** Of the phase. */
  tries: Tries;
  /** Who has opened or closed it by hand, while that is in force. */
  by?: string;
  /** When it was opened last, while relapses are remembered. */
  opened?: number;
}

export const BREAKER_PHASES = ['closed', 'confirming', 'open', 'half-open'] as const;
export type BreakerPhase = (typeof BREAKER_PHASES)[number];

export interface Tries {
  /** Counted before they are made, so that a crash cannot make one more. */
  made: number;
  /** One after the other, without a failure between them. */
  successes: number;
  /** Half-open: all; otherwise one after the other. */
  failures: number;
  /** No other before then. */
  next: number;
}

export type BreakerEvent =
  /** It fires. `trusted`: the rule says that this is enough. */
  | { kind: 'alert'; why: string; trusted: boolean }
  /** The clock; what is due happens. */
  | { kind: 'time' }
  /** A trial is about to be made. Only where {@link mayTry} says so. */
  | { kind: 'try' }
  /** What came of it. */
  | { kind: 'found'; verdict: Finding['verdict']; why: string }
  /** The alert is resolved: the next trial is brought forward. */
  | { kind: 'resolved' }
  /** By a person. `until` null: until somebody closes it. */
  | { kind: 'open'; by: string; until: number | null; why: string }
  | { kind: 'close'; by: string; why: string };

/** Why it changed, for programs; `reason` is for people. */
export type Cause =
  | 'alert'
  | 'confirmed'
  | 'healthy'
  | 'unconfirmed'
  | 'time'
  | 'resolved'
  | 'successes'
  | 'failures'
  | 'trials'
  | 'within'
  | 'relapse'
  | 'person';

export interface Transition {
  at: number;
  from: BreakerPhase;
  to: BreakerPhase;
  cause: Cause;
  reason: string;
  until: number | null;
  relapses: number;
}

export interface Step {
  state: BreakerState;
  /** Absent where the phase stays. */
  transition?: Transition;
}

/** What the machine needs of a dependency's options. */
export type BreakerOptions = Pick<
  Dependency,
  'openFor' | 'maxOpen' | 'healthyFor' | 'confirmWithin' | 'halfOpen' | 'assertEvery' | 'respectClose'
> & { confirm?: { window?: number }; probe?: { failures: number } };

/** What the clock and the dice say. */
export interface Input {
  now: number;
  /** Factor of the open time, 0.9 to 1.1: many breakers must not try at the same moment. */
  jitter: number;
}

/** A factor for {@link Input.jitter} of a random number from 0 to 1. */
export const jitterOf = (random: number): number => 0.9 + 0.2 * random;

export const closedState = (now: number, reason = 'nothing has been said against it'): BreakerState => ({
  phase: 'closed',
  since: now,
  reason,
  until: null,
  relapses: 0,
  tries: fresh(now),
});

/** Milliseconds for which it is open after so many relapses. */
export function openTime(
  { openFor, maxOpen }: Pick<BreakerOptions, 'openFor' | 'maxOpen'>,
  relapses: number,
  jitter: number,
): number {
  const factor = Math.min(1.1, Math.max(0.9, jitter));
  return Math.round(Math.min(maxOpen, openFor * 2 ** relapses) * factor);
}

/** Whether a trial, or a look, may be made now. */
export function mayTry({ phase, tries, by }: BreakerState, { halfOpen }: BreakerOptions, now: number): boolean {
  if (now < tries.next || by !== undefined) return false;
  return phase === 'half-open' ? tries.made < halfOpen.trials : phase !== 'open';
}

/** When something falls due next: the end of the phase, or a trial. Null: nothing does by itself. */
export function dueAt(state: BreakerState, options: BreakerOptions): number | null {
  const { phase, until, tries, by } = state;
  const tried = by === undefined && (phase === 'half-open' ? tries.made < options.halfOpen.trials : phase !== 'open');
  if (!tried) return until;
  return until === null ? tries.next : Math.min(until, tries.next);
}

/** How many in a row must fail before it is opened: numbers have a minimum of calls of their own, a probe is one call. */
const needed = ({ confirm, probe }: BreakerOptions): number => (confirm ? 1 : (probe?.failures ?? 1));

export function step(state: BreakerState, event: BreakerEvent, options: BreakerOptions, input: Input): Step {
  const { now } = input;
  switch (event.kind) {
    case 'time':
      return onTime(state, options, input);
    case 'try':
      return { state: { ...state, tries: counted(state, options, now) } };
    case 'found':
      return onFound(state, event, options, input);
    case 'alert':
      if (state.phase !== 'closed' || isRespected(state, now)) return { state };
      if (event.trusted) return opened(state, 'alert', event.why, options, input);
      return to(state, 'confirming', 'alert', event.why, now, { until: now + options.confirmWithin });
    case 'resolved':
      return onResolved(state, options, now);
    case 'open':
      return to(state, 'open', 'person', byHand('opened', event), now, { until: event.until, by: event.by });
    case 'close': {
      const until = now + options.respectClose;
      return to(state, 'closed', 'person', byHand('closed', event), now, { until, by: event.by, relapses: 0 });
    }
  }
}

const byHand = (what: string, { by, why }: { by: string; why: string }): string =>
  `${what} by ${by}${why ? `: ${why}` : ''}`;

/** A person's close is in force. */
export const isRespected = ({ phase, by, until }: BreakerState, now: number): boolean =>
  phase === 'closed' && by !== undefined && (until === null || now < until);

const fresh = (next: number): Tries => ({ made: 0, successes: 0, failures: 0, next });

/**
 * When numbers say something of the time since it was opened. Before that what failed then is still in their window, and would
 * open it again; a call that hung ends later than that, and is scraped later still, so it is twice the window.
 */
function tellingFrom({ opened }: BreakerState, { confirm }: BreakerOptions, now: number): number {
  return opened === undefined ? now : Math.max(now, opened + 2 * (confirm?.window ?? 0));
}

type Change = Partial<Pick<BreakerState, 'until' | 'by' | 'relapses'>> & {
  /** Of the first trial, or look. */
  next?: number;
};

function to(
  state: BreakerState,
  phase: BreakerPhase,
  cause: Cause,
  reason: string,
  now: number,
  { until = null, by, relapses = state.relapses, next: first = now }: Change = {},
): Step {
  const opened = phase === 'open' ? now : state.opened;
  const next: BreakerState = {
    ...{ phase, since: now, reason, until, relapses, tries: fresh(first) },
    ...(by !== undefined && { by }),
    ...(opened !== undefined && { opened }),
  };
  return { state: next, transition: { at: now, from: state.phase, to: phase, cause, reason, until, relapses } };
}

/** @param more whether it is a relapse, and counts */
function opened(
  state: BreakerState,
  cause: Cause,
  reason: string,
  options: BreakerOptions,
  { now, jitter }: Input,
  more = 0,
): Step {
  const relapses = state.relapses + more;
  return to(state, 'open', cause, reason, now, { until: now + openTime(options, relapses, jitter), relapses });
}

function onTime(state: BreakerState, options: BreakerOptions, input: Input): Step {
  const { now } = input;
  const { phase, until, tries, by } = state;
  if (until === null || now < until) return { state };
  switch (phase) {
    case 'open': {
      const over = by === undefined ? 'its time is over' : `the time that ${by} gave it is over`;
      // With a probe each trial is a call of its own.
      const next = options.probe ? now : tellingFrom(state, options, now);
      return to(state, 'half-open', 'time', over, now, { until: next + options.halfOpen.within, next });
    }
    case 'half-open': {
      const seen = `${tries.successes} of ${options.halfOpen.successes} trials in a row had succeeded`;
      const reason = `not healthy within ${formatDuration(options.halfOpen.within)}: ${seen}`;
      return opened(state, 'within', reason, options, input, relapsesBy(tries));
    }
    case 'confirming': {
      const reason = `nothing confirmed within ${formatDuration(options.confirmWithin)} that it fails: ${state.reason}`;
      return to(state, 'closed', 'unconfirmed', reason, now);
    }
    case 'closed':
      // What was said of it no longer counts.
      return { state: { ...closedState(now, state.reason), since: state.since } };
  }
}

function counted({ phase, tries }: BreakerState, { halfOpen, assertEvery }: BreakerOptions, now: number): Tries {
  return { ...tries, made: tries.made + 1, next: now + (phase === 'closed' ? assertEvery : halfOpen.every) };
}

function onFound(
  state: BreakerState,
  { verdict, why }: { verdict: Finding['verdict']; why: string },
  options: BreakerOptions,
  input: Input,
): Step {
  // A trial that was made in a phase which is over says nothing of this one.
  if (state.phase === 'open' || state.by !== undefined || state.tries.made === 0) return { state };
  return state.phase === 'half-open'
    ? onTrial(state, verdict, why, options, input)
    : onLook(state, verdict, why, options, input);
}

function onTrial(
  state: BreakerState,
  verdict: Finding['verdict'],
  why: string,
  options: BreakerOptions,
  input: Input,
): Step {
  const { halfOpen } = options;
  const { made } = state.tries;
  // That nobody can tell is no trial that failed: what succeeded before still stands in a row.
  const successes = verdict === 'failing' ? 0 : state.tries.successes + (verdict === 'healthy' ? 1 : 0);
  const failures = state.tries.failures + (verdict === 'failing' ? 1 : 0);
  if (successes >= halfOpen.successes) {
    const until = input.now + options.healthyFor;
    const reason = `${successes} trials in a row have succeeded: ${why}`;
    return to(state, 'closed', 'successes', reason, input.now, { until, next: tellingFrom(state, options, input.now) });
  }
  if (failures >= halfOpen.failures) {
    const times = failures === 1 ? 'a trial has failed' : `${failures} trials have failed`;
    return opened(state, 'failures', `${times}: ${why}`, options, input, 1);
  }
  if (made >= halfOpen.trials)
    return opened(
      state,
      'trials',
      `all ${made} trials were made, and it is not known to be healthy: ${why}`,
      options,
      input,
      relapsesBy({ failures }),
    );
  return { state: { ...state, tries: { ...state.tries, successes, failures } } };
}

/** Where no trial has failed (Prometheus was away, or too few calls were made) it is no relapse: it is open as long as before. */
const relapsesBy = ({ failures }: Pick<Tries, 'failures'>): number => (failures > 0 ? 1 : 0);

/** Before it is opened, and while it is watched after it was closed. */
function onLook(
  state: BreakerState,
  verdict: Finding['verdict'],
  why: string,
  options: BreakerOptions,
  input: Input,
): Step {
  const confirming = state.phase === 'confirming';
  if (verdict === 'healthy' && confirming) return to(state, 'closed', 'healthy', why, input.now);
  const failures = verdict === 'failing' ? state.tries.failures + 1 : verdict === 'unknown' ? state.tries.failures : 0;
  if (verdict === 'failing' && failures >= needed(options)) {
    const times = failures === 1 ? why : `${why} (${failures} times in a row)`;
    return confirming
      ? opened(state, 'confirmed', times, options, input)
      : opened(state, 'relapse', `it fails again: ${times}`, options, input, 1);
  }
  // The latest is what is told where nothing comes of it.
  return { state: { ...state, ...(confirming && { reason: why }), tries: { ...state.tries, failures } } };
}

/** A person's open is not for an alert to end. */
function onResolved(state: BreakerState, options: BreakerOptions, now: number): Step {
  const { phase, tries, until, by } = state;
  if (by !== undefined) return { state };
  if (phase === 'open') return { state: { ...state, until: until === null ? now : Math.min(until, now) } };
  if (phase === 'half-open') {
    const earliest = options.probe ? now : tellingFrom(state, options, now);
    return { state: { ...state, tries: { ...tries, next: Math.min(tries.next, earliest) } } };
  }
  return { state };
}
