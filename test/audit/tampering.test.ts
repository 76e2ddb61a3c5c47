import { describe, expect, test } from 'vitest';
import { logHash, recordHash } from '../../audit/chain.ts';
import type { AuditStore, Fault } from '../../audit/store.ts';
import { InputError } from '../../model/input-error.ts';
import { DATABASES, decisions, type Place, places, remediation } from './support.ts';

const given = places();

interface Scene {
  store: AuditStore;
  sql: Place['sql'];
  /** The stream that is tampered with: 9 records, sealed at 8 and at 9. */
  id: string;
  /** One that holds something, sealed at 4. */
  holding: string;
  /** Of decisions. */
  asked: string;
}

/** Three remediations with all that belongs to them and a responder; five entries in the log. */
async function scene(kind: (typeof DATABASES)[number]): Promise<Scene> {
  const place = await given.new(kind);
  const store = await place.open();
  const [first, tampered, holding] = ['web-0', 'web-1', 'web-2'].map((name, i) => remediation({ name, since: i }));
  const asked = decisions('web-3', 3);
  await store.append(first!);
  await store.append(tampered!);
  await store.append({ ...holding!, notes: holding!.notes.slice(0, 4) });
  await store.append(asked);
  expect(await store.seal()).toBe(4);
  await store.keepHistory(tampered!.stream.id, { json: '{"events":[]}', events: 0 });
  expect(await store.seal()).toBe(1);
  expect((await store.verify()).faults).toEqual([]);
  return { store, sql: place.sql, id: tampered!.stream.id, holding: holding!.stream.id, asked: asked.stream.id };
}

/** What an attacker with the database does who knows how hashes are made: the chain of the stream from `seq` on. */
async function rechain({ sql, id }: Scene): Promise<void> {
  const rows = (await sql('select * from records where stream = ? order by seq', [id])) as never as {
    seq: number;
    key: string;
    at: string;
    entry: string;
    hash: string;
  }[];
  let previous = '0'.repeat(64);
  for (const { seq, key, at, entry } of rows) {
    const hash = recordHash({ stream: id, seq, key, at, entry, previous });
    await sql('update records set previous = ?, hash = ? where stream = ? and seq = ?', [previous, hash, id, seq]);
    previous = hash;
  }
  await sql('update streams set head = ?, records = ? where id = ?', [previous, rows.length, id]);
}

/** And the log after it. */
async function relog({ sql }: Scene): Promise<void> {
  const rows = (await sql('select * from log order by number')) as never as {
    number: number;
    stream: string;
    seq: number;
  }[];
  let previous = '0'.repeat(64);
  for (const { number, stream, seq } of rows) {
    const [row] = await sql('select hash from records where stream = ? and seq = ?', [stream, seq]);
    const record = String(row?.hash);
    const hash = logHash({ number, stream, seq, record, previous });
    await sql('update log set record = ?, previous = ?, hash = ? where number = ?', [record, previous, hash, number]);
    previous = hash;
  }
  await sql('update tail set number = ?, hash = ?', [rows.length, previous]);
}

const COLUMNS = 'stream, key, at, kind, entry, previous, hash';

/** Moves the records from `seq` on to make room, or to close a gap. */
async function renumber({ sql, id }: Scene, from: number, by: 1 | -1): Promise<void> {
  await sql('update records set seq = -(seq + ?) where stream = ? and seq >= ?', [by, id, from]);
  await sql('update records set seq = -seq where stream = ? and seq < 0', [id]);
}

const altered = (text: string) => text.replace('not Ready', 'Ready');

type Case = [name: string, tamper: (scene: Scene) => Promise<unknown>, faults: (scene: Scene) => Partial<Fault>[]];

const ofStream =
  (kind: Fault['kind'], seq?: number) =>
  ({ id }: Scene): Partial<Fault>[] => [{ kind, stream: id, ...(seq && { seq }) }];
const ofLog = (kind: Fault['kind'], seq: number) => (): Partial<Fault>[] => [{ kind, seq, stream: 'the log' }];

