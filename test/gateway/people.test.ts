import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readPauses } from '../../providers/temporal/pauses.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { DIGEST, type Ordered, startOrdered } from '../support/proposals.ts';
import { eventually } from '../support/wait.ts';
import { alert, startTestGateway, type TestGateway, testConfig, uniqueNamespace, webhook } from './harness.ts';

const ADA = 'the-token-of-ada';
const BOB = 'the-token-of-bob';
const WEBHOOK = 'the-token-of-alertmanager';
const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');
const PEOPLE = [
  { name: 'ada', tokenHash: hashOf(ADA), groups: ['sre'] },
  { name: 'bob', tokenHash: hashOf(BOB) },
  // Somebody's slip of the pen: this token is the webhook's.
  { name: 'mallory', tokenHash: hashOf(WEBHOOK) },
];

let sandbox: Sandbox<'temporal'>;
let ordered: Ordered;
let gateway: TestGateway;
let folder: string;
let id: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-people-'));
  writeFileSync(join(folder, 'token'), WEBHOOK);
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  ordered = await startOrdered({ address: sandbox.temporal.address, searchAttributes: true });
  gateway = await startTestGateway(configured());
});
afterAll(async () => {
  await gateway?.close();
  await ordered?.stop();
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  id = `t${randomUUID().slice(0, 8)}`;
});
afterEach(async () => {
  await order('resume', { prefix: '' });
});

const configured = (people: object[] = PEOPLE) =>
  testConfig(
    { address: sandbox.temporal.address, taskQueue: ordered.taskQueue },
    { bearerTokenFile: join(folder, 'token'), people },
  );

interface Answered {
  status: number;
  headers: Headers;
  body: Record<string, unknown> & { error?: string };
}

