import type { Change, Held } from './change.ts';
import type { Outcome } from './outcome.ts';
import type { RecordedAlert } from './request.ts';
import type { ResolvedRule } from './rule.ts';

/** Input of the remediation workflow: one episode of healing one target. */
export interface RemediationInput {
  target: string;
  rule: ResolvedRule;
  ruleDigest: string;
  scope: string;
  /** The request that was admitted. */
  alert: RecordedAlert;
  /** Names this start: rule, delivery, alert. Two starts of one episode are one start. */
  episode: string;
  /** Workflow ID of the responder that is told of the end; none for a proposal, which holds neither target nor slot. */
  responder?: string;
  /** False where the server does not know Salvor's search attributes. */
  searchAttributes: boolean;
}

/** What a remediation came to. Result of the workflow, and what the responder is told. */
export interface Ending {
  outcome: Outcome;
  /** One sentence for people: what was found and done, or what stopped it. */
  reason: string;
  changes: Change[];
  /** In mode observe: what it would have done, in order. */
  plan?: string[];
}

/** The signal `ended` of a responder. */
export interface EndReport {
  episode: string;
  target: string;
  runId: string;
  outcome: Outcome;
  reason: string;
  /** ISO time of the end. */
  at: string;
  alert: { fingerprint: string; startsAt: string };
  /** With these a responder that is gone is started again. */
  rule: ResolvedRule;
  ruleDigest: string;
  scope: string;
}

/** What a remediation answers when it is asked how it stands (query `story`). */
export interface Story {
  target: string;
  rule: string;
  runbook: string;
  phase: string;
  /** ISO times and lines, in order. */
  lines: { at: string; text: string }[];
  changes: Change[];
  held: Held[];
  ending?: Ending;
}
