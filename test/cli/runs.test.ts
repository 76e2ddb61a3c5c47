import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { deployment, nameOf, service, TestCluster } from '../support/kubernetes.ts';
import { manifests, SALVOR } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';
import { type Ended, salvor as invoke, type Staying, stay } from './salvor.ts';

/** One worker as in production, on a real cluster; every command is a process of its own, as a person types it. */
/** What takes seconds on an idle machine may take much longer on a busy one. */
const PATIENCE = 90_000;

let sandbox: Sandbox<'temporal' | 'kubernetes'>;
let cluster: TestCluster;
let worker: Staying;
const folder = mkdtempSync(join(tmpdir(), 'salvor-runs-'));

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal', 'kubernetes'], kubernetes: { users: [{ name: SALVOR }] } });
  cluster = new TestCluster(sandbox.kubernetes);
  await cluster.create(...manifests('rbac.yaml'));
  writeFileSync(
    join(folder, 'salvor.yaml'),
    `temporal: { address: ${sandbox.temporal.address} }
clusters: [{ name: sandbox, kubeconfig: ${sandbox.kubernetes.users[SALVOR]?.kubeconfig} }, { name: gone, kubeconfig: ./gone }]
audit: { url: 'file:./audit.db' }
defaults: { gates: { maxInFlight: 10, cooldown: 0s, maxUnavailable: 100%, storm: { above: 100% } } }
`,
  );
  writeFileSync(
    join(folder, 'gone'),
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'gone', cluster: { server: 'https://127.0.0.1:9' } }],
      users: [{ name: 'me', user: { token: 'none' } }],
      contexts: [{ name: 'gone', context: { cluster: 'gone', user: 'me' } }],
      'current-context': 'gone',
    }),
  );
  worker = startWorker();
  await eventually('the worker is ready', () => worker.stderr().includes('worker is ready'), PATIENCE);
});

