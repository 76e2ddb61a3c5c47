import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { EnvoySwitch } from '../../../model/breaker/options.ts';
import { switchOf } from '../../../providers/switches-of.ts';
import { ENVOY_CLUSTER, type Envoy, startEnvoy } from '../../../sandbox/envoy.ts';
import { freePort } from '../../../sandbox/ports.ts';
import { eventually } from '../../support/wait.ts';
import { actor, attempt, dependency, heldOf, inMs, pulse, setRequest } from '../switch-support.ts';

const key = (limit: string): string => `circuit_breakers.${ENVOY_CLUSTER}.default.${limit}`;
const LIMITS = ['max_requests', 'max_pending_requests', 'max_connections'].map(key);
const SHARE_KEY = 'routes.app.share';

let folder: string;
const envoys: Envoy[] = [];
/** What the dependency was asked. */
let reached = 0;
const upstream: Server = createServer((_, response) => {
  reached += 1;
  response.end('ok');
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-envoy-switch-'));
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  for (const name of ['a', 'b']) envoys.push(await start(name));
});
afterEach(async () => {
  for (const envoy of envoys)
    await modify(envoy, Object.fromEntries(Object.keys(await overrides(envoy)).map((k) => [k, ''])));
});
afterAll(async () => {
  for (const envoy of envoys) await envoy.stop();
  upstream.close();
  upstream.closeAllConnections();
  await rm(folder, { recursive: true, force: true });
});

async function start(name: string, options: { adminPort?: number } = {}): Promise<Envoy> {
  const envoy = await startEnvoy({ folder: join(folder, name), shareKey: SHARE_KEY, ...options });
  await send(envoy, `127.0.0.1:${(upstream.address() as AddressInfo).port}`);
  return envoy;
}

async function send(envoy: Envoy, endpoint: string): Promise<void> {
  await envoy.setEndpoints([endpoint]);
  await eventually('the endpoint is in force', async () => (await envoy.endpoints()).join() === endpoint);
}

/** As an operator does it by hand. */
async function modify({ adminUrl }: Pick<Envoy, 'adminUrl'>, values: Record<string, string>): Promise<void> {
  if (Object.keys(values).length === 0) return;
  const response = await fetch(`${adminUrl}/runtime_modify?${new URLSearchParams(values)}`, { method: 'POST' });
  expect(await response.text()).toBe('OK\n');
}

/** All that is set in the runtime by the admin endpoint. */
async function overrides({ adminUrl }: Pick<Envoy, 'adminUrl'>): Promise<Record<string, string>> {
  const { entries } = (await (await fetch(`${adminUrl}/runtime`)).json()) as {
    entries: Record<string, { final_value: string }>;
  };
  return Object.fromEntries(Object.entries(entries).map(([name, { final_value }]) => [name, final_value]));
}

async function ask(envoy: Envoy): Promise<{ status: number; overloaded: string | null }> {
  const response = await fetch(envoy.url);
  await response.arrayBuffer();
  return { status: response.status, overloaded: response.headers.get('x-envoy-overloaded') };
}

const PASSED = { status: 200, overloaded: null };
const REFUSED = { status: 503, overloaded: 'true' };

const options = (change: Partial<EnvoySwitch> = {}): EnvoySwitch => ({
  ...{ admin: envoys.map(({ adminUrl }) => adminUrl), envoyCluster: ENVOY_CLUSTER, quorum: 'all' },
  ...change,
});
const make = (change: Partial<EnvoySwitch> = {}) => {
  const it = dependency({ envoy: options(change) });
  return { it, own: switchOf(it, { clusters: new Map() }) };
};

/** Opened, as the workflow does it. */
async function opened(change: Partial<EnvoySwitch> = {}, who = actor()) {
  const { it, own } = make(change);
  const held = heldOf(await own.read(), who);
  const changes = await own.set(setRequest(it, 'open', held, who), attempt());
  return { it, own, held, changes };
}

/** An address on which nothing listens. */
const deadAdmin = async (): Promise<string> => `http://127.0.0.1:${await freePort()}`;