/** Orders as a person does. @param authorization none: `null` */
async function order(
  name: string,
  body: unknown,
  { authorization = `Bearer ${ADA}`, type = 'application/json', at = gateway }: Asking = {},
): Promise<Answered> {
  const response = await fetch(`${at.url}/v1/${name}`, {
    method: 'POST',
    headers: { 'content-type': type, ...(authorization !== null && { authorization }) },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Answered['body'] };
}

interface Asking {
  authorization?: string | null;
  type?: string;
  at?: TestGateway;
}

const bob = { authorization: `Bearer ${BOB}` };
const prefixes = async () => (await readPauses(gateway.client)).map(({ prefix }) => prefix);
const state = async (run: string) => (await gateway.client.workflow.getHandle(run).describe()).status.name;

/** A proposal that waits and is listed. */
async function proposed(name: string, more?: Parameters<Ordered['propose']>[1]) {
  const run = await ordered.propose(name, more);
  await eventually('it waits', async () => {
    const story = await gateway.client.workflow.getHandle(run.workflowId).query<{ waits?: object }>('story');
    return story.waits !== undefined;
  });
  await eventually(
    'it is listed',
    async () => (await gateway.client.workflow.count(`RunId = '${run.id}'`)).count === 1,
  );
  return run;
}

describe('who may order', () => {
  test('a person, by a token; nobody else, and a webhook is not a person', async () => {
    for (const authorization of [null, '', 'Bearer', 'Bearer nobody', `Basic ${ADA}`, ADA, `Bearer ${WEBHOOK}`]) {
      for (const name of ['pause', 'resume', 'approve', 'deny']) {
        const { status, headers, body } = await order(name, { prefix: '' }, { authorization });
        expect([status, headers.get('www-authenticate')], `${authorization}`).toEqual([401, 'Bearer']);
        expect(body).toEqual({ error: 'The token is missing or unknown.' });
      }
    }
    expect((await fetch(`${gateway.url}/v1/pauses`)).status).toBe(401);
    expect(await prefixes()).toEqual([]);
    expect(JSON.stringify(gateway.log)).not.toMatch(/the-token|nobody/);
  });

  test('a person’s token is none of the webhook', async () => {
    const body = webhook([alert({ namespace: uniqueNamespace(), pod: 'web-0' })]);
    expect((await gateway.post(body, { authorization: `Bearer ${ADA}` })).status).toBe(401);
    expect((await gateway.post(body, { authorization: `Bearer ${WEBHOOK}` })).status).toBe(200);
  });

  test('nobody, where no people are configured; the answer says what to configure', async () => {
    const closed = await startTestGateway(configured([]));
    try {
      const { status, body } = await order('pause', { prefix: '' }, { at: closed });
      expect(status).toBe(403);
      expect(body.error).toContain('gateway.people');
      expect(await prefixes()).toEqual([]);
    } finally {
      await closed.close();
    }
  });

  test('not more often than a person would', async () => {
    const impatient = await startTestGateway(configured());
    try {
      const statuses = await Promise.all(
        Array.from({ length: 65 }, async () => (await order('pause', {}, { at: impatient })).status),
      );
      expect(statuses.filter((status) => status === 429)).toHaveLength(5);
      expect((await order('pause', {}, { at: impatient })).headers.get('retry-after')).toMatch(/^\d+$/);
      expect((await order('pause', {}, { at: impatient, ...bob })).status).toBe(422);
    } finally {
      await impatient.close();
    }
  });
});

describe('pause and resume', () => {
  test('stand as soon as they are answered, in the name of the person', async () => {
    const paused = await order('pause', { prefix: `k8s/prod/${id}`, for: '2h', reason: 'a look' });
    expect(paused).toMatchObject({ status: 200, body: { pause: { by: 'person:ada', reason: 'a look' } } });
    expect(await readPauses(gateway.client)).toEqual([paused.body['pause']]);
    const listed = await fetch(`${gateway.url}/v1/pauses`, { headers: bob });
    expect(await listed.json()).toEqual({ pauses: [paused.body['pause']] });

    await order('pause', { prefix: 'k8s/prod' }, bob);
    const resumed = await order('resume', { prefix: `k8s/prod/${id}` }, bob);
    expect(resumed.body).toMatchObject({ ended: [{ prefix: `k8s/prod/${id}` }], still: [{ prefix: 'k8s/prod' }] });
    expect(await prefixes()).toEqual(['k8s/prod']);
    expect(await gateway.counter('salvor_gateway_orders_total{order="pause",code="200"}')).toBeGreaterThan(0);
    expect(gateway.log).toContainEqual(
      expect.objectContaining({ order: 'pause', by: 'ada', prefix: `k8s/prod/${id}` }),
    );
  });

  test('of what is not configured is done, and said', async () => {
    const { status, body } = await order('pause', { prefix: 'k8s/prd' });
    expect(status).toBe(200);
    expect(body['note']).toMatch(/no cluster prd; was k8s\/prod meant/);
  });

  test.each([
    ['no prefix', {}, /prefix/],
    ['a prefix of no known form', { prefix: 'k8s/*' }, /whole segments/],
    ['a duration that is none', { prefix: '', for: 'soon' }, /not a duration/],
    ['a duration that is too long', { prefix: '', for: '31d' }, /30d/],
    ['a key that is unknown', { prefix: '', forever: true }, /forever/],
    ['no object', '"pause"', /nothing was done/],
  ])('%s is refused with what would be right', async (_name, body, message) => {
    const { status, body: answer } = await order('pause', body);
    expect(status).toBe(422);
    expect(answer.error).toMatch(message);
    expect(await prefixes()).toEqual([]);
  });

  test('a body that is no JSON, of another type, or too large is refused', async () => {
    expect((await order('pause', '{')).status).toBe(400);
    expect((await order('pause', '{}', { type: 'text/plain' })).status).toBe(415);
    expect((await order('pause', { prefix: '', reason: 'x'.repeat(100_000) })).status).toBe(413);
  });
});

describe('approve and deny', () => {
  test('approve by the beginning of the ID, with the digest of the plan', async () => {
    const run = await proposed(`${id}-a`);
    const answered = await order('approve', { id: run.id.slice(0, 18), digest: DIGEST, comment: 'go' });
    expect(answered).toMatchObject({ status: 200, body: { id: run.id, target: run.target, by: 'person:ada' } });
    await eventually('it has ended', async () => (await state(run.workflowId)) === 'COMPLETED');
    const [approved] = ordered.submitted.filter(({ requests }) => requests[0]?.target === run.target);
    expect(approved?.requests[0]?.approval).toMatchObject({ by: 'person:ada', digest: DIGEST, comment: 'go' });
    expect(ordered.recorded()).toContainEqual(
      expect.objectContaining({ kind: 'verdict', answer: 'approve', by: 'person:ada', groups: ['sre'] }),
    );
    // Once.
    const again = await order('approve', { id: run.id, digest: DIGEST });
    expect(again).toMatchObject({ status: 409, body: { error: expect.stringMatching(/nothing waits/i) } });
  });

  test('deny by the target', async () => {
    const run = await proposed(`${id}-a`);
    expect((await order('deny', { id: run.target, digest: DIGEST }, bob)).status).toBe(200);
    const ending = await gateway.client.workflow.getHandle(run.workflowId).result();
    expect(ending).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('person:bob'), changes: [] });
    expect(ordered.submitted.filter(({ requests }) => requests[0]?.target === run.target)).toEqual([]);
  });

  test('a digest of another plan is stale, and nothing is approved', async () => {
    const run = await proposed(`${id}-a`);
    const { status, body } = await order('approve', { id: run.id, digest: 'another' });
    expect(status).toBe(409);
    expect(body.error).toContain(DIGEST);
    expect(await state(run.workflowId)).toBe('RUNNING');
    expect(ordered.submitted.filter(({ requests }) => requests[0]?.target === run.target)).toEqual([]);
  });

  test('only by whom the rule names, by name or by group', async () => {
    const run = await proposed(`${id}-a`, { approvers: ['group:sre'] });
    const refused = await order('approve', { id: run.id, digest: DIGEST }, bob);
    expect(refused.status).toBe(403);
    expect(refused.body.error).toContain('group:sre');
    expect(await state(run.workflowId)).toBe('RUNNING');
    expect((await order('approve', { id: run.id, digest: DIGEST })).status).toBe(200);
  });

  test('of what is not there', async () => {
    const missing = { digest: DIGEST };
    expect((await order('approve', { ...missing, id: '00000000' })).status).toBe(404);
    expect((await order('approve', { ...missing, id: `k8s/prod/${id}/pod/none` })).status).toBe(404);
    expect((await order('approve', { ...missing, id: 'abc' })).status).toBe(422);
    expect((await order('approve', { id: '00000000' })).status).toBe(422);
  });

  test('of a run that proposes nothing', async () => {
    const run = await ordered.propose(`${id}-a`, { mode: 'observe', name: 'observe-it' });
    await gateway.client.workflow.getHandle(run.workflowId).result();
    // Looked for here, not by orders: a person has only so many within a minute.
    const query = `RunId = '${run.id}' AND ExecutionStatus = 'Completed'`;
    await eventually('it is listed', async () => (await gateway.client.workflow.count(query)).count === 1);
    const answered = await order('approve', { id: run.id, digest: DIGEST });
    expect(answered).toMatchObject({ status: 409, body: { error: expect.stringContaining('observed') } });
  });
});

