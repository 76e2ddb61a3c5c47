import { setImmediate as turn } from 'node:timers/promises';
import { type Kysely, type Selectable, sql } from 'kysely';
import type { AuditEntry } from '../model/audit.ts';
import { canonicalJson } from '../model/digest.ts';
import { CONTROL_ID, proposalId, remediationId, responderId } from '../model/names.ts';
import { bytesHash, recordHash } from './chain.ts';
import { explain, type Faults } from './faults.ts';
import { advance, decided, heldBy, newStream, plain } from './project.ts';
import { streamOf } from './read.ts';
import { GENESIS, HISTORY, type Tables } from './schema.ts';

const CHUNK = 1_000;

type Reads = Kysely<Tables>;
type Row = Selectable<Tables['records']>;

/** A stream as far as it was read. */
interface Walk {
  id: string;
  /** As the lists have it; undefined where they lack it. */
  row: Tables['streams'] | undefined;
  /** As its records make it. */
  made: Tables['streams'] | undefined;
  seq: number;
  head: string;
  /** What it holds by its records, by uid and field, and what the list of all that is held says of it. */
  held: Map<string, string>;
  listed: readonly Tables['held'][];
}

/** Every record in the order of its stream, and the rows that are made of them. @returns how many there are */
export async function verifyStreams(db: Reads, faults: Faults): Promise<{ streams: number; records: number }> {
  let walk: Walk | undefined;
  const count = { streams: 0, records: 0 };
  for (let after = { stream: '', seq: 0 }; ; await turn()) {
    const rows = await recordsAfter(db, after);
    const lists = await listsOf(db, rows);
    for (const row of rows) {
      if (walk?.id !== row.stream) {
        if (walk) finish(walk, faults);
        walk = begin(row, lists);
        count.streams += 1;
      }
      count.records += 1;
      if (!faults.has(row.stream)) await step(db, walk, row, faults);
      after = row;
    }
    if (rows.length < CHUNK) break;
  }
  if (walk) finish(walk, faults);
  await withoutRecords(db, faults);
  return count;
}

const recordsAfter = (db: Reads, { stream, seq }: { stream: string; seq: number }): Promise<Row[]> =>
  db
    .selectFrom('records')
    .selectAll()
    .where(sql<boolean>`(stream, seq) > (${stream}, ${seq})`)
    .orderBy('stream')
    .orderBy('seq')
    .limit(CHUNK)
    .execute();

interface Lists {
  streams: ReadonlyMap<string, Tables['streams']>;
  held: ReadonlyMap<string, Tables['held'][]>;
}

/** What the lists say of the streams of these records. */
async function listsOf(db: Reads, records: readonly Row[]): Promise<Lists> {
  const ids = [...new Set(records.map(({ stream }) => stream))];
  if (ids.length === 0) return { streams: new Map(), held: new Map() };
  const streams = await db.selectFrom('streams').selectAll().where('id', 'in', ids).execute();
  const held = await db.selectFrom('held').selectAll().where('stream', 'in', ids).execute();
  return { streams: new Map(streams.map((row) => [row.id, row])), held: Map.groupBy(held, ({ stream }) => stream) };
}

function begin(first: Row, { streams, held }: Lists): Walk {
  const row = streams.get(first.stream);
  return {
    id: first.stream,
    row,
    made: row && newStream(streamOf(row), first.at),
    seq: 0,
    head: GENESIS,
    held: new Map(),
    listed: held.get(first.stream) ?? [],
  };
}

/** Takes one more record. */
async function step(db: Reads, walk: Walk, row: Row, faults: Faults): Promise<void> {
  const expected = { seq: walk.seq + 1, previous: walk.head };
  if (row.seq !== expected.seq || row.previous !== expected.previous || recordHash(row) !== row.hash) {
    const beyond = walk.row !== undefined && row.seq > walk.row.records;
    const fault = beyond && row.seq === expected.seq ? inserted(row.seq) : await explainRecord(db, row, expected);
    faults.inStream(row.stream, fault);
    return;
  }
  walk.seq = row.seq;
  walk.head = row.hash;
  try {
    await take(db, walk, row, faults);
  } catch (error) {
    // Whoever can make a hash can also write something else than an entry; the database's own errors are no fault.
    if (!(error instanceof SyntaxError || error instanceof TypeError || error instanceof URIError)) throw error;
    const message = `record ${row.seq} was altered: it is nothing that Salvor writes`;
    faults.inStream(row.stream, { kind: 'altered', seq: row.seq, message });
  }
}

