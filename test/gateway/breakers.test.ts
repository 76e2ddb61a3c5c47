import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import { startTestGateway, type TestGateway, testConfig } from './harness.ts';

const ADA = 'the-token-of-ada';
const WEBHOOK = 'the-token-of-alertmanager';
const PAYMENTS = {
  name: 'payments',
  switch: { envoy: { admin: ['http://127.0.0.1:1'], envoyCluster: 'payments' } },
  probe: { tcp: { host: '127.0.0.1', port: 1 } },
};

let sandbox: Sandbox<'temporal'>;
let gateway: TestGateway;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-breakers-'));
  writeFileSync(join(folder, 'token'), WEBHOOK);
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  const people = [{ name: 'ada', tokenHash: createHash('sha256').update(ADA).digest('hex') }];
  const secured = { bearerTokenFile: join(folder, 'token'), people };
  gateway = await startTestGateway(testConfig({ address: sandbox.temporal.address }, secured, [PAYMENTS]));
});
afterAll(async () => {
  await gateway?.close();
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const read = (path: string, token: string | null, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${gateway.url}/v1/breakers${path}`, {
    headers: { ...headers, ...(token !== null && { authorization: `Bearer ${token}` }) },
  });

async function order(name: 'open' | 'close', body: object, token: string | null) {
  const response = await fetch(`${gateway.url}/v1/breakers/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as { error?: string } };
}

const CLOSED = { dependency: 'payments', state: 'closed', relapses: 0 };

describe('who reads how breakers stand', () => {
  test('is somebody who is known: a person, or who delivers alerts', async () => {
    for (const token of [ADA, WEBHOOK]) {
      const all = await read('', token);
      expect(all.status).toBe(200);
      expect(await all.json()).toMatchObject({ breakers: [CLOSED] });
      expect(await (await read('/payments', token)).json()).toMatchObject(CLOSED);
    }
    for (const token of [null, 'somebody']) expect((await read('/payments', token)).status).toBe(401);
  });

  test('is told by the ETag whether anything is new', async () => {
    const etag = (await read('', ADA)).headers.get('etag') ?? '';
    expect((await read('', ADA, { 'if-none-match': etag })).status).toBe(304);
    expect((await read('', ADA, { 'if-none-match': `W/"other", ${etag}` })).status).toBe(304);
    expect((await read('', ADA, { 'if-none-match': '"other"' })).status).toBe(200);
  });
});

describe('who orders', () => {
  test('is a person with a token of his own', async () => {
    for (const token of [null, 'somebody', WEBHOOK])
      expect(await order('open', { dependency: 'payments' }, token)).toMatchObject({ status: 401 });
  });

  test('is told what is wrong', async () => {
    expect(await order('open', { dependency: 'payment' }, ADA)).toMatchObject({
      status: 404,
      body: { error: expect.stringContaining('payment') },
    });
    expect(await order('open', { dependency: 'payments', for: 'soon' }, ADA)).toMatchObject({ status: 422 });
    expect(await order('close', { dependency: 'payments', for: '1h' }, ADA)).toMatchObject({ status: 422 });
  });
});

test('without Temporal nothing can be read, and that is said', async () => {
  await sandbox.temporal.kill();
  // An answer that was read before is good for a moment.
  const away = await eventually('it says so', async () => {
    const answer = await read('/payments', ADA);
    return answer.status !== 200 && answer;
  });
  expect([away.status, away.headers.get('retry-after')]).toEqual([503, '5']);
  expect(await away.json()).toMatchObject({ error: 'Temporal cannot be reached: nothing could be read. Try again.' });
});
