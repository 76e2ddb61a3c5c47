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
  /** It takes nothing away from its workload, which has a replacement already: it needs no place in the budget. */
  unbudgeted?: true;
  holder: { workflowId: string; runId: string };
  /** An error while asking counts as no. */
  failClosed: boolean;
}

/** Why not now. */
export interface Objection {
  /** `observing`: the rule only observes by now. `unknown-rule`: the worker's configuration has no such rule (any more). */
  gate: 'paused' | 'excluded' | 'storm' | 'limits' | 'unavailable' | 'evidence' | 'observing' | 'unknown-rule';
  reason: string;
}

/** The rule no longer lets it act: that does not pass by waiting. */
export const RULE_STOPS: ReadonlySet<Objection['gate']> = new Set(['observing', 'unknown-rule']);

/** Type of the final ApplicationFailure of a mutation that was not cleared: nothing was touched; its detail is the {@link Objection}. */
export const NOT_CLEARED = 'NotCleared';

/** A wait on the watch queue, heartbeating. */
export interface ClearanceActivities {
  /**
   * Resolves when nothing objects any more, or at the deadline (ISO time) with what still does; at once where the rule has come
   * to observe only, or is gone.
   */
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