/** A record that is in its place: what it makes of its stream, and whether the lists have it so. */
async function take(db: Reads, walk: Walk, row: Row, faults: Faults): Promise<void> {
  const entry = JSON.parse(row.entry) as AuditEntry;
  const says = { kind: entry.kind, ...decided(entry) };
  const differs = Object.entries(says).find(([column, value]) => row[column as keyof typeof says] !== value);
  if (differs)
    faults.inStream(row.stream, {
      kind: 'altered',
      seq: row.seq,
      message: `record ${row.seq} is listed with ${differs[0]} ${row[differs[0] as keyof typeof says]}, and says ${differs[1]}`,
    });
  const foreign = walk.row && belies(walk.row, entry);
  if (foreign)
    faults.inStream(row.stream, {
      kind: 'altered',
      message: `the lists were altered: they have the stream as ${foreign}, which record ${row.seq} belies`,
    });
  if (walk.made) walk.made = advance(walk.made, row.at, entry, row.hash);
  const holds = heldBy(entry);
  if (holds?.set)
    walk.held.set(heldKey(holds), heldText({ seq: row.seq, since: row.at, held: canonicalJson(holds.set) }));
  else if (holds) walk.held.delete(heldKey(holds));
  if (entry.kind === 'history') await verifyHistory(db, row, entry.sha256, faults);
}

/** What the stream's row says of whose records these are, where a record says otherwise. */
function belies(row: Tables['streams'], entry: AuditEntry): string | undefined {
  if (entry.kind === 'begun') {
    const { rule, target, scope } = entry;
    const ids = [remediationId(target), proposalId(rule.name, target)];
    return (
      otherThan('kind', row.kind, ['remediation']) ??
      otherThan('rule', row.rule, [rule.name]) ??
      otherThan('target', row.target, [target]) ??
      otherThan('runbook', row.runbook, [rule.runbook]) ??
      otherThan('mode', row.mode, [rule.mode]) ??
      otherThan('scope', row.scope, [scope]) ??
      otherThan('workflow', row.workflow_id, ids)
    );
  }
  if (entry.kind === 'pause' || entry.kind === 'resume')
    return otherThan('kind', row.kind, ['control']) ?? otherThan('workflow', row.workflow_id, [CONTROL_ID]);
  if (entry.kind !== 'decision') return undefined;
  const { rule, scope } = entry;
  return (
    otherThan('kind', row.kind, ['responder']) ??
    otherThan('rule', row.rule, [rule]) ??
    otherThan('scope', row.scope, [scope]) ??
    otherThan('workflow', row.workflow_id, [responderId(rule, scope)])
  );
}

/**
 * A secret in a name is removed from the two in different ways, for one of them may be encoded. Whether there was one is
 * told by the record, which its hash covers, and never by the list.
 */
const otherThan = (what: string, listed: string | null, said: string[]): string | undefined =>
  said.some((one) => one.includes('redacted')) || (listed !== null && said.map(plain).includes(listed))
    ? undefined
    : `${what} ${listed}`;

const inserted = (seq: number) => ({
  kind: 'inserted' as const,
  seq,
  message: `record ${seq} was inserted: the stream has ${seq - 1}`,
});

const heldKey = ({ uid, field }: { uid: string; field: string }): string => `${uid}\0${field}`;
const heldText = ({ seq, since, held }: Pick<Tables['held'], 'seq' | 'since' | 'held'>): string =>
  `${seq} ${since} ${held}`;

