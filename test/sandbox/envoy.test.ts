import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ENVOY_CLUSTER, type Envoy, startEnvoy, UPSTREAM_HEADER } from '../../sandbox/envoy.ts';
import { eventually } from '../support/wait.ts';
import { processesWith } from './processes.ts';

let folder: string;
let envoy: Envoy;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-envoy-'));
  envoy = await startEnvoy({ folder });
});
afterAll(async () => {
  await envoy?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A server that answers with its name; answers its host:port. */
async function serve(name: string): Promise<string> {
  const server = createServer((_, response) => response.end(name));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Resolves when Envoy says that it sends traffic there and nowhere else. */
async function send(endpoints: string[]): Promise<void> {
  await envoy.setEndpoints(endpoints);
  const wanted = [...endpoints].sort().join();
  await eventually('the endpoints are in force', async () => (await envoy.endpoints()).join() === wanted);
}

async function ask(): Promise<{ status: number; body: string; upstream: string | null }> {
  const response = await fetch(envoy.url);
  return { status: response.status, body: await response.text(), upstream: response.headers.get(UPSTREAM_HEADER) };
}

test('sends traffic in turns to the endpoints of its file, as they change', async () => {
  const [a, b] = [await serve('a'), await serve('b')];
  await send([]);
  expect(await ask()).toMatchObject({ status: 503, upstream: null });

  await send([a, b]);
  const bodies = [];
  for (let i = 0; i < 6; i++) bodies.push((await ask()).body);
  expect(bodies.filter((body) => body === 'a')).toHaveLength(3);
  expect(bodies.filter((body) => body === 'b')).toHaveLength(3);

  await send([b]);
  for (let i = 0; i < 4; i++) expect(await ask()).toEqual({ status: 200, body: 'b', upstream: b });
});

test('is told at run time to let no requests through, and to let them through again', async () => {
  await send([await serve('a')]);
  const setMaxRequests = async (value: string) => {
    const key = `circuit_breakers.${ENVOY_CLUSTER}.default.max_requests`;
    const response = await fetch(`${envoy.adminUrl}/runtime_modify?${key}=${value}`, { method: 'POST' });
    expect(await response.text()).toContain('OK');
  };
  await setMaxRequests('0');
  await eventually('closed', async () => (await ask()).status === 503);
  await setMaxRequests('');
  await eventually('open', async () => (await ask()).status === 200);
});

test('leaves nothing when it is stopped', async () => {
  const own = await mkdtemp(join(tmpdir(), 'salvor-envoy-'));
  onTestFinished(() => rm(own, { recursive: true, force: true }));
  const another = await startEnvoy({ folder: own });
  expect(await processesWith(own)).not.toHaveLength(0);
  await another.stop();
  expect(await processesWith(own)).toHaveLength(0);
});
