import type { AuditNote } from './audit.ts';
import type { ResolvedRule } from './rule.ts';

/** Input of the responder workflow, one per rule and scope. Those who start it give only rule name and scope. */
export interface ResponderInput {
  rule: string;
  scope: string;
  /** Carried over continue-as-new. */
  state?: ResponderState;
  /** Likewise: how many notes were made so far, and those that the audit store has not taken yet. */
  notes?: { count: number; pending: AuditNote[] };
}

/** All that a responder remembers. Plain JSON, bounded (see workflows/responder.ts), carried over continue-as-new. */
export interface ResponderState {
  /** The newest rule seen; undefined until the first batch. */
  rule?: ResolvedRule;
  ruleDigest?: string;
  /** Remediations that are open, by target. */
  open: Record<string, Open>;
  /** Requests that wait, oldest first, by `<fingerprint>@<startsAt>`. */
  queue: Record<string, Queued>;
  /** Alerts about which nothing new needs be done, by `<fingerprint>@<startsAt>`. */
  settled: Record<string, Settled>;
  /** Targets left alone until then (milliseconds since the epoch). */
  cooling: Record<string, number>;
  /** Failed remediations by target, each once however often its end was told: what the retry budget counts. */
  attempts: Record<string, Attempt[]>;
  /** Answers given: remediations started, requests that began to wait, were refused, or said nothing new. */
  tally: Record<'admit' | 'wait' | 'refuse' | 'coalesce', number>;
}

export interface Open {
  episode: string;
  runId: string;
  fingerprint: string;
  startsAt: string;
  since: number;
  /** Its alert is resolved: after the end it need not be remembered for longer than the cooldown. */
  resolved?: true;
}

export interface Queued {
  /** Of the batch that brought it. */
  delivery: string;
  fingerprint: string;
  startsAt: string;
  target: string;
  alertname: string;
  digest: string;
  by: string;
  since: number;
  gate: string;
  reason: string;
  /** Not decided anew before then (milliseconds since the epoch), where no event of this responder will tell. */
  notBefore?: number;
}

export interface Settled {
  outcome: string;
  /** Why it was refused; of everything else its remediation tells. */
  reason?: string;
  /** Milliseconds since the epoch at which it may be forgotten. */
  until: number;
}

export interface Attempt {
  episode: string;
  /** Its end, in milliseconds since the epoch. */
  at: number;
}
