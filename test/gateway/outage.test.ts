import { kill } from 'node:process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Courier } from '../../gateway/courier.ts';
import { deliver } from '../../gateway/deliver.ts';
import { GatewayMetrics } from '../../gateway/metrics.ts';
import type { Batch } from '../../model/request.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import {
  alert,
  head,
  rawConnection,
  scopeOf,
  signalled,
  startTestGateway,
  type TestGateway,
  testConfig,
  uniqueNamespace,
  webhook,
} from './harness.ts';

let sandbox: Sandbox<'temporal'>;
let gateway: TestGateway;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  gateway = await startTestGateway(testConfig({ address: sandbox.temporal.address }));
});
afterAll(async () => {
  await gateway?.close();
  await sandbox?.stop();
});

const good = (...namespaces: string[]) => webhook(namespaces.map((namespace) => alert({ namespace, pod: 'web-0' })));

/** Far more than it takes (Alertmanager gives a webhook 10 s at the least): that it answers at all is what counts here. */
const ALERTMANAGER = 60_000;

const within = async <T>(ms: number, answer: Promise<T>): Promise<T> => {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms).unref();
  });
  return await Promise.race([answer, late]);
};

test('Temporal down: 503 with Retry-After, nothing lost; back up: 200', async () => {
  const many = Array.from({ length: 150 }, uniqueNamespace);
  expect((await gateway.post(good(uniqueNamespace()))).status).toBe(200);
  const errors = async () =>
    (await gateway.counter('salvor_gateway_temporal_errors_total{status="UNAVAILABLE"}')) +
    (await gateway.counter('salvor_gateway_temporal_errors_total{status="DEADLINE_EXCEEDED"}'));

  await sandbox.temporal.kill();
  const answered = await within(ALERTMANAGER, gateway.post(good(...many)));
  expect(answered).toMatchObject({ status: 503, body: { accepted: 0, undelivered: 150, problems: [] } });
  expect(answered.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  expect(answered.body.error).toMatch(/Temporal did not take every alert\. Deliver the group again/);
  expect(JSON.stringify(answered.body)).not.toContain(sandbox.temporal.address);
  expect(gateway.log.at(-1)).toMatchObject({
    level: 50,
    undelivered: 150,
    temporal: { status: 'UNAVAILABLE', message: expect.stringMatching(/ECONNREFUSED/) },
  });
  expect(await errors()).toBeGreaterThan(0);
  expect(await gateway.counter('salvor_gateway_alerts_total{rule="pods",result="undelivered"}')).toBe(150);
  expect(await gateway.counter('salvor_gateway_requests_total{code="503"}')).toBe(1);

  expect((await within(ALERTMANAGER, gateway.get('/readyz'))).status).toBe(503);
  expect((await gateway.get('/healthz')).status).toBe(200);
  expect((await gateway.post('{')).status).toBe(400);

  await sandbox.temporal.start();
  await eventually('ready again', async () => (await gateway.get('/readyz')).status === 200);
  expect(await gateway.post(good(...many))).toMatchObject({ status: 200, body: { accepted: 150 } });
  expect((await signalled(gateway.client, 'pods', scopeOf(many[0]!)))?.length).toBe(1);
});

test('Temporal that takes connections and does not answer: 503 all the same', async () => {
  const namespace = uniqueNamespace();
  const pid = sandbox.temporal.pid!;
  kill(pid, 'SIGSTOP');
  try {
    const answered = await within(ALERTMANAGER, gateway.post(good(namespace)));
    expect(answered).toMatchObject({ status: 503, body: { accepted: 0, undelivered: 1 } });
    expect((await within(ALERTMANAGER, gateway.get('/readyz'))).status).toBe(503);
  } finally {
    kill(pid, 'SIGCONT');
  }
  await eventually('taken', async () => (await gateway.post(good(namespace))).status === 200);
});

test('a gateway that starts before Temporal is there is not ready, and then is', async () => {
  await sandbox.temporal.stop();
  const early = await startTestGateway(testConfig({ address: sandbox.temporal.address }));
  try {
    expect((await early.get('/readyz')).status).toBe(503);
    await sandbox.temporal.start();
    await eventually('ready', async () => (await early.get('/readyz')).status === 200);
    expect((await early.post(good(uniqueNamespace()))).status).toBe(200);
  } finally {
    await early.close();
  }
});

test('a namespace that does not exist: not ready, 503', async () => {
  const elsewhere = await startTestGateway(
    testConfig({ address: sandbox.temporal.address, namespace: `absent-${uniqueNamespace()}` }),
  );
  try {
    expect((await elsewhere.get('/readyz')).status).toBe(503);
    expect(await within(ALERTMANAGER, elsewhere.post(good(uniqueNamespace())))).toMatchObject({ status: 503 });
    expect(elsewhere.log.at(-1)).toMatchObject({ temporal: { status: 'NOT_FOUND' } });
  } finally {
    await elsewhere.close();
  }
});

test('some batches taken and others not: the good ones are, and it is told', async () => {
  const batch = (scope: string): Batch => ({
    rule: gatewayRule(),
    delivery: 'd',
    ruleDigest: '0123456789abcdef',
    scope,
    requests: [],
  });
  const [one, two] = [uniqueNamespace(), uniqueNamespace()];
  const tooLong = 'x'.repeat(2_000);
  const metrics = new GatewayMetrics();
  const courier = new Courier(gateway.client, gateway.taskQueue, metrics);
  const delivery = await deliver(courier, [batch(one), batch(tooLong), batch(two)], metrics);
  expect(delivery.taken.map(({ scope }) => scope).sort()).toEqual([one, two].sort());
  expect(delivery.undelivered.map(({ scope }) => scope)).toEqual([tooLong]);
  expect(delivery.failure?.status).toBe('INVALID_ARGUMENT');
  expect(await signalled(gateway.client, 'pods', two)).toHaveLength(1);
});

function gatewayRule(): Batch['rule'] {
  const rule = testConfig({}).rules.find((one) => one.rule.name === 'pods')?.rule;
  if (rule === undefined) throw new Error('the test configuration has no rule pods');
  return rule;
}

test('closing finishes the request under way and takes no new one', async () => {
  const closing = await startTestGateway(testConfig({ address: sandbox.temporal.address }));
  const namespace = uniqueNamespace();
  const body = JSON.stringify(good(namespace));
  const slow = await rawConnection(closing.url);
  slow.write(head(Buffer.byteLength(body)) + body.slice(0, 40));
  await closing.get('/healthz');

  const closed = closing.close();
  await eventually('no new request', async () => {
    try {
      await closing.get('/healthz').then((response) => response.arrayBuffer());
      return false;
    } catch {
      return true;
    }
  });
  slow.write(body.slice(40));
  expect(await slow.closed).toMatch(/^HTTP\/1\.1 200[\s\S]*"accepted":1/);
  await closed;
  expect(await signalled(gateway.client, 'pods', scopeOf(namespace))).toHaveLength(1);
});

test('closing does not wait for a body that never ends', async () => {
  const closing = await startTestGateway(testConfig({ address: sandbox.temporal.address }));
  const slow = await rawConnection(closing.url);
  slow.write(`${head(100)}{`);
  await closing.get('/healthz');
  await closing.close();
  expect(await slow.closed).not.toMatch(/HTTP\/1\.1 2/);
});
