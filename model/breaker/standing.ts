import type { BreakerPhase, BreakerState, Transition } from './machine.ts';

/** How the breaker of a dependency stands: what `GET /v1/breakers` answers. Times are ISO. */
export interface BreakerStanding {
  dependency: string;
  state: BreakerPhase;
  /**
   * How its switch stands, as far as Salvor knows: not as `state` wants it while it is being set, or cannot be. `unknown`: its
   * remediation did not come to its end.
   */
  switch: Stands;
  /** Absent where nothing is remembered of it. */
  since?: string;
  /** When the time of its state ends; absent: not by itself. */
  until?: string;
  reason: string;
  /** How often it was opened again since it was last healthy for long. */
  relapses: number;
  /** Who has opened or closed it by hand, while that is in force. */
  by?: string;
  /** Run ID of its remediation, where one is open. */
  remediation?: string;
}

export type Stands = 'open' | 'closed' | 'opening' | 'closing' | 'unknown';

/** How the switch stands once it is set as the state says; while trials are made a share may pass. */
export const standsAs = (phase: BreakerPhase): Stands =>
  phase === 'open' || phase === 'half-open' ? 'open' : 'closed';

export const NEVER_OPENED = 'nothing keeps callers from it';

/** Of a breaker of which nothing is open. */
export const closedStanding = (dependency: string): BreakerStanding => ({
  dependency,
  state: 'closed',
  switch: 'closed',
  reason: NEVER_OPENED,
  relapses: 0,
});

export function standingOf(
  dependency: string,
  state: BreakerState,
  remediation: string,
  stands: Stands = standsAs(state.phase),
): BreakerStanding {
  const { phase, since, until, reason, relapses, by } = state;
  return {
    ...{ dependency, state: phase, switch: stands, since: iso(since) },
    ...(until !== null && { until: iso(until) }),
    ...{ reason, relapses },
    ...(by !== undefined && { by }),
    remediation,
  };
}

/** For people: `open → half-open: its time is over`. */
export const describeTransition = ({ from, to, reason, until }: Transition): string =>
  `${from} → ${to}: ${reason}${until !== null && to === 'open' ? `; until ${iso(until)}` : ''}`;

/** Type of the failure of an order that a remediation does not take. */
export const BREAKER_REFUSED = 'BreakerRefused';
/** The same where its remediation is ending: it has not obeyed, and cannot any more. */
export const BREAKER_ENDS = 'BreakerEnds';
/** It was taken, and is not done yet. */
export const BREAKER_PENDING = 'BreakerPending';

const iso = (at: number): string => new Date(at).toISOString();
