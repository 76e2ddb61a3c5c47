import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { auditActivities } from '../../activities/audit.ts';
import { controlActivities } from '../../activities/control.ts';
import { pausesOf } from '../../activities/pauses.ts';
import type { AuditEntry, AuditPage } from '../../model/audit.ts';
import { CONTROL_ID, proposalId, remediationId, responderId, WORKFLOW, watchQueue } from '../../model/names.ts';
import { type ControlActivities, INVALID_ORDER, PAUSES_MEMO, type PauseOrder } from '../../model/pause.ts';
import type { LookAgain, ResponderState } from '../../model/responder.ts';
import { pause as order, resume as orderResume } from '../../providers/temporal/control.ts';
import { readPauses } from '../../providers/temporal/pauses.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';

let sandbox: Sandbox<'temporal'>;
let connection: NativeConnection;
let client: Client;
let workers: Worker[];
let running: Promise<void>[];
const taskQueue = `test-${randomUUID()}`;
const pages: AuditPage[] = [];
const store = { down: false };
const calls: string[] = [];
let id: string;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  sandbox = await startSandbox({
    parts: ['temporal'],
    temporal: { headless: true, dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': 100 } },
  });
  connection = await NativeConnection.connect({ address: sandbox.temporal.address });
  client = new Client({ connection });
  const append = async (page: AuditPage): Promise<void> => {
    if (store.down) throw new Error('the store is down');
    pages.push(page);
  };
  const real = controlActivities({ client });
  const told: ControlActivities = {
    wake: async (request) => {
      calls.push(`wake ${request.prefix}`);
      await real.wake(request);
    },
    undo: async (request) => {
      const cancelled = await real.undo(request);
      calls.push(`undo ${request.prefix} ${cancelled}`);
      return cancelled;
    },
  };
  workers = [
    await Worker.create({
      connection,
      taskQueue,
      workflowsPath: join(import.meta.dirname, 'standins.ts'),
      activities: { ...told },
    }),
    await Worker.create({ connection, taskQueue: watchQueue(taskQueue), activities: auditActivities({ append }) }),
  ];
  running = workers.map((worker) => worker.run());
});
afterAll(async () => {
  for (const worker of workers) worker.shutdown();
  await Promise.all(running);
  await connection.close();
  await sandbox.stop();
});
beforeEach(() => {
  id = `t${randomUUID().slice(0, 8)}`;
});
afterEach(async () => {
  store.down = false;
  await orderResume(place(), { prefix: '', by: 'person:ada', reason: 'the test is over' });
  await hasEnded();
});

const place = () => ({ client, taskQueue });
const pause = (prefix: string, more: Partial<PauseOrder> = {}) =>
  order(place(), { prefix, by: 'person:ada', reason: 'a look', ...more });
const resume = (prefix: string) => orderResume(place(), { prefix, by: 'person:bob', reason: 'seen' });
const prefixes = async () => (await readPauses(client)).map(({ prefix }) => prefix).sort();
const control = () => client.workflow.getHandle(CONTROL_ID).describe();
const hasEnded = () => eventually('the control has ended', async () => (await control()).status.name === 'COMPLETED');
const recorded = (): AuditEntry[] => pages.flatMap(({ notes }) => notes.map(({ entry }) => entry));

async function startResponder(rule: string, scope: string, state: object = {}) {
  const handle = await client.workflow.start(WORKFLOW.responder, {
    workflowId: responderId(rule, scope),
    taskQueue,
    args: [{ queue: {}, open: {}, ...state }],
  });
  await listed(handle.workflowId);
  return { handle, looks: () => handle.query<LookAgain[]>('looks') };
}

async function startRemediation(workflowId: string, rule = id) {
  const memo = { rule };
  const handle = await client.workflow.start(WORKFLOW.remediation, { workflowId, taskQueue, memo });
  await listed(workflowId);
  return handle;
}

const listed = (workflowId: string) =>
  eventually(`${workflowId} is listed`, async () => {
    const { count } = await client.workflow.count(`WorkflowId = '${workflowId}' AND ExecutionStatus = 'Running'`);
    return count === 1;
  });

const waiting = (target: string) => ({ queue: { a: { target } } }) as unknown as Partial<ResponderState>;
const storm = { since: '2026-01-01T00:00:00.000Z', live: 10, unhealthy: 6, why: '6 of 10' };

