import type { Change, Held, ObjectRef } from './change.ts';
import type { Outcome } from './outcome.ts';
import type { Pause } from './pause.ts';
import type { RemediationInput, Story } from './remediation.ts';
import type { Decision, RecordedAlert } from './request.ts';
import type { Mode, ResolvedRule } from './rule.ts';

/**
 * The audit: what was asked, decided, found, changed and what came of it. Records of one workflow are a stream; they are
 * chained among themselves, and the heads of all streams are chained into one log (see audit/).
 *
 * Workflows only note; activities write. A note is named within its stream, so that writing it again adds nothing.
 */
export interface AuditNote {
  /** Names the note within its stream: the workflow's own count (`1`, or of a responder `<run ID>/1`), or `history`, … */
  key: string;
  /** ISO time by the clock of whoever noted it. */
  at: string;
  entry: AuditEntry;
}

export type AuditEntry =
  /** A request that waits or was refused: in the stream of its responder. What was admitted is told by `begun`. */
  | ({ kind: 'decision'; scope: string; rule: string; ruleDigest: string; target: string; mode: Mode } & {
      alert: RecordedAlert;
      decision: Exclude<Decision, { answer: 'admit' | 'coalesce' }>;
      /** ISO time at which it was first asked for; equal to the note's own time unless it had waited. */
      since: string;
    })
  /** A request that waited, and whose alert was resolved meanwhile. */
  | { kind: 'dropped'; target: string; rule: string; alert: RecordedAlert; why: string }
  /** First record of a remediation, or of a proposal: all that it was given. */
  | ({ kind: 'begun' } & Pick<
      RemediationInput,
      'target' | 'rule' | 'ruleDigest' | 'scope' | 'alert' | 'episode' | 'since'
    >)
  /** What was read of live state, on which a decision rests; `facts` are plain JSON, bounded. */
  | { kind: 'evidence'; what: string; verdict: string; why: string; facts?: Record<string, unknown> }
  /** Written before the mutation that makes it. */
  | { kind: 'held'; held: Held }
  | { kind: 'change'; change: Change }
  /** A held field is back as it was, or its object is gone. `by` is a person where `salvor release` did it. */
  | { kind: 'released'; object: ObjectRef; field: string; by?: string; why?: string }
  /** Of a proposal: what a person decided about its plan. */
  | { kind: 'verdict'; answer: 'approve' | 'deny'; by: string; groups: string[]; digest: string; comment: string }
  /** Of a responder: everything in its scope is held, or no longer; `by` where a person ended it. */
  | { kind: 'storm'; state: 'begins' | 'ends'; live: number; unhealthy: number; why: string; by?: string }
  /** People were told by an alert of Salvor's own. */
  | { kind: 'escalated'; id: string; why: string }
  /** Of `salvor/control`. */
  | { kind: 'pause'; pause: Pause; undo: boolean }
  | { kind: 'resume'; prefix: string; by: string; reason: string; ended: Pause[] }
  /** A person asked for its end. */
  | { kind: 'cancel'; by: string; reason: string }
  | {
      kind: 'ended';
      outcome: Outcome | 'terminated';
      reason: string;
      plan?: string[];
      /** Of a proposal or an approved plan. */
      planDigest?: string;
      /** The story as people read it: ISO times and lines, in order. */
      lines: Story['lines'];
      /** Of scale-on-backlog: what the story had to draw, which is in no other note. */
      chart?: Story['chart'];
      /** Of circuit-breaker: how it stood at the end, and how it came to that. */
      breaker?: Story['breaker'];
    }
  /** So many notes before this one were dropped, for the store was down for so long that they could not be carried on. */
  | { kind: 'lost'; count: number }
  /** The execution's history is kept: SHA-256 (hex) of its stored bytes. */
  | { kind: 'history'; sha256: string; events: number; bytes: number };

export type AuditKind = AuditEntry['kind'];

/** Whose notes they are. */
export interface AuditStream {
  /** Run ID of a remediation; first run ID of a responder, whose later runs go on with it. */
  id: string;
  kind: 'remediation' | 'responder' | 'control';
  workflowId: string;
  rule: string;
  /** Of a remediation. */
  target?: string;
  runbook?: ResolvedRule['runbook'];
  mode?: Mode;
  scope: string;
}

/** Notes of one stream, in order. */
export interface AuditPage {
  stream: AuditStream;
  notes: AuditNote[];
}

/** What keeps them: the audit store. */
export interface AuditWriter {
  /** Adds the notes whose keys are new in their stream. When it resolves they are durable. */
  append(page: AuditPage): Promise<void>;
}

/** The activity that writes; idempotent by the keys of the notes. Retryable for as long as the store is down. */
export interface AuditActivities {
  record(page: AuditPage): Promise<void>;
}