describe('a switch by Envoy', () => {
  it('opens all of them at once, refuses callers by 503, and puts back exactly what was there', async () => {
    const [a, b] = envoys as [Envoy, Envoy];
    await modify(a, { [key('max_requests')]: '77', own: 'kept' });
    const { it, own, held, changes } = await opened();
    expect(held).toMatchObject([
      { object: { key: 'dependency/payments', uid: 'envoy:app' }, field: `runtime[${key('max_requests')}]`, set: '0' },
      expect.objectContaining({ set: '0' }),
      ...LIMITS.slice(1).map((limit) => ({ field: `runtime[${limit}]`, before: null, set: '0' })),
    ]);
    expect(held.map(({ before }) => before).sort()).toEqual(['77', null, null, null]);
    expect(changes).toHaveLength(2);
    expect(changes[0]?.what).toContain(`${key('max_requests')}: 77 → 0`);
    reached = 0;
    for (const envoy of [a, b]) expect(await ask(envoy)).toEqual(REFUSED);
    expect(reached).toBe(0);
    expect(await own.read()).toMatchObject({ position: 'open', why: '2 of 2 Envoys are open' });

    expect(await own.set(setRequest(it, 'open', held), attempt()), 'again it changes nothing more').toEqual([]);
    const closed = await own.set(setRequest(it, 'closed', held), attempt());
    expect(closed.map(({ what }) => what).join()).toContain(`${key('max_requests')}: 0 → 77`);
    expect(await overrides(a)).toEqual({ [key('max_requests')]: '77', own: 'kept' });
    expect(await overrides(b)).toEqual({});
    for (const envoy of [a, b]) expect(await ask(envoy)).toEqual(PASSED);
    expect(await own.set(setRequest(it, 'closed', held), attempt())).toEqual([]);
    expect(await own.read()).toMatchObject({ position: 'closed' });
  });

  it('callers do not wait for a dependency that takes no connection, with no connection to it either', async () => {
    const [a] = envoys as [Envoy, Envoy];
    // It takes connections and never answers.
    const dead = createTcpServer(() => undefined);
    await new Promise<void>((resolve) => dead.listen(0, '127.0.0.1', resolve));
    let connections = 0;
    dead.on('connection', (socket) => {
      connections += 1;
      onTestFinished(() => void socket.destroy());
    });
    onTestFinished(async () => {
      dead.close();
      await send(a, `127.0.0.1:${(upstream.address() as AddressInfo).port}`);
    });
    const { it, own, held } = await opened();
    await send(a, `127.0.0.1:${(dead.address() as AddressInfo).port}`);
    for (let i = 0; i < 5; i++) expect(await ask(a)).toEqual(REFUSED);
    expect(connections).toBe(0);
    await own.set(setRequest(it, 'closed', held), attempt());
  });

  it('lets a share through by its key, and takes that back too', async () => {
    const { it, own, held } = await opened({ shareKey: SHARE_KEY });
    const [a] = envoys as [Envoy, Envoy];
    await own.set(setRequest(it, { share: 30 }, held), attempt());
    expect(await own.read()).toMatchObject({ position: { share: 30 } });
    reached = 0;
    const answers = [];
    for (let i = 0; i < 200; i++) answers.push((await ask(a)).status);
    expect(answers.filter((status) => status === 200)).toHaveLength(reached);
    expect(reached).toBeGreaterThan(20);
    expect(reached).toBeLessThan(110);
    await own.set(setRequest(it, 'open', held), attempt());
    expect(await ask(a)).toEqual(REFUSED);
    expect((await overrides(a))[SHARE_KEY]).toBeUndefined();
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(await overrides(a)).toEqual({});
  });

  it('without a key no share is let through, and nothing is touched', async () => {
    const { it, own } = make();
    await expect(own.set(setRequest(it, { share: 5 }, []), attempt())).rejects.toMatchObject({ type: 'Invalid' });
    for (const envoy of envoys) expect(await overrides(envoy)).toEqual({});
  });

  it('says which of them did not take it where too few did, and is content with a quorum', async () => {
    const dead = await deadAdmin();
    const admin = [...envoys.map(({ adminUrl }) => adminUrl), dead];
    const { it, own } = make({ admin });
    const refused = own.set(setRequest(it, 'open', []), attempt());
    await expect(refused).rejects.toMatchObject({ name: 'UnavailableError' });
    await expect(refused).rejects.toThrow(/2 of 3 Envoys took open, and 3 are needed: .*ECONNREFUSED/);
    await expect(refused).rejects.toThrow(dead);
    await expect(own.read()).rejects.toThrow('2 of 3 Envoys answered');

    const since = Date.now() - 60_000;
    const half = make({ admin, quorum: 60 });
    // What the attempt before could not tell is told now.
    const told = await half.own.set(setRequest(half.it, 'open', []), attempt(since));
    expect(told).toHaveLength(2);
    expect(told[0]?.what).toContain('lost with an earlier attempt');
    expect(await half.own.read()).toMatchObject({ position: 'open', why: expect.stringContaining(dead) });
    // Where nothing listens, what was set has gone with the process.
    expect(await half.own.set(setRequest(half.it, 'closed', []), attempt())).toHaveLength(2);
  });

  it('tells where one stands otherwise than another', async () => {
    const [, b] = envoys as [Envoy, Envoy];
    const { own } = await opened();
    await modify(b, { [key('max_requests')]: '' });
    const { position, why } = await own.read();
    expect(position).toBe('mixed');
    expect(why).toContain(`${b.adminUrl} is mixed`);
  });

  it.each([
    ['a cluster that Envoy does not have', { envoyCluster: 'paymnts' }, 'Invalid', 'no cluster "paymnts"'],
    ['what is no Envoy', { admin: [] as string[] }, 'Invalid', 'no admin endpoint of Envoy'],
  ])('refuses %s before anything is touched', async (_, change, type, message) => {
    const page = createServer((_, response) => response.end('hello'));
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void page.close());
    const admin = [`http://127.0.0.1:${(page.address() as AddressInfo).port}`];
    const { own } = make('admin' in change ? { admin } : change);
    await expect(own.read()).rejects.toMatchObject({ type, message: expect.stringContaining(message) });
  });
});