describe('a pause', () => {
  it('stands as soon as it is answered, with who and why, and is on record', async () => {
    const made = await pause(`k8s/prod/${id}`, { for: 7_200_000 });
    expect(await readPauses(client)).toEqual([made]);
    expect(await pausesOf(client)()).toEqual([made]);
    expect(made).toMatchObject({ prefix: `k8s/prod/${id}`, by: 'person:ada', reason: 'a look' });
    expect(Date.parse(made.until!) - Date.parse(made.since)).toBe(7_200_000);
    const entry = await eventually('it is on record', () =>
      recorded().find((one) => one.kind === 'pause' && one.pause.prefix === made.prefix),
    );
    expect(entry).toEqual({ kind: 'pause', pause: made, undo: false });
    const { runId } = await control();
    expect(pages.at(-1)?.stream).toEqual({ id: runId, kind: 'control', workflowId: CONTROL_ID, rule: '', scope: '' });
  });

  it('of the same prefix replaces the one before; others stay', async () => {
    await pause(`k8s/prod/${id}`);
    await pause('rule/pods');
    await pause(`k8s/prod/${id}`, { reason: 'longer', for: 60_000 });
    const pauses = await readPauses(client);
    expect(pauses).toHaveLength(2);
    expect(pauses.find(({ prefix }) => prefix === `k8s/prod/${id}`)).toMatchObject({ reason: 'longer' });
  });

  it.each([
    ['a prefix of no known form', { prefix: 'k8s/prod/' }],
    ['a duration that is none', { prefix: '', for: 0 }],
    ['more than 30 days', { prefix: '', for: 31 * 86_400_000 }],
    ['nobody', { prefix: '', by: '' }],
  ])('%s is refused, and nothing is paused', async (_name, wrong) => {
    await pause(`k8s/prod/${id}`);
    await expect(pause('', wrong)).rejects.toMatchObject({ type: INVALID_ORDER, message: /Nothing was changed/ });
    expect(await prefixes()).toEqual([`k8s/prod/${id}`]);
  });

  it('ends by itself when its time is over; the responders are told, and it is on record', async () => {
    const { looks } = await startResponder(id, 'shop');
    await pause(`rule/${id}`);
    await pause(`k8s/prod/${id}`, { for: 1_000 });
    await eventually('it is over', async () => (await prefixes()).join() === `rule/${id}`);
    await eventually('it is on record', () =>
      recorded().find(({ kind, ...one }) => kind === 'resume' && 'by' in one && one.by === 'salvor'),
    );
    await eventually('told of two pauses and an end', async () => (await looks()).length === 3);
    expect(await looks()).toEqual([{}, {}, {}]);
  });

  it('is there for whoever asks between two runs', async () => {
    await pause(`k8s/prod/${id}`);
    const { runId: first } = await control();
    // Each order adds some events; the server then suggests a new run.
    for (let i = 0; (await control()).runId === first; i++) {
      expect(i).toBeLessThan(100);
      await pause('rule/often', { reason: `time ${i}` });
      expect(await prefixes()).toEqual([`k8s/prod/${id}`, 'rule/often']);
    }
    const next = client.workflow.getHandle(CONTROL_ID, (await control()).runId);
    const [started] = (await next.fetchHistory()).events ?? [];
    const memo = started?.workflowExecutionStartedEventAttributes?.memo?.fields?.[PAUSES_MEMO];
    expect(defaultPayloadConverter.fromPayload(memo!)).toHaveLength(2);
    // One stream, whichever run noted it, without a gap and without doubles.
    const keys = pages.filter(({ stream }) => stream.id === first).flatMap(({ notes }) => notes.map(({ key }) => key));
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('is answered while the audit store is down, and recorded when it is back', async () => {
    store.down = true;
    await pause(`k8s/prod/${id}`);
    await resume(`k8s/prod/${id}`);
    expect(await prefixes()).toEqual([]);
    expect((await control()).status.name).toBe('RUNNING');
    store.down = false;
    await hasEnded();
    expect(recorded()).toContainEqual(expect.objectContaining({ kind: 'resume', prefix: `k8s/prod/${id}` }));
  });

  it('is not lifted by a cancel in Temporal', async () => {
    await pause(`k8s/prod/${id}`);
    await client.workflow.getHandle(CONTROL_ID).cancel();
    await pause('rule/another');
    expect(await prefixes()).toEqual([`k8s/prod/${id}`, 'rule/another']);
  });
});

describe('resume', () => {
  it('ends what is paused at or under its prefix, and no other; with the last one the control ends', async () => {
    for (const prefix of ['k8s/a/x', 'k8s/a/y', 'k8s/ab', 'rule/r', '']) await pause(prefix);
    const { ended, still } = await resume('k8s/a');
    expect(ended.map(({ prefix }) => prefix)).toEqual(['k8s/a/x', 'k8s/a/y']);
    expect(still.map(({ prefix }) => prefix)).toEqual(['']);
    expect(await prefixes()).toEqual(['', 'k8s/ab', 'rule/r']);
    expect((await resume('')).ended).toHaveLength(3);
    await hasEnded();
    expect(await readPauses(client)).toEqual([]);
    // And begins anew.
    await pause('k8s/a');
    expect(await prefixes()).toEqual(['k8s/a']);
  });

  it('ends the storms of scopes under its prefix, and has every responder decide anew', async () => {
    const under = waiting(`k8s/prod/${id}/pod/web-0`);
    const other = waiting(`k8s/prod/other-${id}/pod/web-0`);
    const [stormy, calm, elsewhere] = await Promise.all([
      startResponder(id, 'a', { ...under, storm }),
      startResponder(id, 'b', under),
      startResponder(id, 'c', { ...other, storm }),
    ]);
    await eventually('the storms are listed', async () => {
      const memos: unknown[] = [];
      for await (const { memo } of client.workflow.list({ query: `WorkflowId STARTS_WITH 'responder/${id}/'` }))
        memos.push(memo?.['storm']);
      return memos.filter(Boolean).length === 2;
    });
    await resume(`k8s/prod/${id}`);
    const ends = { resume: { by: 'person:bob', reason: 'seen' } };
    const all = [stormy, calm, elsewhere];
    const told = (times: number) =>
      eventually(`all are told ${times} times`, async () => {
        const looks = await Promise.all(all.map((one) => one.looks()));
        return looks.every(({ length }) => length >= times) && looks;
      });
    expect(await told(1)).toEqual([[ends], [{}], [{}]]);
    await resume(`rule/${id}`);
    const [, calmly, stormily] = await told(2);
    expect(stormily?.[1]).toEqual(ends);
    expect(calmly?.[1]).toEqual({});
  });

  it('of another rule tells the responders of that rule only', async () => {
    const { looks } = await startResponder(id, 'a');
    const { looks: others } = await startResponder(`${id}-other`, 'a');
    await resume(`rule/${id}-other`);
    await eventually('told', async () => (await others()).length === 1);
    expect(await looks()).toEqual([]);
  });

  it('and pause that race with the end of the control are all done', async () => {
    const rounds = Array.from({ length: 10 }, (_, i) => i);
    for (const round of rounds) {
      const mine = `k8s/race/${id}-${round}`;
      // The control ends between any two of these, or not.
      await Promise.all([pause(`${mine}-a`), pause(`${mine}-b`)]);
      expect(await prefixes()).toEqual([`${mine}-a`, `${mine}-b`]);
      const both = await Promise.all([resume(`${mine}-a`), resume(`${mine}-b`)]);
      expect(both.flatMap(({ ended }) => ended)).toHaveLength(2);
      expect(await prefixes()).toEqual([]);
    }
  });
});

describe('pause --undo', () => {
  it('cancels what runs under the prefix, says who and why, and touches no other and no proposal', async () => {
    const mine = `k8s/prod/${id}`;
    const inside = await startRemediation(remediationId(`${mine}/pod/web-0`));
    const beside = await startRemediation(remediationId(`${mine}2/pod/web-0`));
    const proposal = await startRemediation(proposalId(id, `${mine}/pod/web-0`));
    await pause(mine, { undo: true });
    await expect(inside.result()).rejects.toThrow(/cancel/);
    expect(await inside.query('cancels')).toEqual([{ by: 'person:ada', reason: 'a look' }]);
    await eventually('it is done', () => calls.includes(`undo ${mine} 1`));
    for (const handle of [beside, proposal]) expect((await handle.describe()).status.name).toBe('RUNNING');
    await eventually('it is on record', () => recorded().some((entry) => entry.kind === 'pause' && entry.undo));
  });

  it('of a rule cancels what that rule started', async () => {
    const mine = await startRemediation(remediationId(`k8s/prod/${id}/pod/web-0`), id);
    const other = await startRemediation(remediationId(`k8s/prod/${id}/pod/web-1`), `${id}-other`);
    await pause(`rule/${id}`, { undo: true });
    await expect(mine.result()).rejects.toThrow(/cancel/);
    await eventually('it is done', () => calls.includes(`undo rule/${id} 1`));
    expect((await other.describe()).status.name).toBe('RUNNING');
  });
});
