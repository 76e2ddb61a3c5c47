import { sql, type Transaction } from 'kysely';
import type { AuditEntry, AuditPage, AuditStream } from '../model/audit.ts';
import { canonicalJson } from '../model/digest.ts';
import { redact } from '../model/redact.ts';
import { recordHash } from './chain.ts';
import type { Database } from './database.ts';
import { advance, decided, heldBy, newStream, plain } from './project.ts';
import type { Tables } from './schema.ts';

/** A page as it will be stored: secrets removed, each entry as canonical JSON. */
export interface PreparedPage {
  stream: AuditStream;
  notes: { key: string; at: string; entry: AuditEntry; text: string }[];
  /** Stored together with the note of the key `history`, if that is new. */
  history?: Uint8Array;
}

export function prepare({ stream, notes }: AuditPage, history?: Uint8Array): PreparedPage {
  // The ID names the stream and was not made of anybody's words.
  const { id, ...rest } = stream;
  return {
    stream: { ...(redact(rest) as typeof rest), id: plain(id) },
    notes: notes.map(({ key, at, entry }) => {
      const text = canonicalJson(redact(entry));
      return { key: plain(key), at: plain(at), entry: JSON.parse(text) as AuditEntry, text };
    }),
    history,
  };
}

/** Rows in one statement: both databases bound the number of its parameters. */
const ROWS = 1_000;

/** Adds what is new of the pages, in one transaction. @returns how many records that were */
export function write(database: Database, pages: readonly PreparedPage[]): Promise<number> {
  const filled = pages.filter(({ notes }) => notes.length > 0);
  if (filled.length === 0) return Promise.resolve(0);
  return database.writes.transaction().execute(async (trx) => {
    const rows = await lockStreams(trx, filled, database.dialect);
    const known = await knownKeys(trx, filled, rows);
    const before = new Map(rows);
    const records: Omit<Tables['records'], 'position'>[] = [];
    const held = new Map<string, HeldChange>();
    const histories: Tables['histories'][] = [];
    for (const { stream, notes, history } of filled) {
      for (const { key, at, entry, text } of notes) {
        const named = nameOf(stream.id, key);
        const row = rows.get(stream.id);
        if (row === undefined) throw new Error(`the row of stream ${stream.id} was neither made nor found`);
        if (known.has(named)) continue;
        known.add(named);
        const link = { stream: stream.id, seq: row.records + 1, key, at, entry: text, previous: row.head };
        const hash = recordHash(link);
        records.push({ ...link, kind: entry.kind, hash, ...decided(entry) });
        rows.set(stream.id, advance(row, at, entry, hash));
        const holds = heldBy(entry);
        if (holds) held.set(nameOf(stream.id, holds.uid, holds.field), heldChange(holds, link, before));
        if (entry.kind === 'history' && history) histories.push({ stream: stream.id, bytes: history });
      }
    }
    if (records.length === 0) return 0;
    for (const some of chunks(records)) await trx.insertInto('records').values(some).execute();
    await updateStreams(
      trx,
      [...rows.values()].filter((row) => row !== before.get(row.id)),
    );
    await writeHeld(trx, [...held.values()]);
    for (const row of histories) await trx.insertInto('histories').values(row).execute();
    return records.length;
  });
}

const nameOf = (...parts: string[]): string => parts.join('\0');

/** A field that is held from now on (`row`), or given back. */
interface HeldChange {
  stream: string;
  uid: string;
  field: string;
  row?: Tables['held'];
  /** Its stream begins with this transaction, so nothing of it can have been held. */
  isNew: boolean;
}

function heldChange(
  { uid, field, set }: NonNullable<ReturnType<typeof heldBy>>,
  { stream, seq, at }: { stream: string; seq: number; at: string },
  before: ReadonlyMap<string, Tables['streams']>,
): HeldChange {
  const change = { stream, uid, field, isNew: before.get(stream)?.records === 0 };
  if (set === undefined) return change;
  return { ...change, row: { stream, uid, field, seq, since: at, held: canonicalJson(set) } };
}