const CASES: Case[] = [
  [
    'a record is altered',
    ({ sql, id }) =>
      sql(`update records set entry = replace(entry, 'not Ready', 'Ready') where stream = ? and seq = 2`, [id]),
    ofStream('altered', 2),
  ],
  [
    'a record is altered and given a hash of its own',
    async ({ sql, id }) => {
      const [row] = await sql('select * from records where stream = ? and seq = 2', [id]);
      const link = { ...(row as never as Parameters<typeof recordHash>[0]), entry: altered(String(row?.entry)) };
      await sql('update records set entry = ?, hash = ? where stream = ? and seq = 2', [
        link.entry,
        recordHash(link),
        id,
      ]);
    },
    ofStream('altered', 2),
  ],
  [
    'the time of a record is altered',
    ({ sql, id }) => sql(`update records set at = '2020-01-01T00:00:00.000Z' where stream = ? and seq = 5`, [id]),
    ofStream('altered', 5),
  ],
  [
    'a decision is listed otherwise than it was',
    ({ sql, asked }) => sql(`update records set outcome = 'waiting' where stream = ? and seq = 2`, [asked]),
    ({ asked }) => [{ kind: 'altered', stream: asked, seq: 2 }],
  ],
  [
    'a remediation is listed as another runbook',
    ({ sql, id }) => sql(`update streams set runbook = 'revert-drift' where id = ?`, [id]),
    ofStream('altered'),
  ],
  [
    'a remediation is listed in another mode',
    ({ sql, id }) => sql(`update streams set mode = 'observe' where id = ?`, [id]),
    ofStream('altered'),
  ],
  [
    'a remediation is listed without its target',
    ({ sql, id }) => sql('update streams set target = null where id = ?', [id]),
    ofStream('altered'),
  ],
  [
    'a remediation is listed as if its target had held a secret',
    ({ sql, id }) => sql(`update streams set target = 'k8s/prod/shop/pod/[redacted]' where id = ?`, [id]),
    ofStream('altered'),
  ],
  [
    'a remediation is hidden among the responders',
    ({ sql, id }) =>
      sql(
        `update streams set kind = 'responder', outcome = null, ended_at = null, reason = null, person = null, alertname = null where id = ?`,
        [id],
      ),
    ofStream('altered'),
  ],
  [
    'a record is dropped',
    ({ sql, id }) => sql('delete from records where stream = ? and seq = 4', [id]),
    ofStream('missing', 4),
  ],
  [
    'the first record is dropped',
    ({ sql, id }) => sql('delete from records where stream = ? and seq = 1', [id]),
    ofStream('missing', 1),
  ],
  [
    'a record is dropped and the gap closed',
    async (scene) => {
      await scene.sql('delete from records where stream = ? and seq = 4', [scene.id]);
      await renumber(scene, 5, -1);
    },
    ofStream('missing', 4),
  ],
  [
    'the first record is dropped and the gap closed',
    async (scene) => {
      await scene.sql('delete from records where stream = ? and seq = 1', [scene.id]);
      await renumber(scene, 2, -1);
    },
    ofStream('missing', 1),
  ],
  [
    'a record is inserted',
    async (scene) => {
      await renumber(scene, 4, 1);
      await scene.sql(
        `insert into records (seq, ${COLUMNS}) select 4, stream, 'x', at, kind, entry, previous, hash from records where stream = ? and seq = 2`,
        [scene.id],
      );
    },
    ofStream('inserted', 4),
  ],
  [
    'a record is inserted with a hash that fits',
    async (scene) => {
      const { sql, id } = scene;
      await renumber(scene, 4, 1);
      const [before] = await sql('select hash from records where stream = ? and seq = 3', [id]);
      const link = { stream: id, seq: 4, key: 'x', at: 'y', entry: '{"kind":"lost"}', previous: String(before?.hash) };
      await sql(`insert into records (seq, ${COLUMNS}) values (4, ?, 'x', 'y', 'lost', ?, ?, ?)`, [
        id,
        link.entry,
        link.previous,
        recordHash(link),
      ]);
    },
    ofStream('inserted', 4),
  ],
  [
    'a record is added at the end',
    async ({ sql, id }) => {
      const [last] = await sql('select hash from records where stream = ? and seq = 9', [id]);
      const link = { stream: id, seq: 10, key: 'x', at: 'y', entry: '{"kind":"lost"}', previous: String(last?.hash) };
      await sql(`insert into records (seq, ${COLUMNS}) values (10, ?, 'x', 'y', 'lost', ?, ?, ?)`, [
        id,
        link.entry,
        link.previous,
        recordHash(link),
      ]);
    },
    ofStream('inserted', 10),
  ],
  [
    'two records are swapped',
    async ({ sql, id }) => {
      await sql('update records set seq = -4 where stream = ? and seq = 4', [id]);
      await sql('update records set seq = 4 where stream = ? and seq = 6', [id]);
      await sql('update records set seq = 6 where stream = ? and seq = -4', [id]);
    },
    ofStream('reordered', 4),
  ],
  [
    'the last records are cut off',
    ({ sql, id }) => sql('delete from records where stream = ? and seq > 6', [id]),
    ({ id }) => [{ kind: 'truncated', stream: id, seq: 7 }],
  ],
  [
    'the last records are cut off and the lists made to fit',
    async (scene) => {
      const { sql, id } = scene;
      await sql('delete from records where stream = ? and seq > 6', [id]);
      await sql('delete from histories where stream = ?', [id]);
      const [last] = await sql('select hash from records where stream = ? and seq = 6', [id]);
      await sql(
        `update streams set records = 6, head = ?, sealed = 0, ended_at = null, outcome = 'running', reason = null, history = 0 where id = ?`,
        [String(last?.hash), id],
      );
      const [held] = await sql('select * from records where stream = ? and seq = 3', [id]);
      const change = (JSON.parse(String(held?.entry)) as { held: { object: { uid: string }; field: string } }).held;
      const text = String(held?.entry).replace(/^\{"held":(.*),"kind":"held"\}$/, '$1');
      await sql('insert into held (stream, seq, uid, field, since, held) values (?, 3, ?, ?, ?, ?)', [
        id,
        change.object.uid,
        change.field,
        String(held?.at),
        text,
      ]);
    },
    // Only the log knows that there was more.
    ({ id }) => [{ kind: 'truncated', stream: id, seq: 8 }],
  ],
  [
    'a whole stream is gone without a trace',
    async ({ sql, id }) => {
      for (const table of ['records', 'held', 'histories']) await sql(`delete from ${table} where stream = ?`, [id]);
      await sql('delete from streams where id = ?', [id]);
    },
    ofStream('truncated', 8),
  ],
  [
    'the records of a stream are gone, and the lists still have it',
    ({ sql, id }) => sql('delete from records where stream = ?', [id]),
    ofStream('truncated', 1),
  ],
  [
    'the lists do not have a stream',
    ({ sql, id }) => sql('delete from streams where id = ?', [id]),
    ofStream('missing'),
  ],
  [
    'the lists tell of another outcome',
    ({ sql, id }) => sql(`update streams set outcome = 'failed' where id = ?`, [id]),
    ofStream('altered'),
  ],
  [
    'the lists tell of another target',
    ({ sql, id }) => sql(`update streams set target = 'k8s/prod/shop/pod/other' where id = ?`, [id]),
    ofStream('altered'),
  ],
  [
    'the lists tell of another workflow',
    ({ sql, id }) => sql(`update streams set workflow_id = 'remediation/other' where id = ?`, [id]),
    ofStream('altered'),
  ],
  [
    'what is held is not listed any more',
    ({ sql, holding }) => sql('delete from held where stream = ?', [holding]),
    ({ holding }) => [{ kind: 'altered', stream: holding }],
  ],
  [
    'what is held is listed otherwise',
    ({ sql, holding }) => sql(`update held set held = replace(held, '"on"', '"off"') where stream = ?`, [holding]),
    ({ holding }) => [{ kind: 'altered', stream: holding }],
  ],
  [
    'something is listed as held that is not',
    ({ sql, id }) =>
      sql(`insert into held (stream, seq, uid, field, since, held) values (?, 3, 'u', 'f', 's', '{}')`, [id]),
    ofStream('altered'),
  ],
  [
    'a history is altered',
    ({ sql, id }) => sql('update histories set bytes = ? where stream = ?', [new Uint8Array([1, 2, 3]), id]),
    ofStream('history', 9),
  ],
  ['a history is gone', ({ sql, id }) => sql('delete from histories where stream = ?', [id]), ofStream('history', 9)],
  [
    'a history is there that nothing tells of',
    ({ sql, holding }) => sql('insert into histories (stream, bytes) values (?, ?)', [holding, new Uint8Array([1])]),
    ({ holding }) => [{ kind: 'history', stream: holding }],
  ],
  [
    'a whole stream is written anew',
    async (scene) => {
      const { sql, id } = scene;
      await sql(`update records set entry = replace(entry, 'not Ready', 'Ready') where stream = ? and seq = 2`, [id]);
      await rechain(scene);
    },
    // Whole in itself; the log has sealed another one.
    ofStream('altered', 8),
  ],
  ['an entry of the log is altered', ({ sql }) => sql('update log set seq = 3 where number = 3'), ofLog('altered', 3)],
  ['an entry of the log is dropped', ({ sql }) => sql('delete from log where number = 2'), ofLog('missing', 2)],
  [
    'an entry of the log is dropped and the gap closed',
    async ({ sql }) => {
      await sql('delete from log where number = 2');
      for (const number of [3, 4, 5]) await sql('update log set number = ? where number = ?', [number - 1, number]);
    },
    ofLog('missing', 2),
  ],
  [
    'two entries of the log are swapped',
    async ({ sql }) => {
      for (const [from, to] of [
        [2, -2],
        [3, 2],
        [-2, 3],
      ])
        await sql('update log set number = ? where number = ?', [to!, from!]);
    },
    ofLog('reordered', 2),
  ],
  [
    'an entry of the log is inserted',
    async ({ sql }) => {
      for (const number of [5, 4, 3]) await sql('update log set number = ? where number = ?', [number + 1, number]);
      await sql(
        'insert into log (number, stream, seq, record, previous, hash) select 3, stream, seq, record, previous, hash from log where number = 1',
      );
    },
    ofLog('inserted', 3),
  ],
  ['the log is cut off', ({ sql }) => sql('delete from log where number > 3'), ofLog('truncated', 4)],
  [
    'the log is cut off and its tail made to fit',
    async ({ sql }) => {
      await sql('delete from log where number > 3');
      await sql('update tail set number = 3, hash = (select hash from log where number = 3)');
    },
    // The streams know that they were sealed.
    ofLog('truncated', 4),
  ],
  [
    'the tail of the log is altered',
    ({ sql }) => sql('update tail set hash = ?', ['a'.repeat(64)]),
    ofLog('altered', 5),
  ],
];