function explainRecord(db: Reads, row: Row, expected: { seq: number; previous: string }) {
  return explain('record', {
    seq: row.seq,
    hash: row.hash,
    expected,
    hashAs: (seq) => recordHash({ ...row, seq }),
    successor: async () => {
      const other = await db
        .selectFrom('records')
        .select('seq')
        .where('stream', '=', row.stream)
        .where('previous', '=', expected.previous)
        .where('seq', '<>', row.seq)
        .orderBy('seq')
        .executeTakeFirst();
      return other?.seq;
    },
    hashAt: async (seq) => {
      const other = await db
        .selectFrom('records')
        .select('hash')
        .where('stream', '=', row.stream)
        .where('seq', '=', seq)
        .executeTakeFirst();
      return other?.hash;
    },
    most: CHUNK,
  });
}

async function verifyHistory(db: Reads, { stream, seq }: Row, sha256: string, faults: Faults): Promise<void> {
  const kept = await db.selectFrom('histories').select('bytes').where('stream', '=', stream).executeTakeFirst();
  if (kept !== undefined && bytesHash(kept.bytes) === sha256) return;
  const what = kept === undefined ? 'is gone' : 'was altered: its bytes do not have the hash';
  faults.inStream(stream, { kind: 'history', seq, message: `the history that record ${seq} tells of ${what}` });
}

/** All its records were read: the rows that were made of them must say the same. */
function finish(walk: Walk, faults: Faults): void {
  const { id, row, made, seq, head } = walk;
  if (faults.has(id)) return;
  if (row === undefined || made === undefined) {
    faults.inStream(id, { kind: 'missing', message: 'the stream has records, and the lists do not have it' });
    return;
  }
  if (seq < row.records) {
    const message = `the stream ends with record ${seq}, and had ${row.records}`;
    faults.inStream(id, { kind: 'truncated', seq: seq + 1, message });
    return;
  }
  if (seq > row.records) {
    faults.inStream(id, inserted(row.records + 1));
    return;
  }
  const wrong = differences(row, { ...made, head });
  if (wrong !== undefined) faults.inStream(id, { kind: 'altered', message: `the lists were altered: ${wrong}` });
  else compareHeld(walk, faults);
}

/** What the lists say of a stream, and its records do not. */
function differences(row: Tables['streams'], made: Tables['streams']): string | undefined {
  const { sealed: _, history, ...columns } = made;
  for (const [column, value] of Object.entries(columns)) {
    const listed = row[column as keyof typeof columns];
    if (listed !== value) return `${column} is ${listed}, and by the records ${value}`;
  }
  if ((row.history === HISTORY.kept) !== (history === HISTORY.kept)) return `history is ${row.history}`;
  return undefined;
}

function compareHeld({ id, held, listed: rows }: Walk, faults: Faults): void {
  const listed = new Map(rows.map((row) => [heldKey(row), heldText(row)]));
  for (const key of new Set([...held.keys(), ...listed.keys()])) {
    if (held.get(key) === listed.get(key)) continue;
    const what = listed.has(key) ? (held.has(key) ? 'is listed otherwise' : 'is listed as held') : 'is not listed';
    const message = `the list of what is held was altered: ${key.split('\0').reverse().join(' of ')} ${what}`;
    faults.inStream(id, { kind: 'altered', message });
    return;
  }
}

/** Rows that no record stands for. */
async function withoutRecords(db: Reads, faults: Faults): Promise<void> {
  const bare = await db
    .selectFrom('streams')
    .select(['id', 'records'])
    .where((eb) =>
      eb.not(eb.exists(eb.selectFrom('records').select('seq').whereRef('records.stream', '=', 'streams.id'))),
    )
    .execute();
  for (const { id, records } of bare)
    faults.inStream(id, { kind: 'truncated', seq: 1, message: `none of its ${records} records is there` });
  const held = await db
    .selectFrom('held')
    .select('stream')
    .where((eb) =>
      eb.not(eb.exists(eb.selectFrom('records').select('seq').whereRef('records.stream', '=', 'held.stream'))),
    )
    .execute();
  for (const { stream } of held)
    faults.inStream(stream, { kind: 'inserted', message: 'something is listed as held, and no record tells of it' });
  const histories = await db
    .selectFrom('histories')
    .select('stream')
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('records')
            .select('seq')
            .whereRef('records.stream', '=', 'histories.stream')
            .where('records.key', '=', 'history'),
        ),
      ),
    )
    .execute();
  for (const { stream } of histories)
    faults.inStream(stream, { kind: 'history', message: 'a history is there, and no record tells of it' });
}
