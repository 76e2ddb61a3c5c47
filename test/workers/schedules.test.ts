import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, type Connection, ScheduleNotFoundError } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Config, parseConfig } from '../../model/config.ts';
import { SEARCH_ATTRIBUTES } from '../../model/names.ts';
import { tickOf } from '../../model/routing.ts';
import type { TickInput } from '../../model/tick.ts';
import { keepSchedule } from '../../providers/temporal/schedules.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';

let sandbox: Sandbox<'temporal'>;
let connection: Connection;
const workers: RunningWorker[] = [];

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { searchAttributes: SEARCH_ATTRIBUTES } });
  connection = await connectTo(sandbox.temporal.address);
});
afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.stop())));
afterAll(async () => {
  await connection?.close();
  await sandbox?.stop();
});

const clientOf = (namespace: string): Client => new Client({ connection, namespace });

async function createNamespace(): Promise<string> {
  const namespace = `schedules-${randomUUID().slice(0, 8)}`;
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  const known = () => connection.operatorService.listSearchAttributes({ namespace }).then(() => true);
  await eventually('the namespace is known', known);
  return namespace;
}

interface Rule {
  name: string;
  schedule?: string;
  target?: string;
  more?: string;
}

function configure(namespace: string, rules: Rule[], taskQueue = 'salvor'): Config {
  const text = `
temporal: { address: ${sandbox.temporal.address}, namespace: ${namespace}, taskQueue: ${taskQueue} }
clusters: [{ name: none, kubeconfig: /none/kubeconfig }]
defaults: { gates: { failClosed: false, cooldown: 0s } }
rules:${rules
    .map(
      ({ name, schedule, target = `k8s/none/shop/pod/${name}`, more = '' }) => `
  - name: ${name}
    runbook: drain-instance
    target: ${target}
    ${schedule === undefined ? `match: ['alertname="Any"']` : `schedule: ${schedule}`}
    ${more}`,
    )
    .join('')}
`;
  const parsed = parseConfig(text, 'salvor.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

/** Starts a worker; answers what it logs of rules, at `info` and above. */
async function start(config: Config, configuredAt?: number) {
  const said: { rule: string; msg: string; reason?: string; level: number }[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => said.push(JSON.parse(line)) });
  const audit = { url: `file:${join(sandbox.folder, `audit-${randomUUID()}.db`)}` };
  const worker = await startWorker({ config, configuredAt, audit, logger });
  workers.push(worker);
  const hears = (rule: string, words: string) =>
    eventually(`it says ${words} of ${rule}`, () => said.find((one) => one.rule === rule && one.msg.includes(words)));
  return { worker, said, hears };
}

async function stop(worker: RunningWorker): Promise<void> {
  workers.splice(workers.indexOf(worker), 1);
  await worker.stop();
}

const idsOf = async (client: Client): Promise<string[]> => {
  const ids: string[] = [];
  for await (const { scheduleId } of client.schedule.list()) ids.push(scheduleId);
  return ids.sort();
};

const inputOf = async (client: Client, id: string): Promise<TickInput> => {
  const { action } = await client.schedule.getHandle(id).describe();
  return action.args?.[0] as TickInput;
};

async function runsOf(client: Client, query: string) {
  const runs = [];
  for await (const run of client.workflow.list({ query })) runs.push(run);
  return runs;
}

describe('the schedules in Temporal', () => {
  it('are those of the configuration: created, changed, and removed with a notice', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const first = await start(
      configure(namespace, [
        { name: 'often', schedule: 'every 1h' },
        { name: 'nightly', schedule: '0 3 * * MON-FRI Europe/Berlin' },
        { name: 'alerts' },
      ]),
    );
    await first.hears('often', 'created');
    await first.hears('nightly', 'created');
    expect(await client.schedule.getHandle('tick/often').describe()).toMatchObject({
      spec: { intervals: [{ every: 3_600_000 }], jitter: 30_000 },
      policies: { overlap: 'SKIP', catchupWindow: 3_600_000 },
      action: { workflowType: 'tick', workflowId: 'tick/often', taskQueue: 'salvor' },
      memo: { salvorTaskQueue: 'salvor' },
    });
    const nightly = await client.schedule.getHandle('tick/nightly').describe();
    expect(nightly.spec).toMatchObject({ timezone: 'Europe/Berlin', calendars: [{ hour: [{ start: 3 }] }] });
    await expect(client.schedule.getHandle('tick/alerts').describe()).rejects.toThrow(ScheduleNotFoundError);
    await eventually('they are listed', async () => (await idsOf(client)).length === 2);
    await stop(first.worker);

    const config = configure(namespace, [
      { name: 'often', schedule: 'every 2h', more: 'mode: act' },
      { name: 'nightly' },
    ]);
    const second = await start(config);
    await second.hears('often', 'changed');
    expect(await second.hears('nightly', 'removed')).toMatchObject({ level: 40 });
    const often = await client.schedule.getHandle('tick/often').describe();
    expect(often.spec.intervals).toMatchObject([{ every: 7_200_000 }]);
    const [rule] = config.rules;
    expect(await inputOf(client, 'tick/often')).toEqual(rule && tickOf(rule, config));
    await expect(client.schedule.getHandle('tick/nightly').describe()).rejects.toThrow(ScheduleNotFoundError);
    expect(second.said.filter(({ msg }) => msg.includes('created'))).toEqual([]);
  });

  it('of others are left alone, and a name that is taken is said', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const action = { type: 'startWorkflow' as const, workflowType: 'theirs', taskQueue: 'theirs' };
    const create = (scheduleId: string, memo = {}) =>
      client.schedule.create({ scheduleId, spec: { intervals: [{ every: '1d' }] }, action, memo });
    await create('backup');
    await create('tick/by-hand');
    await create('tick/other', { salvorTaskQueue: 'other' });
    await create('tick/gone', { salvorTaskQueue: 'salvor' });
    await eventually('they are listed', async () => (await idsOf(client)).length === 4);

    const { hears } = await start(
      configure(namespace, [
        { name: 'by-hand', schedule: 'every 1h' },
        { name: 'other', schedule: 'every 1h' },
        { name: 'own', schedule: 'every 1h' },
      ]),
    );
    await hears('own', 'created');
    await hears('gone', 'removed');
    expect(await hears('by-hand', 'does not begin by its schedule')).toMatchObject({
      level: 50,
      reason: expect.stringContaining("not of Salvor's making"),
    });
    expect(await hears('other', 'does not begin by its schedule')).toMatchObject({
      reason: expect.stringContaining('the task queue other'),
    });
    await eventually('the others are there', async () => {
      const ids = await idsOf(client);
      return ids.join() === 'backup,tick/by-hand,tick/other,tick/own';
    });
    const theirs = await client.schedule.getHandle('tick/other').describe();
    expect(theirs.action).toMatchObject({ workflowType: 'theirs' });
  });

  it('are written once by several workers at once, and by whoever starts last where they differ', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const rules = Array.from({ length: 5 }, (_, i) => ({ name: `rule-${i}`, schedule: 'every 1h' }));
    const config = configure(namespace, rules);
    const all = await Promise.all([start(config), start(config), start(config)]);
    await eventually('all is there', async () => (await idsOf(client)).length === rules.length);
    for (const { worker } of all) await stop(worker);
    const said = all.flatMap((one) => one.said).filter(({ level, rule }) => rule !== undefined && level >= 30);
    expect(
      said
        .filter(({ msg }) => msg.includes('created'))
        .map(({ rule }) => rule)
        .sort(),
    ).toEqual(rules.map(({ name }) => name));
    expect(said.filter(({ msg }) => !msg.includes('created'))).toEqual([]);

    const older = await start(configure(namespace, [{ name: 'rule-0', schedule: 'every 3h' }]));
    await older.hears('rule-0', 'changed');
    const newer = await start(configure(namespace, [{ name: 'rule-0', schedule: 'every 4h' }]));
    await newer.hears('rule-0', 'changed');
    const { spec } = await client.schedule.getHandle('tick/rule-0').describe();
    expect(spec.intervals).toMatchObject([{ every: 14_400_000 }]);
  });

  it('are those of the newest file, whenever which worker is started; an older one that is written anew has its way again', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const everyOf = async (rule: string) => {
      const { spec } = await client.schedule.getHandle(`tick/${rule}`).describe();
      return spec.intervals?.[0]?.every;
    };
    const [hour, day] = [3_600_000, 86_400_000];
    const older = configure(namespace, [
      { name: 'often', schedule: 'every 1h' },
      { name: 'same', schedule: 'every 1h' },
      { name: 'gone', schedule: 'every 1h' },
    ]);
    const newer = configure(namespace, [
      { name: 'often', schedule: 'every 1d' },
      { name: 'same', schedule: 'every 1h' },
      { name: 'more', schedule: 'every 1d' },
    ]);
    const first = await start(older, 1_000);
    for (const rule of ['often', 'same', 'gone']) await first.hears(rule, 'created');
    await eventually('they are listed', async () => (await idsOf(client)).length === 3);
    await stop(first.worker);
    const second = await start(newer, 2_000);
    await second.hears('often', 'changed');
    await second.hears('more', 'created');
    await second.hears('gone', 'removed');
    await eventually('they are listed', async () => (await idsOf(client)).includes('tick/more'));
    await stop(second.worker);

    const again = await start(older, 1_000);
    expect(await again.hears('often', 'a newer file')).toMatchObject({ level: 40 });
    await again.hears('gone', 'a newer file');
    await again.hears('more', 'stays');
    expect([await everyOf('often'), await everyOf('same'), await everyOf('more')]).toEqual([day, hour, day]);
    await expect(client.schedule.getHandle('tick/gone').describe()).rejects.toThrow(ScheduleNotFoundError);
    expect(again.said.filter(({ rule }) => rule === 'same')).toEqual([]);
    await stop(again.worker);

    const back = await start(older, 3_000);
    await back.hears('often', 'changed');
    await back.hears('gone', 'created');
    await back.hears('more', 'removed');
    expect([await everyOf('often'), await everyOf('same'), await everyOf('gone')]).toEqual([hour, hour, hour]);
  });

  it('stay paused where a person has paused them in Temporal, and what he changed is written anew', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const config = configure(namespace, [{ name: 'often', schedule: 'every 1h' }]);
    const first = await start(config);
    await first.hears('often', 'created');
    await stop(first.worker);
    const handle = client.schedule.getHandle('tick/often');
    await handle.update(({ action, state }) => ({ action, state, spec: { intervals: [{ every: '5d' }] } }));
    await handle.pause('looked at by ada');
    await start(config);
    await eventually('it is as configured, and paused', async () => {
      const { spec, state } = await handle.describe();
      return spec.intervals?.[0]?.every === 3_600_000 && state.paused && state.note === 'looked at by ada';
    });
  });

  it('take all that the configuration takes for cron', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const crons = [
      '* * * * *',
      '*/5 * * * *',
      '1-5 * * * *',
      '5/20 0-23/2 * * *',
      '0,15,30 1,2 1-7 jan-MAR,12 *',
      '0 3 29 2 *',
      '59 23 31 12 7',
      '0 0 * * 0',
      '0 0 * * SUN,mon-Wed,6-7',
      '0 3 * * * America/Argentina/Buenos_Aires',
    ];
    for (const [i, cron] of crons.entries()) {
      const config = configure(namespace, [{ name: `cron-${i}`, schedule: `'${cron}'` }]);
      const [rule] = config.rules;
      const tick = rule && tickOf(rule, config);
      if (!rule?.schedule || !tick) throw new Error(`no schedule is made of ${cron}`);
      const wanted = { rule: rule.rule.name, schedule: rule.schedule, tick, digest: '' };
      expect(await keepSchedule({ client, taskQueue: 'salvor' }, wanted), cron).toBe('created');
      const { info } = await client.schedule.getHandle(`tick/cron-${i}`).describe();
      expect(info.nextActionTimes.length, cron).toBeGreaterThan(0);
    }
  });
});

