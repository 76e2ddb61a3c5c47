import type { BreakerPhase, BreakerState, Transition } from './machine.ts';

/** How the breaker of a dependency stands: what `GET /v1/breakers` answers. Times are ISO. */
export interface BreakerStanding {
  dependency: string;
  state: BreakerPhase;
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

export const NEVER_OPENED = 'nothing keeps callers from it';

/** Of a breaker of which nothing is open. */
export const closedStanding = (dependency: string): BreakerStanding => ({
  dependency,
  state: 'closed',
  reason: NEVER_OPENED,
  relapses: 0,
});

export function standingOf(dependency: string, state: BreakerState, remediation: string): BreakerStanding {
  const { phase, since, until, reason, relapses, by } = state;
  return {
    ...{ dependency, state: phase, since: iso(since) },
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

const iso = (at: number): string => new Date(at).toISOString();
