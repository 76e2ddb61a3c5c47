import { setImmediate as turn } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import { InputError, shown } from '../model/input-error.ts';
import { logHash } from './chain.ts';
import { explain, Faults } from './faults.ts';
import { GENESIS, type Tables } from './schema.ts';
import type { Verification } from './store.ts';
import { verifyStreams } from './verify-streams.ts';

const CHUNK = 1_000;

/**
 * Computes every hash anew, a thousand records at a time, and compares what the records come to with what the lists say.
 *
 * @param db a snapshot: what is written meanwhile is not seen
 */
export async function verify(db: Kysely<Tables>, anchor?: Anchor): Promise<Verification> {
  const faults = new Faults();
  const { streams, records } = await verifyStreams(db, faults);
  const head = await verifyLog(db, faults, anchor);
  const { covered } = await db
    .selectFrom(db.selectFrom('log').select(sql<number>`max(seq)`.as('seq')).groupBy('stream').as('heads'))
    .select(sql<number | null>`sum(seq)`.as('covered'))
    .executeTakeFirstOrThrow();
  return {
    streams,
    records,
    sealed: head?.number ?? 0,
    unsealed: Math.max(0, records - Number(covered ?? 0)),
    ...(head && { head }),
    faults: faults.all(),
  };
}

/** An entry of the log that is known from elsewhere. */
export interface Anchor {
  number: number;
  hash: string;
}

/** @throws InputError */
export function parseAnchor(text: string): Anchor {
  const [, number, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text.trim()) ?? [];
  if (number === undefined || hash === undefined)
    throw new InputError(`${shown(text)} is no anchor: expected <number>:<hash>, as \`salvor audit verify\` prints it`);
  return { number: Number(number), hash };
}

async function verifyLog(db: Kysely<Tables>, faults: Faults, anchor: Anchor | undefined): Promise<Anchor | undefined> {
  let last: Anchor = { number: 0, hash: GENESIS };
  let anchored = anchor === undefined || anchor.number === 0;
  for (;;) {
    const rows = await logAfter(db, last.number);
    for (const row of rows) {
      const { number, stream, seq, record, previous, hash, found } = row;
      const expected = { seq: last.number + 1, previous: last.hash };
      const isWhole = logHash(row) === hash;
      if (!faults.hasOfLog && (number !== expected.seq || previous !== expected.previous || !isWhole))
        faults.inLog(await explainEntry(db, row, expected));
      if (number === anchor?.number) {
        anchored = true;
        if (hash !== anchor.hash) faults.inLog(notAnchored(anchor, `it is ${hash}`));
      }
      last = { number, hash };
      // An entry that was itself tampered with says nothing of a stream.
      if (!isWhole) continue;
      if (found === null)
        faults.inStream(stream, {
          kind: 'truncated',
          seq,
          message: `record ${seq} is gone: entry ${number} of the log has sealed it`,
        });
      else if (found !== record)
        faults.inStream(stream, {
          kind: 'altered',
          seq,
          message: `record ${seq} is another one than entry ${number} of the log has sealed: the stream was written anew`,
        });
    }
    if (rows.length < CHUNK) break;
    await turn();
  }
  if (!anchored && anchor) faults.inLog(notAnchored(anchor, `the log ends with entry ${last.number}`));
  await verifyTail(db, faults, last);
  return last.number === 0 ? undefined : last;
}

/** Entries of the log, each with the hash of its record as it is found. */
const logAfter = (db: Kysely<Tables>, number: number) =>
  db
    .selectFrom('log')
    .leftJoin('records', (join) => join.onRef('records.stream', '=', 'log.stream').onRef('records.seq', '=', 'log.seq'))
    .select(['log.number', 'log.stream', 'log.seq', 'log.record', 'log.previous', 'log.hash', 'records.hash as found'])
    .where('log.number', '>', number)
    .orderBy('log.number')
    .limit(CHUNK)
    .execute();

const notAnchored = ({ number, hash }: Anchor, what: string) => ({
  kind: 'anchor' as const,
  seq: number,
  message: `entry ${number} of the log was ${hash} when the anchor was taken; ${what}`,
});

function explainEntry(db: Kysely<Tables>, row: Tables['log'], expected: { seq: number; previous: string }) {
  return explain('entry', {
    seq: row.number,
    hash: row.hash,
    expected,
    hashAs: (number) => logHash({ ...row, number }),
    successor: async () => {
      const other = await db
        .selectFrom('log')
        .select('number')
        .where('previous', '=', expected.previous)
        .where('number', '<>', row.number)
        .orderBy('number')
        .executeTakeFirst();
      return other?.number;
    },
    hashAt: async (number) => {
      const other = await db.selectFrom('log').select('hash').where('number', '=', number).executeTakeFirst();
      return other?.hash;
    },
    most: CHUNK,
  });
}

async function verifyTail(db: Kysely<Tables>, faults: Faults, last: Anchor): Promise<void> {
  const tail = await db.selectFrom('tail').select(['number', 'hash']).executeTakeFirst();
  if (tail === undefined || tail.number > last.number) {
    const lost = tail === undefined ? 'the row of its tail is gone' : `its tail was entry ${tail.number}`;
    faults.inLog({
      kind: 'truncated',
      seq: last.number + 1,
      message: `the log ends with entry ${last.number}; ${lost}`,
    });
  } else if (tail.number < last.number) {
    faults.inLog({
      kind: 'inserted',
      seq: tail.number + 1,
      message: `entry ${tail.number + 1} was inserted: the log's tail is entry ${tail.number}`,
    });
  } else if (tail.hash !== last.hash) {
    faults.inLog({
      kind: 'altered',
      seq: last.number,
      message: `entry ${last.number} is the last, and not the one that the log's tail names`,
    });
  }
  const beyond = await db
    .selectFrom('streams')
    .select(['id', 'sealed'])
    .where('sealed', '>', 0)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('log')
            .select('number')
            .whereRef('log.stream', '=', 'streams.id')
            .whereRef('log.seq', '=', 'streams.sealed'),
        ),
      ),
    )
    .orderBy('started_at')
    .executeTakeFirst();
  if (beyond)
    faults.inLog({
      kind: 'truncated',
      seq: last.number + 1,
      message: `no entry of the log covers record ${beyond.sealed} of ${beyond.id}, which was sealed`,
    });
}