describe('a time of a schedule', () => {
  it('begins a remediation, by the same way as an alert', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const target = 'k8s/none/shop/pod/web-0';
    const rule = { name: 'often', schedule: '{ every: 1s, jitter: 0s }', target, more: 'mode: act' };
    await start(configure(namespace, [rule]));
    const [run] = await eventually('a remediation has ended', async () => {
      const query = `WorkflowType = 'remediation' AND SalvorRule = 'often' AND ExecutionStatus != 'Running'`;
      const runs = await runsOf(client, query);
      return runs.length > 0 && runs;
    });
    expect(run?.workflowId).toBe(`remediation/${target}`);
    const [tick] = await runsOf(client, `WorkflowType = 'tick' AND ExecutionStatus = 'Completed'`);
    expect(tick?.workflowId).toMatch(/^tick\/often-\d{4}-/);
    // What it costs.
    expect(tick?.historyLength).toBeLessThanOrEqual(6);
    const { request } = await inputOf(client, 'tick/often');
    const begun = await client.workflow.getHandle(run!.workflowId, run!.runId).fetchHistory();
    const started = JSON.stringify(begun.events?.[0]?.workflowExecutionStartedEventAttributes?.input);
    expect(Buffer.from(JSON.parse(started).payloads[0].data, 'base64').toString()).toContain(request.fingerprint);
  });

  it('that nobody could hand over is made up for once, for the time at which it was due', async () => {
    const namespace = await createNamespace();
    const client = clientOf(namespace);
    const config = configure(namespace, [{ name: 'often', schedule: '{ every: 1s, jitter: 0s }' }]);
    const first = await start(config);
    await eventually('one has ended', async () => {
      return (await runsOf(client, `WorkflowType = 'tick' AND ExecutionStatus = 'Completed'`)).length > 0;
    });
    await stop(first.worker);
    const handle = client.schedule.getHandle('tick/often');
    const skipped = async () => (await handle.describe()).info.numActionsSkippedOverlap;
    const before = await skipped();
    await eventually('some are dropped', async () => (await skipped()) >= before + 3);
    const open = await runsOf(client, `WorkflowType = 'tick' AND ExecutionStatus = 'Running'`);
    expect(open).toHaveLength(1);
    await start(config);
    const ended = await eventually('it is handed over', async () => {
      const found = await client.workflow.getHandle(open[0]!.workflowId, open[0]!.runId).describe();
      return found.status.name === 'COMPLETED' && found;
    });
    const [due] = ended.searchAttributes['TemporalScheduledStartTime'] as Date[];
    const responders = await runsOf(client, `WorkflowType = 'responder'`);
    const heard: string[] = [];
    for (const { workflowId, runId } of responders) {
      const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      for (const event of events ?? []) {
        const [payload] = event.workflowExecutionSignaledEventAttributes?.input?.payloads ?? [];
        if (payload?.data) heard.push(Buffer.from(payload.data).toString());
      }
    }
    expect(heard.filter((one) => one.includes(`"startsAt":"${due?.toISOString()}"`))).toHaveLength(1);
  });
});
