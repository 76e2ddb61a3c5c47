import type { Request } from './request.ts';
import type { ResolvedRule } from './rule.ts';

/**
 * What a responder asks of the server in one local activity: at most {@link MAX_STARTS} starts, so that a signal never
 * waits long behind it. It may run twice (a worker that dies before its marker is written): each start carries its
 * episode as the request ID, by which the server answers a repeated start with the run that it made.
 */
export interface DispatchRequest {
  responder: string;
  scope: string;
  rule: ResolvedRule;
  ruleDigest: string;
  starts: Start[];
  /** Targets whose alert is resolved: their remediation is told, if it is still the one with this run ID. */
  resolved: { target: string; runId: string }[];
  /** Remediations that should be open: are they? One that was terminated by hand ended without a word. */
  check: { target: string; runId: string }[];
}

export interface Start {
  /**
   * The request ID of the start: rule, delivery and alert. A proposal's is its alert, so that a repeat of it proposes
   * nothing again.
   */
  episode: string;
  request: Omit<Request, 'status'> & { delivery: string };
  /** Milliseconds since the epoch at which it was asked for. */
  since: number;
}

export interface DispatchResult {
  /** In the order of `starts`. */
  starts: Started[];
  /** Those of `check` that are no longer running. */
  ended: { target: string; runId: string }[];
}

export type Started =
  | { started: string }
  /** Another remediation holds the target; `by` is its rule, where known. */
  | { busy: string; by?: string };

export const MAX_STARTS = 50;

/** The local activity of the responder. */
export interface DispatchActivities {
  dispatch(request: DispatchRequest): Promise<DispatchResult>;
}
