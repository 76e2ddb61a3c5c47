import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { deployment, nameOf, service, TestCluster } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { type Ended, salvor as invoke, type Staying, stay } from './salvor.ts';

/** One worker as in production, on a real cluster; every command is a process of its own, as a person types it. */
let sandbox: Sandbox<'temporal' | 'kubernetes'>;
let cluster: TestCluster;
let worker: Staying;
const folder = mkdtempSync(join(tmpdir(), 'salvor-runs-'));

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal', 'kubernetes'] });
  cluster = new TestCluster(sandbox.kubernetes);
  writeFileSync(
    join(folder, 'salvor.yaml'),
    `temporal: { address: ${sandbox.temporal.address} }
clusters: [{ name: sandbox, kubeconfig: ${sandbox.kubernetes.kubeconfig} }]
defaults: { gates: { maxInFlight: 10, cooldown: 0s } }
`,
  );
  worker = startWorker();
  await eventually('the worker is ready', () => worker.stderr().includes('worker is ready'));
});

afterAll(async () => {
  worker?.child.kill('SIGTERM');
  await worker?.ended;
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const startWorker = (): Staying => stay(['worker'], { cwd: folder });
const salvor = (...args: string[]): Promise<Ended> => invoke(args, { cwd: folder });

/** A deployment of two behind a Service; answers its namespace and the target of its first pod. */
async function workload(): Promise<{ namespace: string; pod: string; target: string }> {
  const namespace = await cluster.namespace('cli');
  await cluster.create(
    service(namespace, 'web', true),
    deployment({ namespace, name: 'web', replicas: 2, trafficLabel: true }),
  );
  const [pod] = await cluster.readyPods(namespace, 'web', 2);
  return { namespace, pod: nameOf(pod!), target: cluster.target(namespace, nameOf(pod!)) };
}

interface Row {
  id: string;
  target: string;
  rule: string;
  mode: string;
  outcome: string;
  reason?: string;
}

const list = async (...args: string[]): Promise<Row[]> => JSON.parse((await salvor('list', '--json', ...args)).stdout);

describe('salvor run', () => {
  it('only looks unless it is told to act, and exits by the outcome', async () => {
    const { namespace, pod, target } = await workload();
    const healthy = await salvor('run', 'drain-instance', target, '--wait');
    expect(healthy).toMatchObject({ status: 0 });
    expect(healthy.stdout).toContain('not-needed');

    await cluster.setUnready(namespace, pod, true);
    const sick = await salvor('run', 'drain-instance', target, '--wait');
    expect(sick).toMatchObject({ status: 0 });
    expect(sick.stderr).toContain('--mode act');
    expect(sick.stdout).toContain('observed');
    expect(await cluster.trafficLabel(namespace, pod)).toBe('on');

    const shown = await salvor('show', target);
    expect(shown.stdout).toContain('It would have');
  });

  it('given twice with one update ID acts once', async () => {
    const { namespace, pod, target } = await workload();
    await cluster.setUnready(namespace, pod, true);
    const order = [
      'run',
      'drain-instance',
      target,
      '--mode',
      'act',
      '--json',
      '-w',
      'recoverWithin=0s',
      '-w',
      'quietFor=0s',
    ];
    const once = [...order, '--update-id', `retry-${pod}`];
    const [first, second] = [await salvor(...once), await salvor(...once)];
    expect([first.status, second.status]).toEqual([0, 0]);
    const [one, two] = [JSON.parse(first.stdout), JSON.parse(second.stdout)];
    expect(two.remediation).toEqual(one.remediation);

    const watched = await salvor('watch', one.remediation.runId);
    expect(watched.stdout).toContain('remediated');
    expect(watched.status).toBe(0);
    const evictions = await sandbox.kubernetes.readAudit({ namespace, subresource: 'eviction' });
    expect(evictions).toHaveLength(1);
  });
});

describe('salvor list, show, watch and cancel', () => {
  it('tell of a run under way, stop it and undo what it did', async () => {
    const { namespace, pod, target } = await workload();
    await cluster.setUnready(namespace, pod, true);
    const started = await salvor('run', 'drain-instance', target, '--mode', 'act', '-w', 'recoverWithin=1h', '--json');
    const { runId } = JSON.parse(started.stdout).remediation as { runId: string };
    await eventually('the traffic is cut', async () => (await cluster.trafficLabel(namespace, pod)) !== 'on');

    const open = await eventually('it is listed', async () => {
      const rows = await list('--target', target, '--outcome', 'running');
      return rows.length === 1 && rows[0];
    });
    expect(open).toMatchObject({ id: runId, rule: 'run:drain-instance', mode: 'act' });
    const under = await salvor('show', runId.slice(0, 18));
    expect(under.stdout).toContain('running');
    expect(under.stdout).toContain('Still altered');
    const watching = stay(['watch', runId], { cwd: folder });
    await eventually('the watch shows the cut', () => watching.stdout().includes('traffic: label'));

    expect(await salvor('cancel', target, '--reason', 'a test')).toMatchObject({ status: 0 });
    expect(await watching.ended).toBe(1);
    expect(watching.stdout()).toContain('cancelled');
    expect(await cluster.trafficLabel(namespace, pod)).toBe('on');

    await eventually(
      'it is listed as cancelled',
      async () => (await list('--outcome', 'cancelled', '--target', target)).length === 1,
    );
    const again = await salvor('cancel', runId);
    expect(again.status).toBe(1);
    expect(again.stderr).toContain('has already ended: cancelled');
  });

  it('tell the story of an ended run without any worker', async () => {
    const { namespace, pod, target } = await workload();
    await cluster.setUnready(namespace, pod, true);
    const order = [
      'run',
      'drain-instance',
      target,
      '--mode',
      'act',
      '--wait',
      '-w',
      'recoverWithin=0s',
      '-w',
      'quietFor=0s',
    ];
    expect(await salvor(...order)).toMatchObject({ status: 0 });
    const told = JSON.parse((await salvor('show', target, '--json')).stdout);

    worker.child.kill('SIGTERM');
    expect(await worker.ended).toBe(0);
    const read = JSON.parse((await salvor('show', target, '--json')).stdout);
    const silent = await salvor('run', 'drain-instance', target);
    worker = startWorker();
    await eventually('the worker is ready again', () => worker.stderr().includes('worker is ready'));

    expect(read).toMatchObject({ id: told.id, outcome: 'remediated', mode: 'act', reason: told.reason });
    expect(read.story.changes).toEqual(told.story.changes);
    expect(read.story.changes.length).toBeGreaterThan(0);
    expect(read.story.lines.map(({ text }: { text: string }) => text)).toContain(`remediated: ${told.reason}`);
    expect(silent.status).toBe(4);
    expect(silent.stderr).toContain('no worker');
  });

  it('say so where no run, or more than one, is meant', async () => {
    expect(await salvor('show', 'k8s/sandbox/nowhere/pod/none')).toMatchObject({ status: 1 });
    expect(await salvor('show', '00000000')).toMatchObject({ status: 1 });
    const short = await salvor('show', 'abc');
    expect(short.status).toBe(2);
    expect(short.stderr).toContain('at least 8');
  });
});
