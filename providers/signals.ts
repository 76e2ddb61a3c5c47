import type { QueryValues } from '../model/promql.ts';
import type { SignalQuery } from '../model/scaling/options.ts';

/** Milliseconds since the epoch, and between two points. */
export interface SignalWindow {
  from: number;
  to: number;
  step: number;
}

/** One value, with the time at which its source measured it (milliseconds since the epoch). */
export interface SignalPoint {
  at: number;
  value: number;
}

/**
 * What a signal was within a window, oldest first, every value finite; at least one. Or why it gives nothing that could be
 * decided on, for people: no series, several, NaN only, an answer of which a part is missing.
 */
export type SignalAnswer = { samples: SignalPoint[]; problem?: never } | { samples?: never; problem: string };

/** Where signals are read: one for all sources that are configured. */
export interface Signals {
  /**
   * @param query of CloudWatch: with its `aws`, the name of a configured account
   * @param values of the target, for what stands as `${…}` in PromQL and in dimensions
   * @throws UnavailableError where nobody can tell: no answer, not in time, throttled; FinalError `Invalid` for what can never
   * be answered (no such account, no Prometheus configured, a wrong query), `Forbidden`
   */
  read(query: SignalQuery, values: QueryValues, window: SignalWindow, signal?: AbortSignal): Promise<SignalAnswer>;
}
