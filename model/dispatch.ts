import type { HeraldOrder } from './herald.ts';
import type { RemediationInput } from './remediation.ts';
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
  /** Those whose alert is resolved are told, if it is still the run with this ID. */
  resolved: Running[];
  /** Those that should be open: are they? One that was terminated by hand ended without a word. */
  check: Running[];
  /**
   * Slots of the limits to be given back, by key: free again, and of these so many for which nothing was started; and how
   * many it keeps.
   */
  give?: Record<string, { slots: number; unused: number; has: number }>;
  /** Escalations of the responder itself: a storm, a spent retry budget, a request that waited too long. */
  herald?: HeraldOrder;
}

/** A remediation, or a proposal of the rule, that was started. */
export interface Running {
  target: string;
  runId: string;
  proposal?: true;
}

export interface Start {
  /**
   * The request ID of the start: rule, delivery and alert. A proposal's is its alert, so that a repeat of it proposes
   * nothing again. What is started again after it ended before it acted has the run ID of that end in it.
   */
  episode: string;
  request: Omit<Request, 'status'> & { delivery: string };
  /** Milliseconds since the epoch at which it was asked for. */
  since: number;
  /** As of {@link RemediationInput}. */
  memory?: RemediationInput['memory'];
}

export interface DispatchResult {
  /** In the order of `starts`. */
  starts: Started[];
  /** Those of `check` that are no longer running. */
  ended: Running[];
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

/** A local activity of a remediation. */
export interface ProposeActivities {
  /**
   * Starts the proposal of what a rule does not do without an approval; where one of the rule waits for a person already, that
   * one is answered. May run twice: the episode names it.
   */
  startProposal(input: RemediationInput): Promise<Started>;
}
