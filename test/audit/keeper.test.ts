import { pino } from 'pino';
import { Registry } from 'prom-client';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type KeeperOptions, startKeeper } from '../../audit/keeper.ts';
import { AuditMetrics } from '../../audit/metrics.ts';
import type { AuditStore } from '../../audit/store.ts';
import { door, eventually } from '../support/wait.ts';
import { all, DATABASES, places, remediation } from './support.ts';

const given = places();

function keeper(store: AuditStore, options: Partial<KeeperOptions> = {}) {
  const lines: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
  const metrics = new AuditMetrics(new Registry());
  const fetchHistory = async () => 'running' as const;
  const kept = startKeeper({ store, fetchHistory, isOver: async () => false, logger, metrics, every: 20, ...options });
  onTestFinished(() => kept.stop());
  return { ...kept, lines, metrics };
}

describe.each(DATABASES)('the keeper of a store on %s', (kind) => {
  test('seals what is written, and keeps the history of what has ended', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const pages = ['web-0', 'web-1', 'web-2'].map((name) => remediation({ name }));
    const [running, ended, gone] = pages;
    await store.append({ ...running!, notes: running!.notes.slice(0, 3) });
    await store.append(ended!);
    await store.append(gone!);
    const asked: string[] = [];
    // Two processes: each does its part, none does it twice.
    for (const own of [store, await place.open()])
      keeper(own, {
        fetchHistory: async (stream) => {
          asked.push(stream.id);
          return stream.id === gone!.stream.id ? 'gone' : { json: '{"events":[]}', events: 0 };
        },
      });
    await eventually('its history is kept', async () => (await store.withoutHistory(9)).length === 0);
    await eventually('all is sealed', async () => (await store.verify()).unsealed === 0);
    expect(asked).not.toContain(running!.stream.id);
    expect((await all(store.histories({}))).map(({ stream }) => stream)).toEqual([ended!.stream.id]);
    expect(await store.verify()).toMatchObject({ records: 3 + 9 + 8, faults: [] });
  });

  test('seals while Temporal does not answer', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    await store.append(remediation({ name: 'web-0' }));
    const never = door<'running'>();
    let asked = false;
    const fetchHistory = async () => {
      asked = true;
      return never.opened;
    };
    keeper(store, { fetchHistory });
    // Before the keeper is stopped: it waits for what is under way.
    onTestFinished(() => never.open('running'));
    await eventually('a history is asked for', () => asked);
    await store.append(remediation({ name: 'web-1' }));
    await eventually('all is sealed', async () => (await store.verify()).unsealed === 0);
  });

  test('notes the end of what ended without a word, and of nothing else', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const [lost, alive, young] = ['web-0', 'web-1', 'web-2'].map((name) => remediation({ name }));
    for (const page of [lost!, alive!]) await store.append({ ...page, notes: page.notes.slice(0, 4) });
    const now = new Date().toISOString();
    await store.append({ ...young!, notes: young!.notes.slice(0, 4).map((note) => ({ ...note, at: now })) });
    const over = async ({ id }: { id: string }) => id !== alive!.stream.id;
    const { lines } = keeper(store, { isOver: over });
    await eventually('it is noted', async () => (await store.list({ outcome: 'terminated' })).length === 1);
    expect(await store.streams({ outcome: 'running' })).toHaveLength(2);
    expect((await store.records(lost!.stream.id)).map(({ key }) => key)).toEqual(['1', '2', '3', '4', 'terminated']);
    // It says so after the store has it.
    await eventually('it is said', () => lines.join().includes('ended without a word'));
    // What it altered is still altered.
    expect(await store.held()).toHaveLength(3);
  });

  test('leaves alone what ended by itself while it asked', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const page = remediation({ name: 'web-0' });
    await store.append({ ...page, notes: page.notes.slice(0, 4) });
    let asked = false;
    const { stop } = keeper(store, {
      isOver: async () => {
        await store.append(page);
        asked = true;
        return true;
      },
    });
    await eventually('it asked', () => asked);
    await stop();
    expect((await store.records(page.stream.id)).map(({ key }) => key)).not.toContain('terminated');
  });

  test('goes on after an error, counts it, and says it once', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const [bad, good] = [remediation({ name: 'web-0' }), remediation({ name: 'web-1', since: 100 })];
    await store.append(bad);
    await store.append(good);
    let tries = 0;
    const broken: Partial<KeeperOptions> = {
      fetchHistory: async ({ id }) => {
        if (id === good.stream.id) return { json: '{"events":[]}', events: 0 };
        tries += 1;
        throw new Error('Temporal has hiccups');
      },
      isOver: async () => true,
    };
    const { lines, metrics } = keeper(store, broken);
    await eventually('the other history is kept', async () => (await store.withoutHistory(9)).length === 1);
    await eventually('it is sealed', async () => (await store.verify()).unsealed === 0);
    // At the end of the round, after the other history is in the store.
    await eventually('it is said', () => lines.join().includes('hiccups'));
    expect(tries).toBe(1);
    expect(lines.filter((line) => line.includes('hiccups'))).toHaveLength(1);
    const counted = (await metrics.errors.get()).values.find(({ labels }) => labels.operation === 'keeper');
    expect(counted?.value).toBe(1);
  });
});

test('the keeper outlives an outage of its PostgreSQL', async () => {
  const { postgres } = given;
  const place = await given.new('postgres');
  const store = await place.open();
  const { lines } = keeper(store);
  await postgres.shutDown();
  try {
    await eventually('it has noticed', () => !store.state().up && lines.length > 0);
  } finally {
    await postgres.start();
  }
  await store.append(remediation({ name: 'web-0' }));
  await eventually('it seals again', async () => (await store.verify()).sealed === 1);
  expect(lines.filter((line) => line.includes('sealing failed')).length).toBeLessThanOrEqual(3);
  // It says so after the store has it.
  await eventually('it is said', () => lines.some((line) => line.includes('sealing works again')));
});
