/** Limits over all rules, per cluster or account; durations in milliseconds. */
export interface ResolvedLimits {
  maxInFlight?: number;
  maxActsPerHour?: number;
  /** So many different targets alerting within so long hold everything. */
  storm?: { targets: number; within: number };
}

/** What the limits are counted over: the cluster or account of a target, e.g. `k8s/prod`. */
export const limitsKey = (target: string): string => target.split('/').slice(0, 2).join('/');

/**
 * Update `lease` of `limits/<key>`: a responder takes slots in blocks, one for each remediation that it is about to start,
 * and gives them back in blocks, so that no workflow is asked once for each remediation of the fleet. What is not
 * granted now is remembered: the signal `look` tells the responder when there is room.
 */
export interface LeaseRequest {
  /** Workflow ID. */
  responder: string;
  /** Slots wanted beyond those that it has. */
  want: number;
  /** How many slots the responder believes to have: what the limits count for it from now on, besides those granted. */
  has: number;
  /** Targets that began to alert since it last asked, for the storm; at most 200. */
  targets: string[];
  /** The newest rules. */
  limits: ResolvedLimits;
}

export interface LeaseAnswer {
  granted: number;
  /** Why not all of `want`, for people. */
  reason?: string;
  /** ISO time before which asking again is of no use, where that is known. */
  notBefore?: string;
  /** They did not answer, but may have granted some: they are told how many it has. */
  unanswered?: true;
  /** Everything is held: so many targets have alerted. */
  storm?: { targets: number; since: string };
}

/** Signal `give` of `limits/<key>`: slots that are free again; of `unused` nothing was started. */
export interface GiveBack {
  responder: string;
  slots: number;
  unused: number;
  /** How many it has after this. With it, what is told twice counts once. */
  has?: number;
}

/** Whoever holds slots or a place, by Workflow ID. */
export interface Holder {
  workflowId: string;
  /** Of a remediation; a responder goes on in other runs. */
  runId?: string;
  /** Milliseconds since the epoch: then it was there, and another execution that has begun after it is not the holder. */
  since?: number;
}

/** The local activity of `limits/<key>` and of `budget/<workload>`. */
export interface HolderActivities {
  /** Which of them have ended, in their order: whoever is terminated gives nothing back. */
  over(holders: Holder[]): Promise<boolean[]>;
}

/** Input of `limits/<key>`; carried over continue-as-new by whoever builds it. */
export interface LimitsInput {
  key: string;
  state?: unknown;
}
