import type { Approval } from './approval.ts';
import type { AuditNote } from './audit.ts';
import type { Remembered } from './remediation.ts';
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
  /**
   * Run IDs of remediations that ended before they acted, and whose request was dropped then, by when that may be forgotten: such
   * an end may be told twice, and nothing else remembers it.
   */
  dropped?: Record<string, number>;
  /** Targets left alone until then (milliseconds since the epoch). */
  cooling: Record<string, number>;
  /** Failed remediations by target, each once however often its end was told: what the retry budget counts. */
  attempts: Record<string, Attempt[]>;
  /** Proposals that wait for a person, by target. */
  proposed?: Record<string, Proposed>;
  /** Everything in the scope is held. */
  storm?: Storm;
  /** What runbooks remember of their targets: by target, and by keys of their own. */
  memory?: Record<string, Record<string, Remembered>>;
  /** A person ended a storm: as many unhealthy as were counted next are no new one, until it was calm once. */
  resumed?: { upTo?: number };
  /** Slots that the limits count for it, by key. */
  slots?: Record<string, number>;
  /** The retry budget is spent until then (milliseconds since the epoch), and people were told. */
  spent?: number;
  /** So many escalations were raised; names the next one. */
  escalations?: number;
  /** Answers given: remediations started, requests that began to wait, were refused, or said nothing new. */
  tally: Record<'admit' | 'wait' | 'refuse' | 'coalesce', number>;
}

export interface Open {
  episode: string;
  runId: string;
  fingerprint: string;
  startsAt: string;
  since: number;
  /** Milliseconds since the epoch at which it was asked for; it may have waited since. */
  asked?: number;
  /** Key of its workload, for the unavailable budget. */
  workload?: string;
  /** The plan that it acts on was approved. */
  approval?: Approval;
  /** How often it was put off before. */
  tries?: number;
  /** Its alert is resolved: after the end it need not be remembered for longer than the cooldown. */
  resolved?: true;
  /** A schedule asked for it: what it was asked for then is not asked for again. */
  scheduled?: true;
}

export interface Proposed {
  episode: string;
  runId: string;
  fingerprint: string;
  startsAt: string;
  since: number;
  /** As in {@link Open}. */
  resolved?: true;
}

export interface Storm {
  /** ISO time. */
  since: string;
  /** What was counted last. */
  live: number;
  unhealthy: number;
  /** What was counted when it began, for people. */
  why: string;
  /** Of the escalation that was raised. */
  escalation?: string;
  /** Some of the targets, one of each kind and place: where to look whether it is over. */
  targets: string[];
  /** Milliseconds since the epoch at which it is looked at next. */
  lookAt: number;
  /** Calm since then (milliseconds since the epoch), as far as was seen. */
  calmSince?: number;
}

/** The signal `look`: decide anew what waits; `resume`: a person ends the storm. */
export interface LookAgain {
  resume?: { by: string; reason: string };
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
  /** As on record; absent where there is no room for them. */
  labels?: Record<string, string>;
  since: number;
  approval?: Approval;
  gate: string;
  reason: string;
  /** When it is decided anew (milliseconds since the epoch) where no event tells sooner; absent: only by an event. */
  notBefore?: number;
  /** How often it was decided in a row to go on waiting for this gate. */
  tries?: number;
  /** Run ID of its remediation that ended before it acted: the next one is another start. */
  after?: string;
  /** It was not decided since then: no end of another, and no newer rule, has it decided before `notBefore`. */
  putOff?: true;
  /** It came when the run was about to continue as new: it is neither decided nor on record yet. */
  undecided?: true;
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