/**
 * The rows of the pages' streams, made where they are new, and locked. In the order of their IDs, so that no two
 * transactions can each wait for the other.
 */
async function lockStreams(
  trx: Transaction<Tables>,
  pages: readonly PreparedPage[],
  dialect: Database['dialect'],
): Promise<Map<string, Tables['streams']>> {
  const fresh = new Map<string, Tables['streams']>();
  for (const { stream, notes } of pages)
    if (!fresh.has(stream.id)) fresh.set(stream.id, newStream(stream, notes[0]?.at ?? ''));
  const ids = [...fresh.keys()].sort();
  const rows = new Map<string, Tables['streams']>();
  for (const some of chunks(ids.flatMap((id) => fresh.get(id) ?? []))) {
    const made = await trx
      .insertInto('streams')
      .values(some)
      .onConflict((conflict) => conflict.column('id').doNothing())
      .returningAll()
      .execute();
    for (const row of made) rows.set(row.id, row);
  }
  const old = ids.filter((id) => !rows.has(id));
  if (old.length === 0) return rows;
  const locked = await trx
    .selectFrom('streams')
    .selectAll()
    .where('id', 'in', old)
    .orderBy('id')
    .$if(dialect === 'postgres', (query) => query.forUpdate())
    .execute();
  for (const row of locked) rows.set(row.id, row);
  return rows;
}

/** Which of the notes are stored already; a stream that is new has none. */
async function knownKeys(
  trx: Transaction<Tables>,
  pages: readonly PreparedPage[],
  rows: ReadonlyMap<string, Tables['streams']>,
): Promise<Set<string>> {
  const begun = pages.filter(({ stream }) => rows.get(stream.id)?.records !== 0);
  const streams = [...new Set(begun.map(({ stream }) => stream.id))];
  const keys = [...new Set(begun.flatMap(({ notes }) => notes.map(({ key }) => key)))];
  const known = new Set<string>();
  for (const some of chunks(keys)) {
    const rows = await trx
      .selectFrom('records')
      .select(['stream', 'key'])
      .where('stream', 'in', streams)
      .where('key', 'in', some)
      .execute();
    for (const { stream, key } of rows) known.add(nameOf(stream, key));
  }
  return known;
}

async function updateStreams(trx: Transaction<Tables>, rows: Tables['streams'][]): Promise<void> {
  for (const some of chunks(rows))
    await trx
      .insertInto('streams')
      .values(some)
      .onConflict((conflict) =>
        conflict.column('id').doUpdateSet((row) => ({
          ended_at: row.ref('excluded.ended_at'),
          outcome: row.ref('excluded.outcome'),
          reason: row.ref('excluded.reason'),
          person: row.ref('excluded.person'),
          alertname: row.ref('excluded.alertname'),
          records: row.ref('excluded.records'),
          head: row.ref('excluded.head'),
          history: row.ref('excluded.history'),
        })),
      )
      .execute();
}

async function writeHeld(trx: Transaction<Tables>, all: HeldChange[]): Promise<void> {
  const given = all.filter(({ row, isNew }) => row === undefined && !isNew);
  for (const some of chunks(given)) {
    const keys = some.map(({ stream, uid, field }) => sql`(${stream}, ${uid}, ${field})`);
    await sql`delete from held where (stream, uid, field) in (values ${sql.join(keys)})`.execute(trx);
  }
  for (const some of chunks(all.flatMap(({ row }) => row ?? [])))
    await trx
      .insertInto('held')
      .values(some)
      .onConflict((conflict) =>
        conflict.columns(['stream', 'uid', 'field']).doUpdateSet((row) => ({
          seq: row.ref('excluded.seq'),
          since: row.ref('excluded.since'),
          held: row.ref('excluded.held'),
        })),
      )
      .execute();
}

function* chunks<T>(all: readonly T[]): Generator<T[]> {
  for (let from = 0; from < all.length; from += ROWS) yield all.slice(from, from + ROWS);
}
