import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Client, type Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import { loadConfig } from '../../cli/configuration.ts';
import type { Tally } from '../../cli/replaying.ts';
import { makeBatch, requestRun } from '../../cli/request.ts';
import type { Config } from '../../model/config.ts';
import { responderId, runRule } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { startWorker } from '../../workers/worker.ts';
import { eventWith, FOLDER, files, fresh, startOf } from '../replay/recorded.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import { type Ended, salvor } from './salvor.ts';

let sandbox: Sandbox<'temporal'>;
let connection: Connection;
let folder: string;
let configFile: string;
/** A run that Temporal has. */
let run: { workflowId: string; runId: string };
const target = `k8s/elsewhere/shop/pod/web-${randomUUID().slice(0, 8)}`;
const kept = fresh('drain-instance-remediated');

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-replay-'));
  sandbox = await startSandbox({ parts: ['temporal'] });
  connection = await connectTo(sandbox.temporal.address);
  configFile = join(folder, 'salvor.yaml');
  const audit = { url: `file:${join(folder, 'audit.db')}` };
  const settings = { temporal: { address: sandbox.temporal.address }, audit };
  // A cluster that only the one who asks knows: so the remediation ends at once. The gates cannot read it either.
  const elsewhere = { clusters: [{ name: 'elsewhere' }], defaults: { gates: { failClosed: false } } };
  const asking = await configured('asking.yaml', { ...settings, ...elsewhere });
  configFile = join(folder, 'salvor.yaml');
  const config = await configured('salvor.yaml', settings);
  const worker = await startWorker({ config, audit, logger: pino({ level: 'silent' }) });
  const client = new Client({ connection });
  const updateId = randomUUID();
  const order = { runbook: 'drain-instance', target, with: {}, mode: 'act' as const };
  const batch = makeBatch(asking, { order, updateId, chosen: false, by: 'person:test' });
  const { remediation } = await requestRun(client, config.temporal.taskQueue, batch, updateId);
  run = remediation!;
  await client.workflow
    .getHandle(run.workflowId, run.runId)
    .result()
    .catch(() => 'failed, as it should');
  await eventually(
    'both are listed',
    async () => (await client.workflow.count('WorkflowType IS NOT NULL')).count === 2,
  );
  await worker.stop();
  await keep(audit.url);
});
afterAll(async () => {
  await connection?.close();
  await sandbox?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function configured(name: string, settings: object): Promise<Config> {
  const file = join(folder, name);
  await writeFile(file, JSON.stringify(settings));
  return (await loadConfig({ config: { file, named: true } })).config;
}

/** Puts a recorded run, of which this Temporal knows nothing, into the audit store. */
async function keep(url: string): Promise<void> {
  const store = await openAuditStore({ url });
  const { firstExecutionRunId: id, workflowId } = startOf(kept);
  const at = new Date().toISOString();
  const notes = [
    { key: '1', at, entry: { kind: 'ended' as const, outcome: 'remediated' as const, reason: 'a test', lines: [] } },
  ];
  const stream = {
    id,
    kind: 'remediation' as const,
    workflowId,
    rule: 'replaced',
    scope: 'history',
    target: workflowId.replace('remediation/', ''),
  };
  await store.append({ stream, notes });
  await store.keepHistory(id, { json: JSON.stringify({ events: kept.events }), events: kept.events.length });
  await store.close();
}

const replay = (...args: string[]): Promise<Ended> => salvor(['--config', configFile, 'replay', ...args]);
async function replayed(...args: string[]): Promise<{ status: number | null; tally: Tally }> {
  const { status, stdout, stderr } = await replay('--json', ...args);
  expect(stderr).toBe('');
  return { status, tally: JSON.parse(stdout) as Tally };
}

describe('salvor replay of files', () => {
  it('replays all of a folder, also of those in it, and exits 0 where all go the same way', async () => {
    const { status, tally } = await replayed('--dir', FOLDER, '--jobs', '2');
    expect(tally).toMatchObject({ replayed: files.length, same: files.length, others: [] });
    expect(status).toBe(0);
  });

  it('names workflow, event and step where one diverges, and exits 1', async () => {
    const tampered = fresh('drain-instance-recovered');
    const scheduled = eventWith(tampered, 'activityTaskScheduledEventAttributes');
    scheduled.activityTaskScheduledEventAttributes.activityType.name = 'slash';
    const dir = join(folder, 'tampered');
    await mkdir(dir);
    await writeFile(join(dir, 'tampered.json'), JSON.stringify(tampered));
    await writeFile(join(dir, 'other.json'), '{"name": "not a history"}');
    await cp(join(FOLDER, kept.file), join(dir, basename(kept.file)));
    const { status, stdout } = await replay('--dir', dir);
    expect(stdout).toContain(
      `diverges ${startOf(tampered).workflowId} (tampered.json) at event ${scheduled.eventId} ActivityTaskScheduled, step slash (cut its traffic)\n` +
        '  history: schedules the activity slash (cut its traffic)\n' +
        '  code:    schedules the activity cut\n',
    );
    expect(stdout).toContain('(other.json)\n  Invalid history');
    expect(stdout).toMatch(/3 histories replayed in [\d.]+ s: 1 the same, 1 diverging, 1 unreadable\n$/);
    expect(status).toBe(1);
  });
});

describe('salvor replay of runs', () => {
  it('takes them from Temporal: by ID, by target, by Workflow ID, and all since a time', async () => {
    const responder = responderId(runRule('drain-instance'), 'elsewhere/shop');
    const { status, tally } = await replayed(run.runId.slice(0, 18), target, responder);
    expect(tally).toMatchObject({ replayed: 3, same: 3 });
    expect(status).toBe(0);
    expect(await replayed('--since', '1h')).toMatchObject({ status: 0, tally: { replayed: 2, same: 2 } });
  });

  it('takes from the audit store what Temporal has forgotten, beside what it has', async () => {
    const { firstExecutionRunId: forgotten } = startOf(kept);
    expect(await replayed(forgotten, target)).toMatchObject({ status: 0, tally: { replayed: 2, same: 2 } });
    const { status, stderr } = await replay('00000000-dead');
    expect(stderr).toContain('neither Temporal nor the audit store has a run "00000000-dead"');
    expect(status).toBe(1);
  });

  it('takes all of the audit store without Temporal', async () => {
    const alone = join(folder, 'alone.yaml');
    const config = JSON.parse(await readFile(configFile, 'utf8')) as object;
    await writeFile(alone, JSON.stringify({ ...config, temporal: { address: '127.0.0.1:9' } }));
    const ended = await salvor(['--config', alone, '--json', 'replay', '--from-audit']);
    expect(JSON.parse(ended.stdout)).toMatchObject({ others: [] });
    expect((JSON.parse(ended.stdout) as Tally).same).toBeGreaterThanOrEqual(1);
    expect(ended.status).toBe(0);
    expect(await salvor(['--config', alone, 'replay', '--since', '1h'])).toMatchObject({
      status: 4,
      stderr: expect.stringContaining('Temporal at 127.0.0.1:9 cannot be reached'),
    });
  });
});

it('says what is wrong with what it is asked for', async () => {
  for (const args of [
    [],
    ['--dir', join(folder, 'none')],
    ['--dir', folder, '--since', '1h'],
    ['abc'],
    ['--since', 'x'],
  ]) {
    const { status, stderr } = await replay(...args);
    expect(stderr, args.join(' ')).not.toBe('');
    expect(status, args.join(' ')).toBe(2);
  }
});
