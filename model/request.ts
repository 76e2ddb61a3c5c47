import type { Approval } from './approval.ts';
import type { ResolvedRule } from './rule.ts';

/** One alert that a rule matched, reduced to what admission needs. */
export interface Request {
  /** Alertmanager's fingerprint of the alert's labels; for `salvor run` an id of its own. */
  fingerprint: string;
  /** ISO time at which the alert began to fire; with the fingerprint it names the episode of the alert. */
  startsAt: string;
  status: 'firing' | 'resolved';
  /** Canonical target key. */
  target: string;
  alertname: string;
  /** First 16 hex digits of the SHA-256 of the alert's canonical JSON. */
  digest: string;
  /** Who asked: `alertmanager`, or `person:<name>`. */
  by: string;
  /** A person has approved the plan of this request's proposal. */
  approval?: Approval;
  /** For the record, secrets removed and long values cut. While the request waits they are kept where there is room. */
  labels?: Record<string, string>;
  /** Likewise; not kept while it waits. */
  annotations?: Record<string, string>;
}

/** An alert as it is on record. */
export type RecordedAlert = Omit<Request, 'status' | 'target'>;

/** What the gateway hands to one responder in one signal: at most 200 requests and 512 KiB. */
export interface Batch {
  /**
   * Names the delivery: one webhook, or one command. With rule and alert it names a start, so that a responder whose task
   * is run again, and which may by then have heard more, asks for the very same starts.
   */
  delivery: string;
  rule: ResolvedRule;
  /** Digest of the resolved rule; the newest batch rules. */
  ruleDigest: string;
  scope: string;
  requests: Request[];
}

/** The answer of admission, with a reason that a person understands. */
export type Decision =
  | { answer: 'admit' }
  | { answer: 'wait'; gate: string; reason: string; until?: number }
  | { answer: 'refuse'; gate: string; reason: string }
  | { answer: 'coalesce'; gate: string; reason: string };

/** What `salvor run` is told: the decision and, where one was started or stands already, the remediation. */
export interface RunAnswer {
  decision: Decision;
  remediation?: { workflowId: string; runId: string };
}