afterAll(async () => {
  worker?.child.kill('SIGTERM');
  await worker?.ended;
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const startWorker = (): Staying => stay(['worker', '--single'], { cwd: folder });
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

async function two() {
  const { namespace, target } = await workload();
  const pods = (await cluster.readyPods(namespace, 'web', 2)).map((pod) => ({
    pod: nameOf(pod),
    target: cluster.target(namespace, nameOf(pod)),
  }));
  return { namespace, target, pods };
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
    expect(sick.stdout).toMatch(/It would have\n {2}1\. .*label salvor.dev\/traffic: on → off/);
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
    await eventually('the traffic is cut', async () => (await cluster.trafficLabel(namespace, pod)) !== 'on', PATIENCE);

    const open = await eventually('it is listed', async () => {
      const rows = await list('--target', target, '--outcome', 'running');
      return rows.length === 1 && rows[0];
    });
    expect(open).toMatchObject({ id: runId, rule: 'run:drain-instance', mode: 'act' });
    const under = await salvor('show', runId.slice(0, 18));
    expect(under.stdout).toContain('running');
    expect(under.stdout).toContain('Still altered');
    const watching = stay(['watch', runId], { cwd: folder });
    await eventually('the watch shows the cut', () => watching.stdout().includes('traffic: label'), PATIENCE);

    expect(await salvor('cancel', target, '--reason', 'a test')).toMatchObject({ status: 0 });
    expect(await watching.ended).toBe(1);
    expect(watching.stdout()).toMatch(/^cancelled: .*asked for by person:\S+: a test\)$/m);
    expect((await salvor('show', runId)).stdout).toMatch(/cancel asked for by person:\S+: a test/);
    expect(JSON.parse((await salvor('show', runId, '--json')).stdout)).toMatchObject({
      source: 'worker',
      cancel: { by: expect.stringContaining('person:'), reason: 'a test' },
    });
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
    await eventually('the worker is ready again', () => worker.stderr().includes('worker is ready'), PATIENCE);

    expect(read).toMatchObject({ id: told.id, outcome: 'remediated', mode: 'act', reason: told.reason });
    expect(read.story.changes).toEqual(told.story.changes);
    expect(read.story.changes.length).toBeGreaterThan(0);
    expect(read.story.lines.map(({ text }: { text: string }) => text)).toContain(`remediated: ${told.reason}`);
    expect(silent.status).toBe(4);
    expect(silent.stderr).toContain('no worker');
  });

  it('tell what is held, and that a cancel waits for a worker, without any worker', async () => {
    const { namespace, pod, target } = await workload();
    await cluster.setUnready(namespace, pod, true);
    await salvor('run', 'drain-instance', target, '--mode', 'act', '-w', 'recoverWithin=1h');
    await eventually('the traffic is cut', async () => (await cluster.trafficLabel(namespace, pod)) !== 'on', PATIENCE);
    const told = JSON.parse((await salvor('show', target, '--json')).stdout);
    // Killed: a worker that is asked to end hands its wait over, and Temporal remembers it for a while.
    worker.child.kill('SIGKILL');
    await worker.ended;
    const read = await salvor('show', target);
    const asJson = JSON.parse((await salvor('show', target, '--json')).stdout);
    const cancelled = await salvor('cancel', target);
    worker = startWorker();
    const watched = await salvor('watch', target);

    expect(read.stdout).toContain('no worker answers; read from the history');
    expect(asJson).toMatchObject({ source: 'history', story: { held: told.story.held } });
    expect(told.story.held).toHaveLength(1);
    expect(cancelled).toMatchObject({ status: 0, stdout: expect.stringContaining('as soon as a worker runs') });
    expect(watched.stdout).toContain('cancelled');
    expect(await cluster.trafficLabel(namespace, pod)).toBe('on');
  });

  it('tell of a request that waits, and of the run that comes of it', async () => {
    const { namespace, target, pods } = await two();
    for (const { pod } of pods) await cluster.setUnready(namespace, pod, true);
    const one = join(folder, 'one.yaml');
    writeFileSync(one, readFileSync(join(folder, 'salvor.yaml'), 'utf8').replace('maxInFlight: 10', 'maxInFlight: 1'));
    const order = ['-c', one, 'run', 'drain-instance', '--mode', 'act', '-w', 'recoverWithin=1h'];
    const second = pods[1]!.target;
    // A run of the past does not hide what waits.
    await salvor('-c', one, 'run', 'drain-instance', second, '--wait');
    await salvor(...order, target);
    // It fails at once when its turn comes: the pod is not to be replaced.
    const waiting = stay(
      [...order.slice(0, -2), '-w', 'recoverWithin=0s', '-w', 'replace=false', second, '--wait', '--json'],
      { cwd: folder },
    );
    const said = await eventually('it waits', () => waiting.stdout().includes('"wait"') && waiting.stdout(), PATIENCE);
    expect(JSON.parse(said)).toMatchObject({ decision: { gate: 'in-flight' } });

    const shown = await salvor('show', second);
    expect(shown).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(
        / observed\n[\s\S]*another request about it, .* waits since \S+ \(in-flight\): 1 of at most 1/,
      ),
    });
    const listed = await eventually('its responder is listed, and answers', async () => {
      const rows = await list('--outcome', 'waiting', '--target', second);
      return rows.length > 0 && rows;
    });
    expect(listed).toMatchObject([{ target: second, gate: 'in-flight' }]);
    const isFirst = async () => (await list('--rule', 'run:drain-instance'))[0]?.outcome === 'waiting';
    await eventually('it is the first of all', isFirst);
    expect(JSON.parse((await salvor('show', second, '--json')).stdout)).toMatchObject({
      outcome: 'observed',
      waiting: [{ target: second, gate: 'in-flight' }],
    });
    const refused = await salvor('cancel', second);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('has already ended: observed') });
    expect(refused.stderr).toMatch(/waits since[\s\S]*starts by itself/);

    await salvor('cancel', target);
    expect(await waiting.ended).toBe(1);
    expect(waiting.stdout()).toContain('"outcome":"failed"');
  });

  it('say what is tried again while a cluster does not answer, and not that no worker does', async () => {
    const target = 'k8s/gone/shop/pod/web-0';
    expect(worker.stderr()).toMatch(/"cluster":"gone".*127\.0\.0\.1:9.*cannot be used as it is configured/);
    expect(await salvor('run', 'drain-instance', target)).toMatchObject({ status: 3 });
    const trusting = join(folder, 'trusting.yaml');
    const gates = readFileSync(join(folder, 'salvor.yaml'), 'utf8').replace(
      'cooldown: 0s',
      'cooldown: 0s, failClosed: false',
    );
    writeFileSync(trusting, gates);
    await salvor('-c', trusting, 'run', 'drain-instance', target);
    const watching = stay(['watch', target], { cwd: folder });
    await eventually('it says so', () => /assess is tried again: .*127\.0\.0\.1:9/.test(watching.stderr()), PATIENCE);
    expect(watching.stderr()).not.toContain('no worker answers');
    watching.child.kill('SIGINT');
    await watching.ended;
    expect((await salvor('show', target)).stdout).toContain('assess is tried again');
  });

  it('say so where no run, or more than one, is meant', async () => {
    expect(await salvor('show', 'k8s/sandbox/nowhere/pod/none')).toMatchObject({ status: 1 });
    expect(await salvor('show', '00000000')).toMatchObject({ status: 1 });
    const short = await salvor('show', 'abc');
    expect(short.status).toBe(2);
    expect(short.stderr).toContain('at least 8');
  });
});
