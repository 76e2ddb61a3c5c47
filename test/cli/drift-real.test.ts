import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { countsOf, type Difference } from '../../model/drift/difference.ts';
import { DRIFT_MEMO, type DriftStanding } from '../../model/drift/standing.ts';
import { remediationId } from '../../model/names.ts';
import { freePort } from '../../sandbox/ports.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from '../support/connection.ts';
import { DRIFT_RULES, TestCluster } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { type Ended, salvor as invoke, stay } from './salvor.ts';

/** `salvor drift check` against a real API server. */
let sandbox: Sandbox<'kubernetes' | 'temporal'>;
let cluster: TestCluster;
let folder: string;
let namespace: string;
let silent: Server;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-drift-real-'));
  sandbox = await startSandbox({
    parts: ['kubernetes', 'temporal'],
    kubernetes: { users: [{ name: 'salvor' }, { name: 'nobody' }] },
  });
  cluster = new TestCluster(sandbox.kubernetes);
  await cluster.allow('salvor', DRIFT_RULES);
  namespace = await cluster.namespace('net');
  // Takes connections, and never answers.
  silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  await cluster.create(policy());
  for (const name of ['net', 'empty']) mkdirSync(join(folder, name));
  writeFileSync(join(folder, 'net', 'policy.yaml'), stringify(policy()));
  configure({});
});
afterAll(async () => {
  silent?.close();
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const policy = () => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'web', namespace, labels: { app: 'web' } },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    policyTypes: ['Ingress'],
    ingress: [{ ports: [{ port: 80, protocol: 'TCP' }] }],
  },
});

function configure({ user = 'salvor', kubeconfig }: { user?: string; kubeconfig?: string }): void {
  const clusters = [{ name: 'prod', kubeconfig: kubeconfig ?? sandbox.kubernetes.users[user]?.kubeconfig }];
  const stacks = ['net', 'empty'].map((name) => ({ name, manifests: { folder: `./${name}`, cluster: 'prod' } }));
  const temporal = { address: sandbox.temporal.address };
  writeFileSync(join(folder, 'salvor.yaml'), JSON.stringify({ temporal, clusters, stacks }));
}

/** Of a server that is somewhere else. */
function kubeconfigOf(port: number): string {
  const file = join(folder, `kubeconfig-${port}`);
  const server = { name: 'x', cluster: { server: `https://127.0.0.1:${port}` } };
  const context = { name: 'x', context: { cluster: 'x', user: 'x' } };
  const users = [{ name: 'x', user: { token: 'x' } }];
  writeFileSync(
    file,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [server],
      contexts: [context],
      users,
      'current-context': 'x',
    }),
  );
  return file;
}

const salvor = (...args: string[]): Promise<Ended> => invoke(['drift', 'check', ...args], { cwd: folder });
const list = (...args: string[]): Promise<Ended> => invoke(['drift', 'list', ...args], { cwd: folder });
const address = () => `k8s/prod/${namespace}/networkpolicy.networking.k8s.io/web`;

it('finds nothing: 0; then what a person has changed, and who: 1; and changes nothing itself', async () => {
  const none = await salvor('net');
  expect(none).toMatchObject({ status: 0, stderr: '' });
  expect(none.stdout).toMatch(/^net has not drifted/m);

  // Somebody opens a port, and forgets it.
  const ingress = [
    {
      ports: [
        { port: 80, protocol: 'TCP' },
        { port: 22, protocol: 'TCP' },
      ],
    },
  ];
  await cluster.patch(policy(), { spec: { ingress } }, 'kubectl-edit');
  const drifted = await salvor('net');
  expect(drifted).toMatchObject({ status: 1, stderr: '' });
  expect(drifted.stdout).toContain(`~ ${address()} NetworkPolicy\n`);
  expect(drifted.stdout).toMatch(/spec\.ingress\[0\]\.ports\S*: .*22.* → absent/);
  expect(drifted.stdout).toContain('changed by kubectl-edit');
  expect(drifted.stdout).toMatch(/^net has drifted: 1 reversible/m);

  const json = await salvor('net', '--json');
  expect(json).toMatchObject({ status: 1, stderr: '' });
  const told = JSON.parse(json.stdout) as { differences: Difference[] };
  expect(told).toMatchObject({ stack: 'net', drift: true, verdict: 'differs', counts: { reversible: 1, held: 0 } });
  expect(told.differences).toMatchObject([
    { address: address(), class: 'reversible', action: 'update', who: { by: 'kubectl-edit', told: 'managedFields' } },
  ]);

  const asked = await sandbox.kubernetes.readAudit({ user: 'salvor', namespace });
  const written = asked.filter(
    ({ verb, requestURI }) => !['get', 'list'].includes(verb) && !requestURI.includes('dryRun=All'),
  );
  expect(written).toEqual([]);
});

it('cannot find out where it may not look, the API does not answer, or the source is empty: 4', async () => {
  configure({ user: 'nobody' });
  const forbidden = await salvor('net');
  expect(forbidden).toMatchObject({ status: 4, stdout: '' });
  expect(forbidden.stderr).toContain('forbidden');
  configure({ kubeconfig: kubeconfigOf(await freePort()) });
  const away = await salvor('net');
  expect(away).toMatchObject({ status: 4, stdout: '' });
  expect(away.stderr).toContain('ECONNREFUSED');
  configure({});
  const empty = await salvor('empty');
  expect(empty).toMatchObject({ status: 4, stdout: '' });
  expect(empty.stderr).toContain('empty was not compared');
});

it('lists how the stacks stood when a rule last compared them, with what is known', async () => {
  const never = await list();
  expect(never).toMatchObject({ status: 0, stderr: '' });
  expect(never.stdout.split('\n').slice(1, 3)).toEqual([
    expect.stringMatching(/^net +never compared +-/),
    expect.stringMatching(/^empty +never compared +-/),
  ]);
  const connection = await connectTo(sandbox.temporal.address);
  const at = '2026-02-01T08:00:00.000Z';
  const start = (stack: string, drift: DriftStanding) =>
    new Client({ connection }).workflow.start('remediation', {
      workflowId: remediationId(`stack/${stack}`),
      taskQueue: 'nobody',
      memo: { [DRIFT_MEMO]: drift },
    });
  const net: DriftStanding = {
    ...{ at, verdict: 'differs', revision: '1a2b3c4d', oldest: at },
    counts: countsOf([{ class: 'reversible' }, { class: 'reversible' }, { class: 'held' }]),
  };
  await start('net', net);
  await start('empty', { at, verdict: 'refused', counts: countsOf([]) });
  await connection.close();
  const [, first, second] = (await list()).stdout.split('\n');
  expect(first).toMatch(/^net +2 reversible +2026-0\S+ \S+ +2026-0\S+ \S+ +1a2b3c4d$/);
  expect(second).toMatch(/^empty +could not be compared +2026-0/);
  const json = JSON.parse((await list('--json')).stdout);
  expect(json).toMatchObject([{ stack: 'net', standing: net }, { stack: 'empty' }]);
});

it('is interrupted while it waits: 130', async () => {
  configure({ kubeconfig: kubeconfigOf((silent.address() as { port: number }).port) });
  const asking = stay(['drift', 'check', 'net'], { cwd: folder });
  const connections = () => new Promise<number>((done) => silent.getConnections((_, count) => done(count)));
  await eventually('it asks', async () => (await connections()) > 0);
  asking.child.kill('SIGINT');
  expect(await asking.ended).toBe(130);
  expect(asking.stdout()).toBe('');
  expect(asking.stderr()).toContain('interrupted: nothing was changed');
});
