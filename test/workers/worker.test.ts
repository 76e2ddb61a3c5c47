import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, type Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AuditStoreOptions } from '../../audit/store.ts';
import { makeBatch, requestRun } from '../../cli/request.ts';
import { listRuns } from '../../cli/runs.ts';
import { type Config, parseConfig } from '../../model/config.ts';
import { SEARCH_ATTRIBUTES, watchQueue } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';

const KEYWORD = 2;

let sandbox: Sandbox<'temporal'>;
let connection: Connection;
const workers: RunningWorker[] = [];
let audit: AuditStoreOptions;

beforeAll(async () => {
  // A server that has never heard of Salvor.
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { searchAttributes: [] } });
  connection = await connectTo(sandbox.temporal.address);
  audit = { url: `file:${join(sandbox.folder, 'audit.db')}` };
});
afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.stop())));
afterAll(async () => {
  await connection?.close();
  await sandbox?.stop();
});

function configure(namespace: string, more = ''): Config {
  const text = `temporal: { address: ${sandbox.temporal.address}, namespace: ${namespace} }\n${more}`;
  const parsed = parseConfig(text, 'salvor.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

async function createNamespace(): Promise<string> {
  const namespace = `workers-${randomUUID().slice(0, 8)}`;
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  await eventually('the namespace is known', () => attributesOf(namespace).then(() => true));
  return namespace;
}

const attributesOf = async (namespace: string): Promise<Record<string, unknown>> =>
  (await connection.operatorService.listSearchAttributes({ namespace })).customAttributes;

/** Starts a worker; answers what it logged at `warn` and above. */
async function start(config: Config): Promise<{ worker: RunningWorker; warnings: string[] }> {
  const warnings: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => warnings.push(line) });
  const worker = await startWorker({ config, audit, logger });
  workers.push(worker);
  return { worker, warnings };
}

/** Asks for a run that ends at once, for the worker has no such cluster; what the gates cannot read is no reason to refuse it. */
async function runOnce(config: Config): Promise<{ client: Client; runId: string }> {
  const client = new Client({ connection, namespace: config.temporal.namespace });
  const asking = configure(
    config.temporal.namespace,
    'clusters: [{ name: elsewhere }]\ndefaults: { gates: { failClosed: false } }',
  );
  const target = `k8s/elsewhere/shop/pod/web-${randomUUID().slice(0, 8)}`;
  const updateId = randomUUID();
  const order = { runbook: 'drain-instance', target, with: {}, mode: 'act' as const };
  const batch = makeBatch(asking, { order, updateId, chosen: false, by: 'person:test' });
  const { remediation } = await requestRun(client, config.temporal.taskQueue, batch, updateId);
  return { client, runId: remediation!.runId };
}

describe('the worker', () => {
  it('registers the search attributes that are missing, and runs carry them', async () => {
    const config = configure(await createNamespace());
    const { worker } = await start(config);
    expect(worker.searchAttributes).toBe(true);
    expect(await attributesOf(config.temporal.namespace)).toMatchObject(
      Object.fromEntries(SEARCH_ATTRIBUTES.map((name) => [name, KEYWORD])),
    );

    const { client, runId } = await runOnce(config);
    await eventually('it is found by its attributes', async () => {
      const query = `SalvorRule = 'run:drain-instance' AND SalvorOutcome = 'failed'`;
      for await (const run of client.workflow.list({ query })) if (run.runId === runId) return true;
      return false;
    });
  });

  it('does without them where the server takes no more, says so once, and runs are listed all the same', async () => {
    const config = configure(await createNamespace());
    const { namespace } = config.temporal;
    // All that this kind of server has room for.
    const others = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`Other${i}`, KEYWORD]));
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: others });

    const { worker, warnings } = await start(config);
    expect(worker.searchAttributes).toBe(false);
    expect(warnings.filter((line) => line.includes('temporal operator search-attribute create'))).toHaveLength(1);

    const { client, runId } = await runOnce(config);
    const filter = { rule: 'run:drain-instance', outcome: 'failed' };
    const runs = await eventually('it is listed', async () => {
      const found = await listRuns(client, filter, 10);
      return found.length > 0 && found;
    });
    expect(runs).toMatchObject([{ id: runId, reason: expect.stringContaining('no cluster "elsewhere"') }]);
    expect(await listRuns(client, { ...filter, outcome: 'remediated' }, 10)).toEqual([]);
  });

  it('polls waits on a queue of their own, and stops cleanly', async () => {
    const config = configure(await createNamespace());
    const { worker } = await start(config);
    const { namespace, taskQueue } = config.temporal;
    const pollers = async (name: string, kind: number): Promise<number> => {
      const request = { namespace, taskQueue: { name }, taskQueueType: kind };
      return (await connection.workflowService.describeTaskQueue(request)).pollers?.length ?? 0;
    };
    const [WORKFLOWS, ACTIVITIES] = [1, 2];
    await eventually('workflows are polled', async () => (await pollers(taskQueue, WORKFLOWS)) > 0);
    await eventually('activities are polled', async () => (await pollers(taskQueue, ACTIVITIES)) > 0);
    await eventually('waits are polled', async () => (await pollers(watchQueue(taskQueue), ACTIVITIES)) > 0);
    // Limits and budgets: responders wait for their answers within workflow tasks of the other queue.
    await eventually('entities are polled', async () => (await pollers(watchQueue(taskQueue), WORKFLOWS)) > 0);
    await worker.stop();
    await expect(worker.done).resolves.toBeUndefined();
  });

  it('says at its start which cluster cannot be used and why, and stays up', async () => {
    const more = 'clusters: [{ name: none, kubeconfig: /none/kubeconfig }]';
    const { worker, warnings } = await start(configure(await createNamespace(), more));
    const said = await eventually('it says so', () => warnings.find((line) => line.includes('"cluster":"none"')));
    expect(JSON.parse(said)).toMatchObject({
      level: 50,
      kubeconfig: '/none/kubeconfig',
      reason: expect.stringContaining('cannot read its kubeconfig'),
    });
    await worker.stop();
  });

  it('says where a bundle that it is given is not there', async () => {
    const logger = pino({ level: 'silent' });
    const starting = startWorker({ config: configure('default'), audit, logger, bundlePath: '/none/bundle.js' });
    await expect(starting).rejects.toThrow('/none/bundle.js');
  });
});
