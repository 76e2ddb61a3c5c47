import { type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { AuditEntry, AuditStream } from '../model/audit.ts';
import type { Held } from '../model/change.ts';
import { HISTORY, type Tables } from './schema.ts';
import type { AuditFilter, AuditLine, AuditRecord, HeldNow, StreamSummary } from './store.ts';

type Reads = Kysely<Tables>;

/** Lines, the latest first: remediations by their start, decisions by their time. */
export async function readLines(db: Reads, filter: AuditFilter): Promise<AuditLine[]> {
  const { limit = Number.POSITIVE_INFINITY } = filter;
  const [remediations, decisions] = await Promise.all([
    readStreams(db, filter),
    filter.runbook === undefined ? readDecisions(db, filter) : [],
  ]);
  const lines = [
    ...remediations.map(
      (stream): AuditLine => ({
        stream: stream.id,
        seq: 1,
        at: stream.startedAt,
        kind: stream.endedAt === undefined ? 'begun' : 'ended',
        rule: stream.rule,
        ...optional({ runbook: stream.runbook, target: stream.target, by: stream.by, alertname: stream.alertname }),
        outcome: stream.outcome,
        reason: stream.reason ?? '',
      }),
    ),
    ...decisions,
  ];
  lines.sort((a, b) => (a.at === b.at ? compare(b.stream, a.stream) || b.seq - a.seq : compare(b.at, a.at)));
  return lines.slice(0, limit);
}

async function readDecisions(db: Reads, filter: AuditFilter): Promise<AuditLine[]> {
  const rows = await db
    .selectFrom('records')
    .select(['stream', 'seq', 'at', 'kind', 'rule', 'target', 'outcome', 'reason', 'person', 'alertname'])
    .where('outcome', 'is not', null)
    .where((eb) => eb.and([...inTime('at', filter), ...conditions(filter)]))
    .orderBy('at', 'desc')
    .orderBy('position', 'desc')
    .$if(filter.limit !== undefined, (query) => query.limit(filter.limit ?? 0))
    .execute();
  return rows.map(({ stream, seq, at, kind, rule, target, outcome, reason, person, alertname }) => ({
    stream,
    seq,
    at,
    kind,
    rule: rule ?? '',
    outcome: outcome ?? '',
    reason: reason ?? '',
    ...optional({ target, by: person, alertname }),
  }));
}

/** Remediations, the latest first. */
export async function readStreams(db: Reads, filter: AuditFilter): Promise<StreamSummary[]> {
  const rows = await remediations(db, filter)
    .selectAll()
    .orderBy('started_at', 'desc')
    .orderBy('id', 'desc')
    .$if(filter.limit !== undefined, (query) => query.limit(filter.limit ?? 0))
    .execute();
  return rows.map(summaryOf);
}

const remediations = (db: Reads, filter: AuditFilter) =>
  db
    .selectFrom('streams')
    .where('kind', '=', 'remediation')
    .where((eb) =>
      eb.and([
        ...inTime('started_at', filter),
        ...conditions(filter),
        ...(filter.runbook === undefined ? [] : [eb('runbook', '=', filter.runbook as 'drain-instance')]),
      ]),
    );

const SHORTEST_PREFIX = 8;

export async function findStreams(db: Reads, prefix: string): Promise<StreamSummary[]> {
  const rows = await db
    .selectFrom('streams')
    .selectAll()
    .where((eb) =>
      prefix.length < SHORTEST_PREFIX
        ? eb('id', '=', prefix)
        : // What begins with it lies between it and it with the largest character after it.
          eb.and([eb('id', '>=', prefix), eb('id', '<', `${prefix}\u{10ffff}`)]),
    )
    .orderBy('started_at', 'desc')
    .execute();
  return rows.map(summaryOf);
}

export async function readRecords(db: Reads, stream: string): Promise<AuditRecord[]> {
  const rows = await db.selectFrom('records').select(RECORD).where('stream', '=', stream).orderBy('seq').execute();
  return rows.map(recordOf);
}

const RECORD = ['stream', 'seq', 'key', 'at', 'entry', 'previous', 'hash'] as const;
const CHUNK = 1_000;

/** All records of the remediations and the decisions that the filter lets through. */
export async function* exportRecords(db: Reads, filter: AuditFilter): AsyncGenerator<AuditRecord> {
  const { limit = Number.POSITIVE_INFINITY, ...filters } = filter;
  const isFiltered = Object.values(filters).some((value) => value !== undefined);
  const mostOf = (given: number) => Math.min(CHUNK, limit - given);
  for (let last = 0, given = 0; mostOf(given) > 0; ) {
    const rows = await db
      .selectFrom('records')
      .select([...RECORD, 'position'])
      .where('position', '>', last)
      .$if(isFiltered, (query) =>
        query.where((eb) =>
          eb.or([
            eb('stream', 'in', remediations(db, filters).select('id')),
            ...(filters.runbook === undefined
              ? [eb.and([eb('outcome', 'is not', null), ...inTime('at', filters), ...conditions(filters)])]
              : []),
          ]),
        ),
      )
      .orderBy('position')
      .limit(mostOf(given))
      .execute();
    for (const row of rows) yield recordOf(row);
    given += rows.length;
    const end = rows.at(-1);
    if (end === undefined || rows.length < CHUNK) return;
    last = end.position;
  }
}

export async function readHeld(db: Reads): Promise<HeldNow[]> {
  const rows = await db
    .selectFrom('held')
    .innerJoin('streams', 'streams.id', 'held.stream')
    .select(['held.held', 'held.stream', 'held.since', 'streams.workflow_id', 'streams.rule', 'streams.target'])
    .orderBy('held.since')
    .orderBy('held.stream')
    .orderBy('held.seq')
    .execute();
  return rows.map(({ held, stream, since, workflow_id, rule, target }) => {
    const change = JSON.parse(held) as Held;
    return { held: change, stream, workflowId: workflow_id, rule, target: target ?? change.object.key, since };
  });
}

export async function withoutHistory(db: Reads, limit: number): Promise<AuditStream[]> {
  const rows = await db
    .selectFrom('streams')
    .selectAll()
    .where('history', '=', HISTORY.none)
    .where('ended_at', 'is not', null)
    .orderBy('ended_at')
    .limit(limit)
    .execute();
  return rows.map(streamOf);
}

export async function runningSince(db: Reads, since: string, limit: number): Promise<AuditStream[]> {
  const rows = await db
    .selectFrom('streams')
    .selectAll()
    .where('kind', '=', 'remediation')
    .where('outcome', '=', 'running')
    .where('started_at', '<', since)
    .orderBy('started_at')
    .limit(limit)
    .execute();
  return rows.map(streamOf);
}

/** The histories of the filter's remediations, one at a time. */
export async function* readHistories(
  db: Reads,
  { stream, limit = Number.POSITIVE_INFINITY, ...filter }: AuditFilter & { stream?: string },
): AsyncGenerator<{ stream: string; workflowId: string; bytes: Uint8Array }> {
  for (let last = '', given = 0; given < limit; given++) {
    const row = await remediations(db, filter)
      .innerJoin('histories', 'histories.stream', 'streams.id')
      .select(['streams.id', 'streams.workflow_id', 'histories.bytes'])
      .where('streams.id', '>', last)
      .$if(stream !== undefined, (query) => query.where('streams.id', '=', stream ?? ''))
      .orderBy('streams.id')
      .limit(1)
      .executeTakeFirst();
    if (row === undefined) return;
    yield { stream: row.id, workflowId: row.workflow_id, bytes: row.bytes };
    last = row.id;
  }
}

function inTime(column: 'at' | 'started_at', { from, to }: AuditFilter): RawBuilder<SqlBool>[] {
  const at = sql.ref(column);
  return [
    ...(from === undefined ? [] : [sql<SqlBool>`${at} >= ${isoOf(from)}`]),
    ...(to === undefined ? [] : [sql<SqlBool>`${at} < ${isoOf(to)}`]),
  ];
}

/** What streams and decisions can both be filtered by: their columns have the same names. */
function conditions({ rule, target, outcome, by, reason }: AuditFilter): RawBuilder<SqlBool>[] {
  const all: RawBuilder<SqlBool>[] = [];
  if (rule !== undefined) all.push(sql`rule = ${rule}`);
  // A target, or all below it: `k8s/prod/shop`. What comes after `/` in the order of bytes is `0`.
  if (target !== undefined)
    all.push(sql`(target = ${target} or (target > ${`${target}/`} and target < ${`${target}0`}))`);
  if (outcome !== undefined) all.push(sql`outcome = ${outcome}`);
  if (by !== undefined) all.push(sql`person in (${by}, ${`person:${by}`}, ${`unverified:${by}`})`);
  if (reason !== undefined) {
    const pattern = `%${reason.toLowerCase().replaceAll(/[\\%_]/g, '\\$&')}%`;
    all.push(sql`lower(reason) like ${pattern} escape '\\'`);
  }
  return all;
}

/** In the form in which times are stored. */
const isoOf = (time: string): string => {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : date.toISOString();
};

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Without members that are not there. */
const optional = <T extends Record<string, unknown>>(members: T): { [K in keyof T]?: NonNullable<T[K]> } =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null && value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };

const recordOf = ({
  stream,
  seq,
  key,
  at,
  entry,
  previous,
  hash,
}: Pick<Tables['records'], (typeof RECORD)[number]>): AuditRecord => ({
  stream,
  seq,
  key,
  at,
  entry: JSON.parse(entry) as AuditEntry,
  previous,
  hash,
});

export const streamOf = (row: Tables['streams']): AuditStream => ({
  id: row.id,
  kind: row.kind,
  workflowId: row.workflow_id,
  rule: row.rule,
  scope: row.scope,
  ...optional({ target: row.target, runbook: row.runbook, mode: row.mode }),
});

const summaryOf = (row: Tables['streams']): StreamSummary => ({
  ...streamOf(row),
  startedAt: row.started_at,
  outcome: row.outcome ?? '',
  records: row.records,
  head: row.head,
  sealed: row.sealed >= row.records,
  hasHistory: row.history === HISTORY.kept,
  ...optional({ endedAt: row.ended_at, reason: row.reason, by: row.person, alertname: row.alertname }),
});
