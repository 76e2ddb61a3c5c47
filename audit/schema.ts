import { type Generated, type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { AuditKind, AuditStream } from '../model/audit.ts';
import type { Mode, Runbook } from '../model/rule.ts';

/** `previous` of the first record of a stream, and of the first entry of the log. */
export const GENESIS = '0'.repeat(64);

/** Whether a stream's history is kept. The third: Temporal has none any more. */
export const HISTORY = { none: 0, kept: 1, gone: 2 } as const;

/**
 * Columns are plain text and integers, so that both databases hold the same and hashes do not depend on either. ISO times
 * are compared as text.
 */
export interface Tables {
  /** What the records of each stream come to: for lists, and locked by whoever adds to the stream. */
  streams: {
    id: string;
    kind: AuditStream['kind'];
    workflow_id: string;
    rule: string;
    target: string | null;
    runbook: Runbook | null;
    mode: Mode | null;
    scope: string;
    started_at: string;
    ended_at: string | null;
    outcome: string | null;
    reason: string | null;
    person: string | null;
    alertname: string | null;
    /** How many records it has, and the hash of the last. */
    records: number;
    head: string;
    /** The record that the newest entry of the log covers; 0 for none. */
    sealed: number;
    history: number;
  };
  records: {
    /** The order of writing over all streams; no part of the evidence. */
    position: Generated<number>;
    stream: string;
    seq: number;
    key: string;
    at: string;
    kind: AuditKind;
    /** Canonical JSON. */
    entry: string;
    previous: string;
    hash: string;
    /** Of decisions only: what lists filter by. */
    rule: string | null;
    target: string | null;
    outcome: string | null;
    reason: string | null;
    person: string | null;
    alertname: string | null;
  };
  /** What the records say is held now. */
  held: {
    stream: string;
    seq: number;
    uid: string;
    field: string;
    since: string;
    /** JSON. */
    held: string;
  };
  /** The chain of the heads. */
  log: {
    number: number;
    stream: string;
    seq: number;
    /** Hash of that record. */
    record: string;
    previous: string;
    hash: string;
  };
  /** One row: the last entry of the log, locked by whoever seals. */
  tail: { id: number; number: number; hash: string };
  /** Compressed with gzip. */
  histories: { stream: string; bytes: Uint8Array };
}

/** Each is run once and never changed: what follows is a new one. */
export const migrations = (dialect: 'sqlite' | 'postgres'): Record<string, Migration> => ({
  '0001-begin': { up: (db) => run(db, begin(dialect)) },
});

async function run(db: Kysely<unknown>, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

function begin(dialect: 'sqlite' | 'postgres'): string[] {
  // Compared byte by byte on both, whatever the language of the database.
  const text = dialect === 'postgres' ? 'text collate "C"' : 'text';
  const bytes = dialect === 'postgres' ? 'bytea' : 'blob';
  const position =
    dialect === 'postgres'
      ? 'position bigint generated always as identity primary key'
      : 'position integer primary key autoincrement';
  const strict = dialect === 'postgres' ? '' : ' strict';
  return [
    `create table streams (
      id ${text} primary key, kind ${text} not null, workflow_id ${text} not null, rule ${text} not null,
      target ${text}, runbook ${text}, mode ${text}, scope ${text} not null, started_at ${text} not null,
      ended_at ${text}, outcome ${text}, reason ${text}, person ${text}, alertname ${text},
      records integer not null, head ${text} not null, sealed integer not null, history integer not null)${strict}`,
    `create index streams_started on streams (started_at) where kind = 'remediation'`,
    `create index streams_target on streams (target, started_at) where kind = 'remediation'`,
    `create index streams_rule on streams (rule, started_at) where kind = 'remediation'`,
    `create index streams_outcome on streams (outcome, started_at) where kind = 'remediation'`,
    `create index streams_person on streams (person, started_at) where kind = 'remediation'`,
    `create index streams_unsealed on streams (started_at) where sealed < records`,
    `create index streams_without_history on streams (ended_at) where history = 0 and ended_at is not null`,
    `create table records (
      ${position}, stream ${text} not null, seq integer not null, key ${text} not null, at ${text} not null,
      kind ${text} not null, entry ${text} not null, previous ${text} not null, hash ${text} not null,
      rule ${text}, target ${text}, outcome ${text}, reason ${text}, person ${text}, alertname ${text})${strict}`,
    `create unique index records_seq on records (stream, seq)`,
    `create unique index records_key on records (stream, key)`,
    `create index records_at on records (at)`,
    `create index decisions_at on records (at) where outcome is not null`,
    `create index decisions_target on records (target, at) where outcome is not null`,
    `create index decisions_rule on records (rule, at) where outcome is not null`,
    `create table held (
      stream ${text} not null, seq integer not null, uid ${text} not null, field ${text} not null,
      since ${text} not null, held ${text} not null, primary key (stream, uid, field))${strict}`,
    `create table log (
      number integer primary key, stream ${text} not null, seq integer not null, record ${text} not null,
      previous ${text} not null, hash ${text} not null)${strict}`,
    `create index log_stream on log (stream, seq)`,
    `create table tail (id integer primary key, number integer not null, hash ${text} not null)${strict}`,
    `insert into tail (id, number, hash) values (1, 0, '${GENESIS}')`,
    `create table histories (stream ${text} primary key, bytes ${bytes} not null)${strict}`,
  ];
}
