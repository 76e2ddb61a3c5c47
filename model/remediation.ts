import type { Approval } from './approval.ts';
import type { AuditNote } from './audit.ts';
import type { BreakerState, Transition } from './breaker/machine.ts';
import type { Stands } from './breaker/standing.ts';
import type { Change, Held } from './change.ts';
import type { Outcome } from './outcome.ts';
import type { Plan } from './plan.ts';
import type { ScalePoint } from './ports/scalable.ts';
import type { RecordedAlert } from './request.ts';
import type { Mode, ResolvedRule, Runbook } from './rule.ts';

/** Input of the remediation workflow: one episode of healing one target. */
export interface RemediationInput<R extends Runbook = Runbook> {
  target: string;
  rule: ResolvedRule<R>;
  ruleDigest: string;
  scope: string;
  /** The request that was admitted. */
  alert: RecordedAlert;
  /** ISO time at which it was asked for; it may have waited since. Absent in runs of older versions. */
  since?: string;
  /** Names this start: rule, delivery, alert. Two starts of one episode are one start. */
  episode: string;
  /** Workflow ID of the responder that is told of the end; none in mode observe, of whose end nobody waits to hear. */
  responder?: string;
  /** A person has approved this plan: it acts on no other. */
  approval?: Approval;
  /** A proposal of a rule that acts: of what it does not do without an approval. */
  proposes?: true;
  /** What earlier remediations of the target remember, by keys of the runbook. */
  memory?: Record<string, Remembered>;
  /** In a later run of the same remediation: what it goes on with. */
  carried?: CarriedRun;
  /** False where the server does not know Salvor's search attributes. */
  searchAttributes: boolean;
}

/** What a runbook remembers of a target from one remediation to the next: kept by its responder, which does not look into it. */
export interface Remembered {
  /** Milliseconds since the epoch at which it may be forgotten. */
  until: number;
  /** Plain JSON, small. */
  value: unknown;
}

/** Keys that are remembered of one target. */
export const MOST_REMEMBERED = 200;

/** What of a remediation goes on in its next run. Plain JSON, bounded. */
export interface CarriedRun {
  /** Run ID of its first run: what responder, record and people know it by. */
  runId: string;
  story: Story;
  /** How many notes were made so far, and those that the audit store has not taken yet. */
  notes: { count: number; pending: AuditNote[] };
  /** Its alerts that are open. */
  raised: string[];
  /** Where its runbook stands; absent: it has not acted yet. */
  course: unknown;
  /** Its responder was told of the end already, but for what it keeps. */
  handedOver?: true;
}

/** What a remediation came to. Result of the workflow, and what the responder is told. */
export interface Ending {
  outcome: Outcome;
  /** One sentence for people: what was found and done, or what stopped it. */
  reason: string;
  changes: Change[];
  /** Of a proposal: what it would have done, in order. */
  plan?: string[];
}

/** The signal `cancel` of a remediation: who cancels it, for the server does not tell a workflow. */
export interface CancelRequest {
  /** `person:<name>` */
  by: string;
  /** Empty where none was given. */
  reason: string;
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
  /**
   * It ended before it acted, for it was not its time (or the plan is no longer the approved one): the request is decided
   * anew, as if it had waited for this gate since then.
   */
  again?: { gate: string; reason: string; request: QueuedRequest };
  /** What is to be remembered of the target from now on; null of what is to be forgotten. */
  memory?: Record<string, Remembered | null>;
}

/** What of a request is kept while it waits. */
export type QueuedRequest = Pick<RecordedAlert, 'fingerprint' | 'startsAt' | 'alertname' | 'digest' | 'by' | 'labels'>;

/** What a remediation answers when it is asked how it stands (query `story`). */
export interface Story {
  target: string;
  rule: string;
  runbook: string;
  mode?: Mode;
  /** What it was started for: the alert's name, and the ISO time since which it fires. */
  alert?: { name: string; startsAt: string };
  phase: string;
  /** The diagnosis on which it acts, or does not. */
  why?: string;
  /** What it would do, or does, once that is known. */
  plan?: Plan;
  /**
   * While it waits for a person's verdict about the plan: until when (ISO time), and who may give it: names, and
   * `group:<name>`; none: everybody who is known.
   */
  waits?: { until: string; approvers: string[] };
  /** What comes next, and by when (ISO time) at the latest. */
  next?: { what: string; until?: string };
  /** ISO times and lines, in order; with the phase in which each was said. */
  lines: { at: string; text: string; phase?: string }[];
  changes: Change[];
  held: Held[];
  /** Of circuit-breaker: how the breaker stands, and how it came to that, oldest first. */
  breaker?: { state: BreakerState; timeline: Transition[]; stands?: Stands };
  /** Of scale-on-backlog: what there is to draw, at most 240 points. */
  chart?: ScalePoint[];
  ending?: Ending;
}