test('without a worker an order is not taken, and that is said', async () => {
  await eventually('the control has ended', async () => (await state('salvor/control')) === 'COMPLETED');
  const config = configured();
  const nowhere = await startTestGateway({ ...config, temporal: { ...config.temporal, taskQueue: `none-${id}` } });
  try {
    const { status, headers, body } = await order('pause', { prefix: 'k8s' }, { at: nowhere });
    expect(status).toBe(503);
    expect(headers.get('retry-after')).toBe('5');
    expect(body.error).toContain('No worker');
  } finally {
    // The control was started on a queue that nobody polls.
    await nowhere.client.workflow.getHandle('salvor/control').terminate();
    await nowhere.close();
  }
});

test('without Temporal an order is not taken, and no more is said', async () => {
  const config = configured();
  const lost = await startTestGateway({ ...config, temporal: { ...config.temporal, address: '127.0.0.1:9' } });
  try {
    for (const name of ['pause', 'approve']) {
      const { status, body } = await order(name, name === 'pause' ? { prefix: '' } : { id: '00000000', digest: 'd' }, {
        at: lost,
      });
      expect(status).toBe(503);
      expect(body).toEqual({ error: 'Temporal cannot be reached: the order was not taken. Try again.' });
    }
  } finally {
    await lost.close();
  }
});
