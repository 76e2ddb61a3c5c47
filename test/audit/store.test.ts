import { createHash, randomUUID } from 'node:crypto';
import { copyFile, rename, stat } from 'node:fs/promises';
import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { AuditMetrics } from '../../audit/metrics.ts';
import { openAuditStore } from '../../audit/open.ts';
import type { AuditRecord } from '../../audit/store.ts';
import { StoreUnavailableError } from '../../audit/unavailable.ts';
import { canonicalJson } from '../../model/digest.ts';
import { all, at, DATABASES, decisions, places, remediation } from './support.ts';

const given = places();
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** Every link of one stream by the documented rule alone, without the store's own code. */
function expectChain(records: readonly AuditRecord[]): void {
  let previous = '0'.repeat(64);
  for (const [index, { hash, ...record }] of records.entries()) {
    expect(record.seq).toBe(index + 1);
    expect(record.previous).toBe(previous);
    expect(hash).toBe(sha256(canonicalJson(record)));
    previous = hash;
  }
}

describe.each(DATABASES)('an audit store on %s', (kind) => {
  test('has what was noted, numbered and chained', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const page = remediation({ name: 'web-0' });
    await store.append({ ...page, notes: page.notes.slice(0, 3) });
    await store.append({ ...page, notes: page.notes.slice(3) });
    const records = await store.records(page.stream.id);
    expect(records.map(({ key, at, entry }) => ({ key, at, entry }))).toEqual(page.notes);
    expectChain(records);
    expect(await store.records(randomUUID())).toEqual([]);
  });

  test('adds nothing for a page, or a part of it, that comes again', async () => {
    const place = await given.new(kind);
    const [store, other] = [await place.open(), await place.open()];
    const page = remediation({ name: 'web-0' });
    await Promise.all([store.append(page), store.append(page), other.append(page)]);
    await store.append({ ...page, notes: page.notes.slice(2, 5) });
    const again = { ...page, notes: page.notes.map((note) => ({ ...note, at: at(9_999) })) };
    await other.append(again);
    await store.append({ ...page, notes: [] });
    expect((await store.records(page.stream.id)).map(({ at }) => at)).toEqual(page.notes.map(({ at }) => at));
    expect((await store.verify()).faults).toEqual([]);
  });

  test('has no gap and nothing twice when many write at once, each page twice', async () => {
    const place = await given.new(kind);
    const stores = [await place.open(), await place.open(), await place.open()];
    const pages = Array.from({ length: 12 }, (_, i) => remediation({ name: `web-${i}` }));
    const appends = pages.flatMap((page) =>
      page.notes.flatMap((note) =>
        [0, 1].map((turn) => {
          const store = stores[(Number(note.key) + turn) % stores.length]!;
          // Several streams in one transaction, in another order each time: nobody waits for ever.
          return store.append({ stream: page.stream, notes: [note] });
        }),
      ),
    );
    await Promise.all([...appends, stores[0]!.seal(), stores[1]!.seal(), stores[2]!.seal()]);
    for (const { stream, notes } of pages) {
      const records = await stores[0]!.records(stream.id);
      expectChain(records);
      expect(records.map(({ key }) => key).sort()).toEqual(notes.map(({ key }) => key).sort());
    }
    await stores[1]!.seal();
    expect(await stores[2]!.verify()).toMatchObject({ streams: 12, records: 96, unsealed: 0, faults: [] });
  });

  test('seals every head once, whoever does it', async () => {
    const place = await given.new(kind);
    const stores = [await place.open(), await place.open()];
    const pages = Array.from({ length: 30 }, (_, i) => remediation({ name: `web-${i}` }));
    await Promise.all(pages.map((page) => stores[0]!.append(page)));
    expect(await stores[0]!.verify()).toMatchObject({ sealed: 0, unsealed: 240, faults: [] });
    const first = await Promise.all(stores.map((store) => store.seal(20)));
    await Promise.all(stores.map((store) => store.seal()));
    await stores[0]!.seal();
    expect(first.filter((count) => count !== undefined).every((count) => count <= 20)).toBe(true);
    const verified = await stores[1]!.verify();
    expect(verified).toMatchObject({ sealed: 30, unsealed: 0, faults: [] });
    expect(verified.head).toEqual({ number: 30, hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await stores[0]!.seal()).toBe(0);
    expect((await stores[0]!.streams({})).every(({ sealed }) => sealed)).toBe(true);
  });

  test('tells what is held now, until it is released', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const [one, other] = [remediation({ name: 'web-0' }), remediation({ name: 'web-1', since: 100 })];
    for (const page of [other, one]) await store.append({ ...page, notes: page.notes.slice(0, 4) });
    expect(await store.held()).toEqual(
      [one, other].map(({ held, stream, notes }) => ({
        held,
        stream: stream.id,
        workflowId: stream.workflowId,
        rule: stream.rule,
        target: stream.target,
        since: notes[2]!.at,
      })),
    );
    // That it ended releases nothing: what it altered may still be so.
    await store.append({ ...one, notes: [one.notes[7]!] });
    expect(await store.held()).toHaveLength(2);
    const { object, field } = one.held;
    const entry = { kind: 'released' as const, object, field, by: 'person:ada' };
    await store.append({ ...one, notes: [{ key: `release:${randomUUID()}`, at: at(500), entry }] });
    await store.append(other);
    expect(await store.held()).toEqual([]);
    expect((await store.verify()).faults).toEqual([]);
  });

  test('lists by every filter, the latest first', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const web = remediation({ name: 'web-0', since: 10, reason: 'was 50%_Ready again', labels: { a: 'b' } });
    const api = remediation({ name: 'api-0', since: 20, rule: 'api-sick', by: 'person:ada', outcome: 'failed' });
    const other = remediation({ name: 'web-0', since: 30, namespace: 'shop2' });
    const asked = decisions('web-9', 40);
    for (const page of [other, web, api, asked]) await store.append(page);
    const running = remediation({ name: 'web-1', since: 50 });
    await store.append({ ...running, notes: running.notes.slice(0, 2) });

    const pod = (name: string, namespace = 'shop') => `k8s/prod/${namespace}/pod/${name}`;
    const lines = (await store.list({})).map(({ at, kind, target, outcome }) => [at, kind, target, outcome]);
    expect(lines).toEqual([
      [at(50), 'begun', pod('web-1'), 'running'],
      [at(41), 'decision', pod('web-9'), 'refused'],
      [at(40), 'decision', pod('web-9'), 'waiting'],
      [at(30), 'ended', pod('web-0', 'shop2'), 'recovered'],
      [at(20), 'ended', pod('api-0'), 'failed'],
      [at(10), 'ended', pod('web-0'), 'recovered'],
    ]);
    const times = async (filter: Parameters<typeof store.list>[0]) => (await store.list(filter)).map(({ at }) => at);
    expect(await times({ from: at(20), to: at(41) })).toEqual([at(40), at(30), at(20)]);
    expect(await times({ from: '2026-11-01T13:00:20+01:00', to: at(21) })).toEqual([at(20)]);
    expect(await times({ rule: 'api-sick' })).toEqual([at(20)]);
    expect(await times({ runbook: 'drain-instance', limit: 2 })).toEqual([at(50), at(30)]);
    expect(await times({ target: pod('web-9') })).toEqual([at(41), at(40)]);
    expect(await times({ target: 'k8s/prod/shop2' })).toEqual([at(30)]);
    expect(await times({ target: 'k8s/prod/sho' })).toEqual([]);
    expect(await times({ outcome: 'waiting' })).toEqual([at(40)]);
    expect(await times({ outcome: 'failed', by: 'ada' })).toEqual([at(20)]);
    expect(await times({ by: 'alertmanager', limit: 1 })).toEqual([at(50)]);
    expect(await times({ reason: '50%_ready' })).toEqual([at(10)]);
    expect(await times({ reason: '%' })).toEqual([at(10)]);
    expect(await times({ reason: 'retry-budget' })).toEqual([at(41)]);
    expect(await times({ reason: 'failed' })).toEqual([at(41)]);
    expect((await store.streams({ target: 'k8s/prod/shop' })).map(({ target }) => target)).toEqual(
      [running, api, web].map(({ stream }) => stream.target),
    );
    expect((await store.findStreams(api.stream.id.slice(0, 8))).map(({ id }) => id)).toEqual([api.stream.id]);
    expect(await store.findStreams(api.stream.id.slice(0, 7))).toEqual([]);
  });

  test('exports the records that a filter lets through, in the order of writing', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const pages = Array.from({ length: 130 }, (_, i) => remediation({ name: `web-${i}`, since: i }));
    await Promise.all(pages.map((page) => store.append(page)));
    const asked = decisions('web-9');
    await store.append(asked);
    const everything = await all(store.export({}));
    expect(everything).toHaveLength(130 * 8 + 2);
    expect(new Set(everything.map(({ stream, seq }) => `${stream} ${seq}`)).size).toBe(everything.length);
    expect(everything.at(-1)).toMatchObject({ stream: asked.stream.id, seq: 2, key: '2' });
    const some = await all(store.export({ target: 'k8s/prod/shop/pod/web-9' }));
    expect(some.map(({ entry }) => entry.kind).sort()).toEqual(
      [...pages[9]!.notes, ...asked.notes].map(({ entry }) => entry.kind).sort(),
    );
    expectChain(some.filter(({ stream }) => stream === pages[9]!.stream.id));
    expect(await all(store.export({ limit: 5 }))).toHaveLength(5);
  });

  test('keeps a history once, and gives it back', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const pages = [
      remediation({ name: 'web-0', since: 9 }),
      remediation({ name: 'web-1' }),
      remediation({ name: 'web-2' }),
    ];
    for (const page of pages) await store.append(page);
    const [one, other, third] = pages.map(({ stream }) => stream);
    expect((await store.withoutHistory(2)).map(({ id }) => id)).not.toContain(one!.id);
    const json = JSON.stringify({ events: [{ eventId: '1' }] });
    await Promise.all([1, 2].map(() => store.keepHistory(one!.id, { json, events: 1 })));
    await store.historyGone(other!.id);
    expect(await store.withoutHistory(9)).toEqual([third]);
    expect(await all(store.histories({ stream: one!.id }))).toEqual([
      { stream: one!.id, workflowId: one!.workflowId, json },
    ]);
    expect(await all(store.histories({ rule: 'pod-unready' }))).toHaveLength(1);
    expect((await store.records(one!.id)).filter(({ entry }) => entry.kind === 'history')).toHaveLength(1);
    expect((await store.streams({})).map(({ hasHistory }) => hasHistory)).toEqual([true, false, false]);
    await expect(store.keepHistory(randomUUID(), { json, events: 1 })).rejects.toThrow('has no stream');
    expect((await store.verify()).faults).toEqual([]);
  });

  test('takes any text, and one page that it cannot take does not keep the others off', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const page = remediation({
      name: 'web-0',
      reason: `a\0b \ud800 ${'\u{1f980}'.repeat(3)}`,
      labels: { 'ö\0': '\udfff' },
    });
    const bad = remediation({ name: 'web-1' });
    // No database has a number like this.
    const broken = { ...bad, stream: { ...bad.stream, kind: null as never } };
    const [good, refused] = await Promise.allSettled([store.append(page), store.append(broken)]);
    expect(good).toMatchObject({ status: 'fulfilled' });
    expect(refused).toMatchObject({ status: 'rejected' });
    expect(await store.records(page.stream.id)).toHaveLength(8);
    expect((await store.verify()).faults).toEqual([]);
  });

  test('a run that was taken for terminated may still have a word of its own', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const page = remediation({ name: 'web-0' });
    const lost = { kind: 'ended' as const, outcome: 'terminated' as const, reason: 'without a word', lines: [] };
    await store.append({ ...page, notes: page.notes.slice(0, 4) });
    await store.append({ ...page, notes: [{ key: 'terminated', at: at(700), entry: lost }] });
    expect(await store.list({ outcome: 'terminated' })).toHaveLength(1);
    await store.append(page);
    expect(await store.streams({})).toMatchObject([{ outcome: 'recovered', endedAt: at(7) }]);
    expect((await store.verify()).faults).toEqual([]);
  });

  test('is made once by all that open it at the same moment', async () => {
    const place = await given.new(kind);
    const stores = await Promise.all(Array.from({ length: 5 }, () => place.open()));
    const pages = stores.map((_, i) => remediation({ name: `web-${i}` }));
    await Promise.all(stores.map((store, i) => store.append(pages[i]!)));
    expect(await stores[0]!.verify()).toMatchObject({ streams: 5, records: 40, faults: [] });
    expect(await place.sql('select name from salvor_migration')).toHaveLength(1);
  });

  test('that must exist is not made', async () => {
    const place = await given.new(kind);
    const refused = await place.open({ mustExist: true }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StoreUnavailableError);
    expect((refused as Error).message).toMatch(/does not exist|holds nothing yet/);
    await place.open();
    const reader = await place.open({ mustExist: true });
    expect(await reader.list({})).toEqual([]);
  });

  test('of a newer version is left alone', async () => {
    const place = await given.new(kind);
    await place.open();
    await place.sql(`insert into salvor_migration (name, timestamp) values ('9999-later', '2030-01-01T00:00:00.000Z')`);
    await expect(place.open()).rejects.toThrow(/newer Salvor/);
  });

  test('counts what it does', async () => {
    const place = await given.new(kind);
    const registry = new Registry();
    const store = await openAuditStore(place.options, new AuditMetrics(registry));
    const value = async (name: string) => (await registry.getSingleMetric(name)?.get())?.values[0]?.value;
    await store.append(remediation({ name: 'web-0' }));
    expect(await value('salvor_audit_records_total')).toBe(8);
    expect(await value('salvor_audit_up')).toBe(1);
    await store.seal();
    expect(await value('salvor_audit_unsealed')).toBe(0);
    expect(store.state()).toEqual({ up: true });
    await store.close();
  });
});

