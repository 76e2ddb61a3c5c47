import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shared } from '../../gateway/breakers.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { door, eventually } from '../support/wait.ts';
import { countingClient, startTestGateway, type TestGateway, testConfig } from './harness.ts';

/** As many as a gateway lets wait. */
const MANY = 1_000;
const PAYMENTS = {
  name: 'payments',
  switch: { envoy: { admin: ['http://127.0.0.1:1'], envoyCluster: 'payments' } },
  probe: { tcp: { host: '127.0.0.1', port: 1 } },
};

let sandbox: Sandbox<'temporal'>;
let client: Client;
let gateway: TestGateway;
/** How often Temporal was asked for a breaker. */
let asked: () => number;
beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  ({ client, asked } = await countingClient(sandbox.temporal.address));
  gateway = await startTestGateway(testConfig({ address: sandbox.temporal.address }, {}, [PAYMENTS]), client);
});
afterAll(async () => {
  await gateway?.close();
  await client?.connection.close();
  await sandbox?.stop();
});

const poll = (etag: string, wait = '1m'): Promise<Response> =>
  fetch(`${gateway.url}/v1/breakers/payments?wait=${wait}`, { headers: { 'if-none-match': etag } });

/** As a program does: it asks again until it is to stop. @returns the last status; 0 where there was no answer */
async function follow(etag: string, isOver: () => boolean): Promise<number> {
  for (;;) {
    const last = await poll(etag).then(
      ({ status }) => status,
      () => 0, // a busy machine may lose a connection
    );
    if (isOver()) return last;
  }
}

describe('many who wait for news', () => {
  it('cost Temporal no more than one, are no more than a gateway can bear, and are let go when it closes', async () => {
    const etag = await eventually('it is read', async () => {
      const answer = await gateway.get('/v1/breakers/payments');
      return answer.status === 200 && (answer.headers.get('etag') ?? undefined);
    });
    let over = false;
    const waits = Array.from({ length: MANY }, () => follow(etag, () => over));
    const refused = await eventually('all of them wait', async () => {
      const answer = await poll(etag, '1ms');
      return answer.status === 429 && answer;
    });
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await refused.json()).toMatchObject({ error: 'Too many wait for news already.' });
    // Who does not wait is answered.
    expect((await gateway.get('/v1/breakers/payments')).status).toBe(200);

    const [before, since] = [asked(), performance.now()];
    await eventually('they have looked some more times', () => asked() >= before + 4);
    const looks = (performance.now() - since) / 500;
    expect(asked() - before).toBeLessThanOrEqual(looks + 2);

    over = true;
    await gateway.close();
    const ends = await Promise.all(waits);
    expect(ends.filter((status) => status !== 304)).toEqual([]);
  }, 120_000);
});

describe('an answer', () => {
  it('that is awaited is for all who ask meanwhile, however long it takes', async () => {
    const doors = [door<string>(), door<string>()];
    let reads = 0;
    const look = shared(() => doors[reads++]?.opened ?? Promise.reject(new Error('asked too often')), 0);
    // An answer that is here is good for no time at all.
    const first = [look('a'), look('a'), look('a')];
    expect(reads).toBe(1);
    doors[0]?.open('one');
    expect(await Promise.all(first)).toEqual(['one', 'one', 'one']);
    const next = look('a');
    doors[1]?.open('two');
    expect(await next).toBe('two');
  });

  it('is of one name, good for a moment, and not remembered where it failed', async () => {
    let reads = 0;
    const look = shared(async (name) => {
      reads += 1;
      if (name === 'bad') throw new Error('no');
      return `${name}${reads}`;
    }, 60_000);
    expect([await look('a'), await look('b'), await look('a')]).toEqual(['a1', 'b2', 'a1']);
    await expect(look('bad')).rejects.toThrow('no');
    await expect(look('bad')).rejects.toThrow('no');
    expect(reads).toBe(4);
  });
});
