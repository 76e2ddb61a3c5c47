import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import { StoreUnavailableError } from '../../audit/unavailable.ts';
import type { AuditPage } from '../../model/audit.ts';
import { eventually } from '../support/wait.ts';
import { DATABASES, type Place, places, remediation } from './support.ts';

const given = places();

/** A way to a server. What is connected when it begins to swallow hears nothing any more, nor does the server; what comes later gets through. */
async function swallowing(to: number): Promise<{ port: number; swallow(): void }> {
  const ways = new Set<[Socket, Socket]>();
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    near.pipe(far).pipe(near);
    for (const end of [near, far]) end.on('error', () => undefined);
    ways.add([near, far]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    for (const way of ways) for (const end of way) end.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    swallow: () => {
      for (const [near, far] of ways) {
        near.unpipe();
        far.unpipe();
        near.resume();
        far.resume();
      }
    },
  };
}

/** A process that appends; it tells what is durable. */
function appender({ options }: Place, pages: readonly AuditPage[]) {
  const child = fork(new URL('./programs/append.ts', import.meta.url), [], { execArgv: [] });
  child.send({ options, pages });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const acknowledged: string[] = [];
  let done = false;
  child.on('message', (message) => {
    if (message === 'done') done = true;
    else acknowledged.push((message as string[]).join(' '));
  });
  // What it told may come after its exit is known, and before the channel ends.
  const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]);
  return {
    child,
    acknowledged,
    ended,
    finished: async () => {
      await ended;
      expect(done).toBe(true);
    },
  };
}

const pagesOf = (count: number): AuditPage[] =>
  Array.from({ length: count }, (_, i) => {
    const { stream, notes } = remediation({ name: `web-${i}` });
    return { stream, notes };
  });

/** Every key once, in every stream, and all that was acknowledged among them. */
async function expectAll(place: Place, pages: readonly AuditPage[], acknowledged: readonly string[]): Promise<void> {
  const store = await place.open();
  for (const { stream } of pages) {
    const keys = (await store.records(stream.id)).map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    const told = acknowledged.filter((one) => one.startsWith(stream.id)).map((one) => one.split(' ')[1]);
    expect(keys).toEqual(expect.arrayContaining(told));
  }
  expect((await store.verify()).faults).toEqual([]);
}

describe.each(DATABASES)('an audit store on %s', (kind) => {
  test('takes the same pages from two processes at once, each note once', async () => {
    const place = await given.new(kind);
    const pages = pagesOf(20);
    const both = [appender(place, pages), appender(place, pages.toReversed())];
    await Promise.all(both.map(({ finished }) => finished()));
    await expectAll(
      place,
      pages,
      both.flatMap(({ acknowledged }) => acknowledged),
    );
    const store = await place.open();
    expect(await store.verify()).toMatchObject({ streams: 20, records: 160 });
  });

  test('is made once by two processes that open it at once', async () => {
    const place = await given.new(kind);
    const both = [appender(place, []), appender(place, [])];
    await Promise.all(both.map(({ finished }) => finished()));
    expect(await place.sql('select name from salvor_migration')).toHaveLength(1);
  });

  test('has all that was acknowledged when the process that wrote is killed', async () => {
    const place = await given.new(kind);
    const pages = pagesOf(40);
    const first = appender(place, pages);
    await eventually('some are durable', () => first.acknowledged.length > 30);
    first.child.kill('SIGKILL');
    await first.ended;
    await expectAll(place, pages, first.acknowledged);
    const second = appender(place, pages);
    await second.finished();
    await expectAll(place, pages, second.acknowledged);
    expect(second.acknowledged).toHaveLength(320);
  });
});

describe('a PostgreSQL that fails', () => {
  test('loses nothing that was acknowledged, and takes the rest when it is back', async () => {
    const { postgres } = given;
    const place = await given.new('postgres');
    const pages = pagesOf(60);
    const writer = appender(place, pages);
    for (const least of [40, 160]) {
      await eventually('some are durable', () => writer.acknowledged.length > least);
      await postgres.kill();
      await postgres.start();
    }
    await writer.finished();
    expect(writer.acknowledged).toHaveLength(480);
    await expectAll(place, pages, writer.acknowledged);
  });

  test('is told of with its place and what to do, and the store goes on by itself when it is back', async () => {
    const { postgres } = given;
    const place = await given.new('postgres');
    const store = await place.open();
    const page = remediation({ name: 'web-0' });
    await store.append({ ...page, notes: page.notes.slice(0, 4) });
    await postgres.shutDown();
    try {
      const refused = await store.append(page).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(StoreUnavailableError);
      expect((refused as Error).message).toMatch(
        /^the audit store postgres:\/\/127\.0\.0\.1:\d+\/test-\S+ cannot be reached/,
      );
      for (const call of [store.list({}), store.held(), store.seal(), store.ping(), store.verify()])
        await expect(call).rejects.toThrow(StoreUnavailableError);
      expect(store.state()).toMatchObject({ up: false, since: expect.any(String), error: (refused as Error).message });

      // A worker that starts now starts all the same; a command that only reads does not.
      const later = await place.open();
      expect(later.state().up).toBe(false);
      await expect(place.open({ mustExist: true })).rejects.toThrow(StoreUnavailableError);
      await postgres.start();
      await later.append(page);
      await store.append(page);
      expect(later.state()).toEqual({ up: true });
    } finally {
      if (postgres.pid === undefined) await postgres.start();
    }
    expect(store.state()).toEqual({ up: true });
    expect(await store.records(page.stream.id)).toHaveLength(8);
  });

  test('is back at once where connections were swallowed on the way and new ones get through', {
    timeout: 90_000,
  }, async () => {
    const place = await given.new('postgres');
    const { port } = new URL(place.options.url);
    const way = await swallowing(Number(port));
    const store = await openAuditStore({
      ...place.options,
      url: place.options.url.replace(`:${port}/`, `:${way.port}/`),
    });
    const page = remediation({ name: 'web-0' });
    await store.append({ ...page, notes: page.notes.slice(0, 4) });
    way.swallow();
    const waited = Array.from({ length: 6 }, (_, i) => remediation({ name: `web-${i + 1}` }));
    const began = performance.now();
    const refused = await Promise.allSettled([page, ...waited].map((one) => store.append(one)));
    expect(refused.every(({ status }) => status === 'rejected')).toBe(true);
    // Those that wait do not fail one after the other.
    expect(performance.now() - began).toBeLessThan(30_000);
    // What was swallowed never answers; the store does not use it again.
    await store.append(page);
    expect(store.state().up).toBe(true);
    way.swallow();
    const last = store.append(waited[0]!).catch((error: unknown) => error);
    const closing = performance.now();
    await store.close();
    expect(performance.now() - closing).toBeLessThan(30_000);
    expect(await last).toBeInstanceOf(StoreUnavailableError);
  });

  test('is noticed where it takes connections and never answers', { timeout: 60_000 }, async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      silent.close();
    });
    const { port } = silent.address() as AddressInfo;
    const store = await openAuditStore({ url: `postgres://salvor@127.0.0.1:${port}/audit` });
    expect(store.state()).toMatchObject({ up: false, error: expect.stringContaining('look whether it runs') });
    await store.close();
  });
});
