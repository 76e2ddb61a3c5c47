import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { remediationId } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { type Moto, startMoto } from '../../sandbox/moto.ts';
import type { Component } from '../../sandbox/processes.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { salvor } from '../cli/salvor.ts';
import { REGION, TestAws } from '../support/aws.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import { startWorkerProcess } from '../support/worker.ts';
import { Exporter } from './exporter.ts';
import { Queue } from './queue.ts';

/** The whole way of an Auto Scaling group: its instances work on a queue that Prometheus scrapes; the proxy is the witness. */
const exporter = new Exporter();
let sandbox: Sandbox<'temporal' | 'prometheus'>;
let moto: Moto;
let aws: TestAws;
let client: Client;
let configFile: string;
let worker: Component | undefined;
let queue: Queue | undefined;
let workers = 0;

const PATIENCE = 90_000;
const BOUND = 8_000;
const PER_INSTANCE = 20;
const [BASE, RUSH] = [20, 90];

beforeAll(async () => {
  await exporter.listen();
  sandbox = await startSandbox({
    parts: ['temporal', 'prometheus'],
    temporal: { headless: true },
    prometheus: { scrape: [{ job: 'app', targets: [exporter.address] }], rules: [] },
  });
  moto = await startMoto({ folder: join(sandbox.folder, 'moto') });
  aws = new TestAws(moto);
  client = new Client({ connection: await connectTo(sandbox.temporal.address) });
  configFile = join(sandbox.folder, 'salvor.yaml');
  const config = {
    temporal: { address: sandbox.temporal.address },
    audit: { url: 'file:./audit.db' },
    prometheus: { url: sandbox.prometheus.url },
    aws: [{ name: 'main', region: REGION, endpoint: moto.url }],
    rules: [
      {
        name: 'unused',
        match: ['alertname="Unused"'],
        runbook: 'scale-on-backlog',
        target: 'asg/main/${labels.group}',
        with: { backlog: { items: { promql: 'queue_length' } }, max: 6 },
      },
    ],
  };
  await writeFile(configFile, JSON.stringify(config));
  await startWorker();
});
afterAll(async () => {
  queue?.stop();
  await worker?.stop();
  aws?.close();
  await client?.connection.close();
  await moto?.stop();
  await sandbox?.stop();
  await exporter.close();
});

async function startWorker(): Promise<void> {
  workers += 1;
  const env = { AWS_ACCESS_KEY_ID: 'salvor', AWS_SECRET_ACCESS_KEY: 'salvor' };
  worker = await startWorkerProcess({ configFile, logFile: join(sandbox.folder, `worker-${workers}.log`), env });
}

test('a group grows with its backlog, though the worker is killed, and has its size again when it is over', async () => {
  const { name } = await aws.group({ min: 1, desired: 2, max: 6 });
  const inService = async () => Object.values(await aws.states(name)).filter((state) => state === 'InService').length;
  queue = new Queue({ labels: { group: name }, workers: inService, perWorker: PER_INSTANCE });
  const { metrics } = { metrics: () => queue?.metrics() ?? [] };
  exporter.others.push(metrics);
  await eventually('two instances work', () => queue?.ready === 2, PATIENCE);
  queue.arrivalRate = RUSH;

  const group = '{group="${group}"}';
  const options = {
    'backlog.items.promql': `queue_length${group}`,
    'backlog.arrivals.promql': `queue_arrivals_total${group}`,
    'backlog.served.promql': `queue_served_total${group}`,
    'backlog.drainWithin': '10s',
    ...{ max: '20', startUp: '2s', every: '1s', goodFor: '15s' },
    'behavior.scaleDown.stabilizationWindow': '5s',
  };
  const withs = Object.entries(options).flatMap(([key, value]) => ['--with', `${key}=${value}`]);
  const target = `asg/main/${name}`;
  const begun = await salvor(['--config', configFile, 'run', 'scale-on-backlog', target, '--mode', 'act', ...withs]);
  expect(begun.status, begun.stderr).toBe(0);

  await eventually('more instances work', () => (queue?.ready ?? 0) > 2, PATIENCE);
  await worker?.kill();
  await startWorker();
  await eventually(
    'they keep up with it',
    () => queue !== undefined && queue.ready * PER_INSTANCE >= RUSH && queue.waiting < RUSH,
    PATIENCE,
  );
  queue.arrivalRate = BASE;

  const ending: Ending = await client.workflow.getHandle(remediationId(target)).result();
  expect(ending).toMatchObject({ outcome: 'remediated' });
  expect(queue.worst).toBeLessThan(BOUND);
  expect(await aws.read(name)).toMatchObject({ desired: 2 });
  expect(await aws.notes(name)).toEqual({});
  const set = moto.proxy.mutations('salvor', name).filter((one) => one.startsWith('SetDesiredCapacity'));
  // That nothing holds it any more is on record too, and is no change of its size.
  const sizes = ending.changes
    .filter(({ field, before, after }) => field === 'DesiredCapacity' && before !== after)
    .map(({ after }) => after);
  expect(set, 'each change is made once').toEqual(sizes.map((size) => `SetDesiredCapacity ${size}`));
  expect(Math.max(...sizes.map(Number))).toBeLessThanOrEqual(6);
  expect(sizes.at(-1)).toBe(2);
});
