import type { Bound } from './bound.ts';

/**
 * Update `reserve` of `budget/<workload key>`: before its first mutation a remediation takes its place in the unavailable
 * budget of the workload, whichever rule or runbook it belongs to. It is given back when the remediation ends (signal
 * `free`); one that ended without a word is found and freed.
 */
export interface ReserveRequest {
  holder: { workflowId: string; runId: string };
  target: string;
  bound: Bound;
  /** Of the workload, freshly read: what it should have, and the keys of those that are not Ready. */
  desired: number;
  unready: string[];
}

export type ReserveAnswer = { granted: true } | { granted: false; reason: string };

/** Input of `budget/<workload key>`. */
export interface BudgetInput {
  workload: string;
  state?: unknown;
}
