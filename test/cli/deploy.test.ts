import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, type Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../cli/configuration.ts';
import { makeBatch } from '../../cli/request.ts';
import type { Config } from '../../model/config.ts';
import { MESSAGE, responderId, runRule, WORKFLOW } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { type Build, bundleOf } from '../replay/builds/index.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import { type Ended, salvor } from './salvor.ts';

const RESPONDER = responderId(runRule('drain-instance'), 'elsewhere/shop');

let sandbox: Sandbox<'temporal'>;
let connection: Connection;
let folder: string;
const workers: RunningWorker[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-deploy-'));
  sandbox = await startSandbox({ parts: ['temporal'] });
  connection = await connectTo(sandbox.temporal.address);
});
afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.stop())));
afterAll(async () => {
  await connection?.close();
  await sandbox?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A configuration for a task queue and a deployment of its own; the worker knows no cluster, so a run ends at once. */
async function configured(): Promise<{ file: string; config: Config; deployment: string; queue: string }> {
  const queue = `deploy-${randomUUID().slice(0, 8)}`;
  const file = join(folder, `${queue}.yaml`);
  const namespace = queue;
  const workflowExecutionRetentionPeriod = { seconds: 86_400 as never };
  await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
  await eventually('the namespace is known', () => connection.workflowService.describeNamespace({ namespace }));
  await writeFile(
    file,
    JSON.stringify({
      temporal: { address: sandbox.temporal.address, namespace, taskQueue: queue },
      audit: { url: `file:./${queue}.db` },
    }),
  );
  const { config } = await loadConfig({ config: { file, named: true } });
  return { file, config, deployment: `salvor-${queue}`, queue };
}

async function start(config: Config, version?: { deployment: string; buildId: string }, build?: Build) {
  const bundlePath = build && join(folder, `${build}.js`);
  if (bundlePath) await writeFile(bundlePath, await bundleOf(build));
  const audit = { url: config.audit?.url ?? '' };
  const logger = pino({ level: 'silent' });
  const worker = await startWorker({ config, audit, logger, version, ...(bundlePath && { bundlePath }) });
  workers.push(worker);
  // A worker runs before the server has heard of its build.
  if (version)
    await eventually(`Temporal has seen build ${version.buildId}`, async () => {
      const request = { namespace: config.temporal.namespace, deploymentName: version.deployment };
      const { workerDeploymentInfo: info } = await connection.workflowService.describeWorkerDeployment(request);
      return info?.versionSummaries?.some(({ deploymentVersion }) => deploymentVersion?.buildId === version.buildId);
    });
  return worker;
}

/** A responder that has had something to do, and stays open for its cooldown. */
async function openResponder(config: Config): Promise<Client> {
  const { namespace, taskQueue } = config.temporal;
  const client = new Client({ connection, namespace });
  // No worker has this cluster: what its gates would ask of it cannot be read.
  const defaults = { gates: { ...config.defaults.gates, failClosed: false } };
  const asking = { ...config, defaults, clusters: [{ name: 'elsewhere' }] } as Config;
  const order = { runbook: 'drain-instance', target: 'k8s/elsewhere/shop/pod/web-0', with: {}, mode: 'act' as const };
  const batch = makeBatch(asking, { order, updateId: randomUUID(), chosen: false, by: 'person:test' });
  await client.workflow.signalWithStart(WORKFLOW.responder, {
    workflowId: RESPONDER,
    taskQueue,
    signal: MESSAGE.alerts,
    signalArgs: [batch],
    args: [{ rule: runRule('drain-instance'), scope: 'elsewhere/shop' }],
  });
  const isDone = `WorkflowType = 'remediation' AND ExecutionStatus != 'Running'`;
  await eventually('its remediation ended', async () => (await client.workflow.count(isDone)).count === 1);
  const isOpen = `WorkflowType = 'responder' AND ExecutionStatus = 'Running'`;
  await eventually('it is listed', async () => (await client.workflow.count(isOpen)).count === 1);
  return client;
}

const deploy = (file: string, ...args: string[]): Promise<Ended> => salvor(['--config', file, 'deploy', ...args]);

interface Status {
  builds: { buildId: string; state: string; openRuns: number }[];
  unversioned: { openRuns: number };
}
async function statusOf(file: string): Promise<Status> {
  const { stdout, status } = await deploy(file, 'status', '--json');
  expect(status).toBe(0);
  return JSON.parse(stdout) as Status;
}

it('the first build is promoted over workers without a version, once what is open goes the same way with it', async () => {
  const { file, config, deployment } = await configured();
  const promote = ['promote', '--deployment', deployment, '--build-id', 'one'];
  const early = await deploy(file, ...promote);
  expect(early.stderr).toContain(`Temporal has not seen a worker of build one of the deployment ${deployment}`);
  expect(early.status).toBe(1);

  const before = await start(config);
  await openResponder(config);
  await start(config, { deployment, buildId: 'one' });
  const promoted = await deploy(file, ...promote);
  expect(promoted.stderr).toBe('');
  expect(promoted.stdout).toMatch(
    new RegExp(
      `^1 history replayed in [\\d.]+ s: 1 the same\nbuild one of ${deployment} is current; before: unversioned workers\n$`,
    ),
  );
  expect(promoted.status).toBe(0);
  expect(await statusOf(file)).toMatchObject({ builds: [{ buildId: 'one', state: 'current' }] });
  expect((await deploy(file, ...promote)).stdout).toContain('is current already');
  await before.stop();
  workers.splice(workers.indexOf(before), 1);
});

it('a build that would break what is open is refused, with workflow, event and step; --force promotes it', async () => {
  const { file, config, deployment } = await configured();
  // Its responder begins with a timer, which the build of today knows nothing of.
  await start(config, { deployment, buildId: 'old' }, 'slower');
  await eventually('the first build is current', async () => {
    const request = { namespace: config.temporal.namespace, deploymentName: deployment, buildId: 'old' };
    await connection.workflowService.setWorkerDeploymentCurrentVersion(request);
    return true;
  });
  const client = await openResponder(config);
  await start(config, { deployment, buildId: 'new' });

  const refused = await deploy(file, 'promote', '--deployment', deployment, '--build-id', 'new');
  const { events } = await client.workflow.getHandle(RESPONDER).fetchHistory();
  const timer = events?.find((event) => event.timerStartedEventAttributes);
  expect(refused.stdout).toContain(`diverges ${RESPONDER}`);
  expect(refused.stdout).toContain(`at event ${timer?.eventId} TimerStarted, step timer\n  history: starts a timer\n`);
  expect(refused.stderr).toContain('not promoted: build new would break what is open. Nothing was changed.');
  expect(refused.status).toBe(1);
  const { builds, unversioned } = await eventually('its open run is counted', async () => {
    const now = await statusOf(file);
    return now.builds.some(({ openRuns }) => openRuns > 0) && now;
  });
  expect(builds).toContainEqual(expect.objectContaining({ buildId: 'old', state: 'current', openRuns: 1 }));
  expect(builds).toContainEqual(expect.objectContaining({ buildId: 'new', state: 'inactive', openRuns: 0 }));
  expect(unversioned).toEqual({ openRuns: 0 });

  const forced = await deploy(file, '--json', 'promote', '--deployment', deployment, '--build-id', 'new', '--force');
  expect(JSON.parse(forced.stdout)).toMatchObject({
    promoted: true,
    previous: 'old',
    replay: { replayed: 1, same: 0 },
  });
  expect(forced.status).toBe(0);
  const after = (await statusOf(file)).builds;
  expect(after).toContainEqual(expect.objectContaining({ buildId: 'new', state: 'current' }));
});

it('says what is wrong with what it is asked for', async () => {
  const { file } = await configured();
  const wrong = [
    ['promote', '--deployment', 'salvor'],
    ['promote', '--deployment', 'a.b', '--build-id', '1'],
  ];
  for (const args of wrong) expect(await deploy(file, ...args), args.join(' ')).toMatchObject({ status: 2 });
  const none = await deploy(file, 'status', '--deployment', 'none');
  expect(none.stderr).toContain('Temporal knows no deployment none');
  expect(none.status).toBe(1);
  const half = await salvor(['--config', file, 'worker', '--single', '--deployment', 'salvor']);
  expect(half.stderr).toContain('--deployment and --build-id belong together');
  expect(half.status).toBe(2);
});