describe('while it is open', () => {
  it('an Envoy that was started anew is opened again, and that is no contest', async () => {
    const adminPort = await freePort();
    let envoy = await start('restarted', { adminPort });
    onTestFinished(() => envoy.stop());
    const { it, own, held } = await opened({ admin: [envoy.adminUrl] });
    const wait = pulse();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, wait);
    for (let times = 0; times < 2; times++) {
      await envoy.stop();
      envoy = await start('restarted', { adminPort });
      await eventually('it is open again', async () => (await overrides(envoy))[key('max_requests')] === '0');
      expect(await ask(envoy)).toEqual(REFUSED);
    }
    wait.stop();
    const { changes, contested } = await kept;
    expect(contested).toBeUndefined();
    expect(changes.map(({ what }) => what)).toEqual(Array(2).fill(expect.stringContaining('started anew')));
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(await overrides(envoy)).toEqual({});
  });

  it('what a person has changed is set again once; the second time it is left so', async () => {
    const [a] = envoys as [Envoy, Envoy];
    const { it, own, held } = await opened();
    const request = { dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) };
    const wait = pulse();
    const kept = own.keepOpen(request, wait);
    await modify(a, { [key('max_requests')]: '' });
    await eventually('it is set again', async () => (await overrides(a))[key('max_requests')] === '0');
    await modify(a, { [key('max_requests')]: '55' });
    const { changes, contested, why } = await kept;
    expect(contested).toMatchObject({
      by: expect.stringContaining(a.adminUrl),
      object: { key: 'dependency/payments' },
    });
    expect(changes).toHaveLength(1);
    expect(why).toContain('twice by now');
    expect((await overrides(a))[key('max_requests')]).toBe('55');
    // Closing respects it.
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(await overrides(a)).toEqual({ [key('max_requests')]: '55' });
  });

  it('what was given back by hand is not taken again', async () => {
    const [a] = envoys as [Envoy, Envoy];
    const { it, own, held } = await opened();
    const wait = pulse();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, wait);
    expect(await own.release(held[0]!, true)).toMatchObject({ result: 'given-back', changes: [] });
    expect(await ask(a)).toEqual(REFUSED);
    expect(await own.release(held[0]!, false)).toMatchObject({ result: 'given-back' });
    expect(await kept).toMatchObject({ changes: [], contested: { by: 'salvor release' } });
    expect(await ask(a)).toEqual(PASSED);
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(await overrides(a)).toEqual({});
  });

  it('one that cannot be reached keeps nobody from closing the others by hand', async () => {
    const [a] = envoys as [Envoy, Envoy];
    const { it, held } = await opened();
    // Takes connections and never answers, as a machine that is gone may.
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      silent.close();
      silent.closeAllConnections();
    });
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const { envoy } = it.switch;
    const more = switchOf(
      { ...it, switch: { envoy: { ...envoy!, admin: [...envoy!.admin!, url] } } },
      { clusters: new Map() },
    );
    const released = await more.release(held[0]!, false);
    expect(released).toMatchObject({ result: 'unclear', why: expect.stringContaining(url.slice(7)) });
    expect(released.changes.length).toBeGreaterThan(0);
    expect(await ask(a)).toEqual(PASSED);
    expect(await overrides(a)).not.toHaveProperty(key('max_requests'), '0');
  });

  it('a deadline ends it; a stop that is no cancel is thrown on', async () => {
    const { it, own, held } = await opened();
    const request = { dependency: it, actor: actor(), step: 'keep', held };
    expect(await own.keepOpen({ ...request, deadline: inMs(10) }, pulse())).toMatchObject({ changes: [] });
    const wait = pulse();
    const kept = own.keepOpen({ ...request, deadline: inMs(120_000) }, wait);
    wait.stop(false);
    await expect(kept).rejects.toThrow('stopped by the test');
  });
});
