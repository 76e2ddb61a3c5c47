import type { Batch } from './request.ts';

/** The Update `decide` of a proposal that waits. */
export interface Verdict {
  answer: 'approve' | 'deny';
  /** `person:<name>`, authenticated by the gateway; or `unverified:<name>`, straight to Temporal. */
  by: string;
  /** The groups of the person, as the gateway knows them. */
  groups: string[];
  /** Of the plan that the person was shown. */
  digest: string;
  /** Empty where none was given. */
  comment: string;
}

/** What a remediation acts on: a plan that a person has approved. */
export interface Approval {
  by: string;
  /** ISO time. */
  at: string;
  digest: string;
  comment: string;
  /** Run ID of the proposal. */
  proposal: string;
  /** The rule acts without one, but not on this plan: it acts on no other. */
  needed?: true;
}

/** Whether a person may approve: `approvers` are names, and `group:<name>`; without any, everybody who is known may. */
export function mayApprove(approvers: readonly string[], { by, groups }: Pick<Verdict, 'by' | 'groups'>): boolean {
  if (approvers.length === 0) return true;
  // Whoever says himself who he is may not, where the rule says who may.
  if (!by.startsWith('person:')) return false;
  const name = by.slice('person:'.length);
  return approvers.some((one) => one === name || groups.some((group) => one === `group:${group}`));
}

/** Types of the errors with which a validator refuses a verdict. */
export const VERDICT_ERRORS = {
  /** Nothing waits for an approval (any more). */
  nothingWaits: 'NothingWaits',
  /** The plan is not the one that was shown. */
  stale: 'StalePlan',
  notAllowed: 'NotAllowed',
} as const;

/** A regular activity: what a person has approved goes through the gates of its responder. */
export interface SubmitActivities {
  /** Hands the batch to the responder, starting it where it is gone. May run twice: the batch's delivery names it. */
  submit(request: { responder: string; batch: Batch }): Promise<void>;
}
