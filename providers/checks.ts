import type { QueryValues } from '../model/promql.ts';
import type { HealthChecks } from '../model/rule.ts';

/** The instance whose health is asked for. */
export interface Subject {
  /** What may stand in a query. */
  values: QueryValues;
  /** Its own IP address; absent where it has none (yet). */
  address?: string;
  /** Its platform is on this very machine: only then may its address be a loopback one. */
  local?: boolean;
}

/** What the checks of a rule say of an instance. */
export interface CheckResult {
  healthy: boolean;
  /** What was asked and answered, in plain words. */
  why: string;
}

/**
 * Makes the checks of a rule, all of them at once. What says something else than healthy, or nothing, is not healthy.
 *
 * @throws UnavailableError where Prometheus gives no answer: then nobody knows. An instance that gives none is not healthy.
 * FinalError where it cannot be asked by what its status says.
 */
export type Check = (health: HealthChecks, subject: Subject, signal?: AbortSignal) => Promise<CheckResult>;
