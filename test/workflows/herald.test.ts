import { randomUUID } from 'node:crypto';
import { Client } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { fenceOf } from '../../activities/attempt.ts';
import { heraldActivities, heraldOf } from '../../activities/herald.ts';
import type { HeraldOrder, OwnAlert } from '../../model/herald.ts';
import { HERALD_ID, watchQueue } from '../../model/names.ts';
import { Alertmanager } from '../../providers/alertmanager/client.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';
import { alertsOf } from '../providers/alertmanager/support.ts';
import { eventually } from '../support/wait.ts';

/** Events after which the server asks a run to continue as new: low enough that a test sees it. */
const SUGGESTED = 300;

let sandbox: Sandbox<'temporal' | 'alertmanager'>;
let connection: NativeConnection;
let client: Client;
let herald: (order: HeraldOrder) => Promise<void>;
let url: string;
let id: string;
let workers: Worker[];
let running: Promise<void>[];
/** Targets that are well. */
const well = new Set<string>();

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  sandbox = await startSandbox({
    parts: ['temporal', 'alertmanager'],
    temporal: { headless: true, dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': SUGGESTED } },
  });
  url = sandbox.alertmanager.url;
  connection = await NativeConnection.connect({ address: sandbox.temporal.address });
  client = new Client({ connection });
  const taskQueue = `test-${randomUUID()}`;
  herald = heraldOf({ client, taskQueue });
  const activities = {
    ...heraldActivities({
      herald,
      alertmanagers: [new Alertmanager(url)],
      isWell: async ({ target = '' }) => well.has(target),
      fence: fenceOf(client),
      timing: { lookEvery: 100 },
    }),
  };
  const shared = { connection, activities, shutdownForceTime: '1 second' } as const;
  workers = [
    await Worker.create({ ...shared, taskQueue, workflowBundle: await bundleWorkflows() }),
    await Worker.create({ ...shared, taskQueue: watchQueue(taskQueue), maxHeartbeatThrottleInterval: '3 seconds' }),
  ];
  running = workers.map((worker) => worker.run());
});
afterAll(async () => {
  for (const worker of workers ?? []) worker.shutdown();
  await Promise.all(running ?? []);
  await connection?.close();
  await sandbox?.stop();
});
beforeEach(() => {
  id = randomUUID();
});
// One runs at a time, as everywhere: the next test begins with none.
afterEach(async () => {
  const handle = client.workflow.getHandle(HERALD_ID);
  if ((await handle.describe()).status.name === 'RUNNING') await handle.terminate();
});

const alertOf = (over: Partial<OwnAlert> = {}): OwnAlert => ({
  id,
  alertname: 'SalvorEscalation',
  labels: { test: id },
  annotations: { summary: 'not ready', description: 'cut\nevicted' },
  run: { workflowId: 'remediation/k8s/prod/shop/pod/web-0', runId: 'run-1' },
  startsAt: new Date().toISOString(),
  ...over,
});

const idsThere = async (): Promise<string[]> =>
  (await alertsOf(url, { test: id })).map(({ labels }) => labels['salvor_id'] ?? '').sort();
const seen = (...ids: string[]) =>
  eventually(`${ids.join(', ') || 'none'} is open`, async () => {
    const there = await idsThere();
    return there.length === ids.length && there.every((one, at) => one === ids.sort()[at]);
  });
const ended = () =>
  eventually('it has ended', async () => {
    const { status } = await client.workflow.getHandle(HERALD_ID).describe();
    return status.name !== 'RUNNING' && status.name;
  });
const eventsOf = async (): Promise<number> =>
  Number((await client.workflow.getHandle(HERALD_ID).describe()).historyLength);

it('raises, changes and clears alerts, and ends when none is open and their ends are told', async () => {
  await herald({ raise: [alertOf()] });
  await seen(id);
  await herald({ raise: [alertOf({ id: `${id}-2` })] });
  await seen(id, `${id}-2`);
  await herald({ clear: [id] });
  await seen(`${id}-2`);
  await herald({ clear: [`${id}-2`, 'one that never was'] });
  expect(await ended()).toBe('COMPLETED');
  expect(await idsThere()).toEqual([]);
});

it('an order to clear, where nothing is open, starts nothing', async () => {
  const handle = client.workflow.getHandle(HERALD_ID);
  const before = await handle.describe();
  await herald({ clear: [id] });
  await herald({});
  expect((await handle.describe()).runId).toBe(before.runId);
});

