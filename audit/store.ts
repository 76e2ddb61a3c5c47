import type { AuditEntry, AuditKind, AuditNote, AuditPage, AuditStream } from '../model/audit.ts';
import type { Held } from '../model/change.ts';

/** A note as it is stored: numbered and chained within its stream. */
export interface AuditRecord extends AuditNote {
  /** ID of its stream. */
  stream: string;
  /** From 1, without a gap. */
  seq: number;
  /** `hash` of the record before it in the stream; 64 zeros for the first. */
  previous: string;
  /** SHA-256 (hex) of the canonical JSON of all of the above and its entry. */
  hash: string;
}

/** A stream as lists show it. What it came to is taken from its records; `verify` compares the two. */
export interface StreamSummary extends AuditStream {
  /** ISO times; `endedAt` of a remediation only. */
  startedAt: string;
  endedAt?: string;
  /** Of a remediation: `running` until it has ended. */
  outcome: string;
  reason?: string;
  /** `alertmanager`, or `person:<name>`. */
  by?: string;
  alertname?: string;
  records: number;
  /** Hash of its last record. */
  head: string;
  sealed: boolean;
  hasHistory: boolean;
}

/** One line of `salvor audit list`: a remediation, a decision to wait or to refuse, or a person's to pause or to resume. */
export interface AuditLine {
  stream: string;
  seq: number;
  at: string;
  kind: AuditKind;
  rule: string;
  runbook?: string;
  target?: string;
  /** An outcome, `running`, `waiting`, `refused`, `paused` or `resumed`. */
  outcome: string;
  reason: string;
  by?: string;
  alertname?: string;
}

export interface AuditFilter {
  /** ISO times; `from` inclusive, `to` exclusive. */
  from?: string;
  to?: string;
  rule?: string;
  runbook?: string;
  /** A target key, or the beginning of one up to a `/`: all below it. */
  target?: string;
  outcome?: string;
  /** A person's name, or `alertmanager`. */
  by?: string;
  /** A part of the reason, case ignored. */
  reason?: string;
  /** Without it, all. */
  limit?: number;
}

export interface HeldNow {
  held: Held;
  /** Stream of the remediation that holds it. */
  stream: string;
  workflowId: string;
  rule: string;
  target: string;
  /** ISO time at which it was noted. */
  since: string;
}

/** What `verify` found wrong: the first of each stream, and the first of the log. */
export interface Fault {
  kind: 'altered' | 'missing' | 'inserted' | 'reordered' | 'truncated' | 'history' | 'anchor';
  /** Where: a stream's record, or an entry of the log. */
  stream?: string;
  seq?: number;
  /** For people: which record, what was expected and what is there. */
  message: string;
}

export interface Verification {
  streams: number;
  records: number;
  /** Entries of the log. */
  sealed: number;
  /** Records that no entry of the log covers yet. */
  unsealed: number;
  /** Number and hash of the last entry of the log: kept elsewhere, it is the anchor of the next verification. */
  head?: { number: number; hash: string };
  faults: Fault[];
}

/** An execution's history: protobuf JSON, as Temporal's own tools write it. */
export interface StoredHistory {
  stream: string;
  workflowId: string;
  json: string;
}

/** The audit store: append-only. Every method rejects with a StoreUnavailableError where the database cannot be reached. */
export interface AuditStore {
  /** `file:/path/audit.db` or `postgres://host/db`, without credentials. */
  readonly location: string;
  /**
   * Adds the notes whose keys are new in their stream; secrets are removed first. Pages that arrive together share one
   * transaction. When it resolves they are durable.
   */
  append(page: AuditPage): Promise<void>;
  /** Chains the heads that have moved since into the log; undefined where another process is just doing so. */
  seal(limit?: number): Promise<number | undefined>;
  /** Lines, the latest first. */
  list(filter: AuditFilter): Promise<AuditLine[]>;
  /** Remediations, the latest first. */
  streams(filter: AuditFilter): Promise<StreamSummary[]>;
  /** By the whole ID, or by any unique prefix of 8 or more characters: all that match. */
  findStreams(prefix: string): Promise<StreamSummary[]>;
  records(stream: string): Promise<AuditRecord[]>;
  /** All records that the filter lets through, in the order in which they were written. */
  export(filter: AuditFilter): AsyncIterable<AuditRecord>;
  /** All that is held now, oldest first. */
  held(): Promise<HeldNow[]>;
  /** @param anchor number and hash of an entry of the log, as an earlier verification gave it: `<number>:<hash>` */
  verify(anchor?: string): Promise<Verification>;
  /** Ended remediations whose history is not kept yet, oldest first; and those that have been running since before `since`. */
  withoutHistory(limit: number): Promise<AuditStream[]>;
  runningSince(since: string, limit: number): Promise<AuditStream[]>;
  /** Keeps a history, compressed, and notes its hash; secrets are removed first. Again it adds nothing. */
  keepHistory(stream: string, history: { json: string; events: number }): Promise<void>;
  /** Temporal has no history of this stream any more: it is not asked for again. */
  historyGone(stream: string): Promise<void>;
  histories(filter: AuditFilter & { stream?: string }): AsyncIterable<StoredHistory>;
  /** Resolves where the database answers. */
  ping(): Promise<void>;
  /** What the last operation found, without asking the database; after a write that failed, the last write. */
  state(): StoreState;
  close(): Promise<void>;
}

/** Whether the database can be reached, and takes what is written. */
export interface StoreState {
  up: boolean;
  /** ISO time since which it is down, and what a person can do about it. */
  since?: string;
  error?: string;
}

/** Where the store is and how it is opened. */
export interface AuditStoreOptions {
  /** `file:<path>`, or `postgres://[user@]host[:port]/database`. */
  url: string;
  /** For PostgreSQL. */
  password?: string;
  /** Refuse to create it: for commands that only read. */
  mustExist?: boolean;
}

/** What `record` may be told of a stream that has ended without a word of its own. */
export type Terminated = Extract<AuditEntry, { kind: 'ended' }>;
