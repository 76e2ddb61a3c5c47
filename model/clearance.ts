import type { Bound } from './bound.ts';

/**
 * Asked by an activity right before it mutates: is it still the time for it? Paused, excluded (also by its namespace),
 * storm of the scope or of the limits, the unavailable budget of the workload. Undo and restore are never gated.
 */
export interface ClearanceRequest {
  target: string;
  rule: string;
  /** Workflow ID, whose memo tells of a storm; absent for none. */
  responder?: string;
  /** Key of the limits, where the rule has some. */
  limits?: string;
  /** Key of the workload whose budget it needs. */
  workload: string;
  bound: Bound;
  holder: { workflowId: string; runId: string };
  /** An error while asking counts as no. */
  failClosed: boolean;
}

/** Why not now. */
export interface Objection {
  gate: 'paused' | 'excluded' | 'storm' | 'limits' | 'unavailable' | 'evidence';
  reason: string;
}

/** Type of the final ApplicationFailure of a mutation that was not cleared: nothing was touched; its detail is the {@link Objection}. */
export const NOT_CLEARED = 'NotCleared';

/** A wait on the watch queue, heartbeating. */
export interface ClearanceActivities {
  /** Resolves when nothing objects any more, or at the deadline (ISO time) with what still does. */
  untilCleared(
    request: ClearanceRequest & { deadline?: string },
  ): Promise<{ cleared: true } | ({ cleared: false } & Objection)>;
}

/** Memo of a responder, and of `limits/<key>`, while it holds everything: {@link StormMemo}; null when it is over. */
export const STORM_MEMO = 'storm';
export interface StormMemo {
  since: string;
  reason: string;
}