it('the same order twice changes nothing', async () => {
  await herald({ raise: [alertOf({ id: `${id}-1` }), alertOf({ startsAt: '2026-01-31T12:00:00.000Z' })] });
  await seen(id, `${id}-1`);
  const before = await eventsOf();
  const [first] = await alertsOf(url, { salvor_id: id });
  await herald({ raise: [alertOf({ startsAt: '2026-01-31T12:00:00.000Z' })] });
  await eventually('it is heard', async () => (await eventsOf()) >= before + 4);
  expect(await eventsOf(), 'the signal and its workflow task, no activity').toBe(before + 4);
  expect((await alertsOf(url, { salvor_id: id }))[0]?.endsAt).toBe(first?.endsAt);
});

it('what is raised again with other labels, or as another alert, is ended as what it was', async () => {
  await herald({ raise: [alertOf({ alertname: 'SalvorApproval' })] });
  await seen(id);
  // The approval has expired, and a person is told: one order, in whichever order its parts are written.
  await herald({ raise: [alertOf()], clear: [id] });
  await eventually('one is there', async () => {
    const all = await alertsOf(url, { salvor_id: id });
    return all.length === 1 && all[0]?.labels['alertname'] === 'SalvorEscalation';
  });
  await herald({ raise: [alertOf({ labels: { test: id, severity: 'page' } })] });
  await eventually('it has the new labels', async () => {
    const all = await alertsOf(url, { salvor_id: id });
    return all.length === 1 && all[0]?.labels['severity'] === 'page';
  });
  await herald({ clear: [id] });
  expect(await ended()).toBe('COMPLETED');
  expect(await idsThere()).toEqual([]);
});

it('an escalation ends by itself when its target is well', async () => {
  const target = `k8s/prod/shop/pod/${id}`;
  await herald({ raise: [alertOf({ target }), alertOf({ id: `${id}-2` })] });
  await seen(id, `${id}-2`);
  well.add(target);
  await seen(`${id}-2`);
});

it('an approval that nobody gave ends at its time, and the herald with it', async () => {
  const approval = (ms: number) =>
    alertOf({ alertname: 'SalvorApproval', until: new Date(Date.now() + ms).toISOString() });
  await herald({ raise: [approval(3_600_000)] });
  await seen(id);
  // Nearer only now: one whose time is over is not posted at all.
  await herald({ raise: [approval(1_000)] });
  expect(await ended()).toBe('COMPLETED');
  expect(await idsThere()).toEqual([]);
});

it('a change costs twelve events, and many at once cost little more', async () => {
  await herald({ raise: [alertOf()] });
  await seen(id);
  const before = await eventsOf();
  await herald({ raise: [alertOf({ id: `${id}-2` })] });
  await seen(id, `${id}-2`);
  const one = (await eventsOf()) - before;
  expect(one).toBe(12);
  const many = Array.from({ length: 100 }, (_, at) => alertOf({ id: `${id}-many-${at}` }));
  await Promise.all(many.map((alert) => herald({ raise: [alert] })));
  await seen(id, `${id}-2`, ...many.map((alert) => alert.id));
  // A signal is an event; what it makes the workflow do is shared.
  const burst = (await eventsOf()) - before - one;
  // Where they come one by one, each has a workflow task of its own, but never an activity.
  expect(burst, 'measured: 110').toBeLessThan(many.length * 6);
});

it('of more than 500 the oldest are ended, and the newest are heard', async () => {
  const raise = Array.from({ length: 520 }, (_, at) => alertOf({ id: `${id}-${String(at).padStart(3, '0')}` }));
  await herald({ raise: raise.slice(0, 260) });
  await herald({ raise: raise.slice(260) });
  await seen(...raise.slice(20).map((alert) => alert.id));
});

it('a run that has grown long is continued as new with all that is open', async () => {
  const order = { raise: [alertOf()] };
  await herald(order);
  await herald({ raise: [alertOf({ id: `${id}-2` })] });
  await seen(id, `${id}-2`);
  const handle = client.workflow.getHandle(HERALD_ID);
  const { runId } = await handle.describe();
  await Promise.all(Array.from({ length: SUGGESTED }, () => herald(order)));
  await eventually('another run', async () => (await handle.describe()).runId !== runId);
  await herald({ clear: [id], raise: [alertOf({ id: `${id}-3` })] });
  await seen(`${id}-2`, `${id}-3`);
});

it('cancelled, it ends, and the next order begins anew', async () => {
  await herald({ raise: [alertOf()] });
  await seen(id);
  const handle = client.workflow.getHandle(HERALD_ID);
  await handle.cancel();
  await expect(handle.result()).rejects.toMatchObject({ cause: expect.any(CancelledFailure) });
  await herald({ raise: [alertOf({ id: `${id}-2` })] });
  await seen(id, `${id}-2`);
});
