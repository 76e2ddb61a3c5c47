import { sql } from 'kysely';
import { type LogEntry, logHash } from './chain.ts';
import type { Database } from './database.ts';

/** Streams in one transaction. */
const MOST = 1_000;

/**
 * Chains the heads that have moved since into the log. The row of the log's tail makes sure that one process does it at a
 * time; streams that are being written just now are left for the next time.
 *
 * @returns how many entries were added; undefined where another process is doing it
 */
export function seal(database: Database, limit = MOST): Promise<number | undefined> {
  const postgres = database.dialect === 'postgres';
  return database.writes.transaction().execute(async (trx) => {
    const tail = await trx
      .selectFrom('tail')
      .select(['number', 'hash'])
      .$if(postgres, (query) => query.forUpdate().skipLocked())
      .executeTakeFirst();
    if (tail === undefined) return undefined;
    const heads = await trx
      .selectFrom('streams')
      .select(['id', 'records', 'head'])
      .whereRef('sealed', '<', 'records')
      .orderBy('started_at')
      .limit(Math.min(limit, MOST))
      // Nobody is waited for, so no two can wait for each other.
      .$if(postgres, (query) => query.forUpdate().skipLocked())
      .execute();
    if (heads.length === 0) return 0;
    let last = tail;
    const entries = heads.map(({ id, records, head }) => {
      const entry: LogEntry = { number: last.number + 1, stream: id, seq: records, record: head, previous: last.hash };
      last = { ...entry, hash: logHash(entry) };
      return { ...entry, hash: last.hash };
    });
    await trx.insertInto('log').values(entries).execute();
    await trx.updateTable('tail').set({ number: last.number, hash: last.hash }).execute();
    await trx
      .updateTable('streams')
      .set({ sealed: sql.ref('records') })
      .where(
        'id',
        'in',
        heads.map(({ id }) => id),
      )
      .execute();
    return entries.length;
  });
}

/** Records that no entry of the log covers yet. */
export async function countUnsealed({ reads }: Database): Promise<number> {
  const { unsealed } = await reads
    .selectFrom('streams')
    .select(sql<number | null>`sum(records - sealed)`.as('unsealed'))
    .whereRef('sealed', '<', 'records')
    .executeTakeFirstOrThrow();
  return Number(unsealed ?? 0);
}