test("a file is its owner's alone, and its folder is made", async () => {
  const place = await given.new('sqlite');
  const store = await place.open();
  await store.append(remediation({ name: 'web-0' }));
  const path = place.options.url.slice('file:'.length);
  for (const file of [path, `${path}-wal`]) expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(store.location).toBe(`file:${path}`);
});

test('a file that is removed or replaced while it is open takes nothing more', async () => {
  const place = await given.new('sqlite');
  const store = await place.open();
  const path = place.options.url.slice('file:'.length);
  await rename(path, `${path}.away`);
  const [page, later] = [remediation({ name: 'web-0' }), remediation({ name: 'web-1' })];
  await expect(store.append(page)).rejects.toThrow(StoreUnavailableError);
  expect(store.state().up).toBe(false);
  // What is open can still be read; it takes nothing all the same.
  await store.ping();
  expect(store.state()).toMatchObject({ up: false, since: expect.any(String), error: expect.any(String) });
  await rename(`${path}.away`, path);
  await store.append(page);
  expect(store.state()).toEqual({ up: true });
  await copyFile(path, `${path}.copy`);
  await rename(`${path}.copy`, path);
  await expect(store.append(later)).rejects.toThrow(/was replaced while it was open; start Salvor again/);
});

test('a file that is no audit store is refused, with advice', async () => {
  const refused = await openAuditStore({ url: `file:${import.meta.filename}`, mustExist: true }).catch(
    (e: unknown) => e,
  );
  expect(refused).toBeInstanceOf(StoreUnavailableError);
  expect((refused as Error).message).toContain('names something else than an audit store');
});

test('credentials are in no message', async () => {
  const place = await given.new('postgres');
  const options = { ...place.options, password: 'wrong-password', mustExist: true };
  const refused = await openAuditStore(options).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(StoreUnavailableError);
  const { message, location } = refused as StoreUnavailableError;
  expect(message).toContain('audit.passwordFile');
  expect(message + location).not.toContain('wrong-password');
  expect(location).toMatch(/^postgres:\/\/127\.0\.0\.1:\d+\/test-/);
});