describe.each(DATABASES)('verify on %s', (kind) => {
  test.for(CASES)('finds that %s', async ([, tamper, faults]) => {
    const here = await scene(kind);
    await tamper(here);
    const { faults: found } = await here.store.verify();
    expect(found.map(({ stream = 'the log', ...fault }) => ({ ...fault, stream }))).toMatchObject(faults(here));
    for (const { message } of found) expect(message).toMatch(/\w{3}/);
  });

  test('needs an anchor where everything was written anew, and finds it with one', async () => {
    const here = await scene(kind);
    const { head } = await here.store.verify();
    const anchor = `${head!.number}:${head!.hash}`;
    await here.sql(`update records set entry = replace(entry, 'not Ready', 'Ready') where stream = ? and seq = 2`, [
      here.id,
    ]);
    await rechain(here);
    await relog(here);
    expect((await here.store.verify()).faults).toEqual([]);
    expect((await here.store.verify(anchor)).faults).toMatchObject([{ kind: 'anchor', seq: 5 }]);
  });

  test('finds by an anchor that the log was longer', async () => {
    const here = await scene(kind);
    const { head } = await here.store.verify();
    await here.sql('delete from log where number > 4');
    await here.sql('update tail set number = 4, hash = (select hash from log where number = 4)');
    await here.sql('update streams set sealed = 8 where id = ?', [here.id]);
    expect((await here.store.verify()).faults).toEqual([]);
    expect((await here.store.verify(`${head!.number}:${head!.hash}`)).faults).toMatchObject([
      { kind: 'anchor', seq: 5, message: expect.stringContaining('the log ends with entry 4') },
    ]);
  });

  test('accepts the anchor of an earlier verification', async () => {
    const here = await scene(kind);
    const { head } = await here.store.verify();
    await here.store.append(remediation({ name: 'later' }));
    await here.store.seal();
    expect((await here.store.verify(`${head!.number}:${head!.hash}`)).faults).toEqual([]);
    await expect(here.store.verify('7')).rejects.toThrow(InputError);
  });

  test('names the first fault of each stream, and goes on', async () => {
    const here = await scene(kind);
    await here.sql(`update records set at = 'x' where stream = ? and seq in (3, 7)`, [here.id]);
    await here.sql(`delete from records where stream = ? and seq = 1`, [here.asked]);
    const verified = await here.store.verify();
    expect(verified.faults).toHaveLength(2);
    expect(verified.faults).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ kind: 'altered', stream: here.id, seq: 3 }),
        expect.objectContaining({ kind: 'missing', stream: here.asked, seq: 1 }),
      ]),
    );
    expect(verified).toMatchObject({ streams: 4, records: 8 + 9 + 4 + 1, sealed: 5 });
  });

  test('reads one moment while others write and seal', async () => {
    const here = await scene(kind);
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing; i++) {
        await here.store.append(remediation({ name: `more-${i}` }));
        await here.store.seal();
      }
    })();
    for (let i = 0; i < 5; i++) expect((await here.store.verify()).faults).toEqual([]);
    writing = false;
    await writer;
  });
});
