import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type OpenTofu, prepareOpenTofu, requiredProviders } from '../../sandbox/opentofu.ts';
import { run } from '../../sandbox/run.ts';
import { eventually } from '../support/wait.ts';
import { type DriftTest, useDrift } from './drift-support.ts';
import { PATIENCE, SALVOR } from './support.ts';

/** A module of OpenTofu with the kubectl provider: the whole way, by the built worker, on the real API server. */

const NAMES = ['port', 'code', 'asked', 'changed', 'killed', 'shared', 'noise'] as const;
let tofu: OpenTofu;
beforeAll(async () => {
  tofu = await prepareOpenTofu({ folder: join(drift.root, 'tofu') });
  // Nobody is there: a registry that is asked all the same is an error at once.
  const env = { ...tofu.env, HTTPS_PROXY: 'http://127.0.0.1:9', NO_PROXY: '127.0.0.1,localhost' };
  await writeFile(
    join(drift.root, 'env'),
    Object.entries(env)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
}, 900_000);
const drift = useDrift(NAMES, {
  stackOf: (name, folder) => ({
    ...{ name, minAge: '0s', lockWithin: '2m' },
    opentofu: { folder, command: tofu.executable, environmentFile: join(folder, '../env') },
  }),
  rules: {
    other: {
      ...{ match: ['alertname="DriftOther"'], runbook: 'revert-drift', target: 'stack/shared' },
      gates: { cooldown: '1s' },
    },
    asked: {
      ...{ match: ['alertname="DriftAsked"'], runbook: 'revert-drift', target: 'stack/asked', mode: 'propose' },
      approveWithin: '3s',
    },
  },
});
const { stack } = drift;

const policy = (namespace: string, name: string, { port = 8080, more = '' } = {}) => `
resource "kubectl_manifest" "${name}" {
  ${more}
  yaml_body = <<-YAML
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: { name: ${name}, namespace: ${namespace} }
    spec:
      podSelector: { matchLabels: { app: web } }
      policyTypes: [Ingress]
      ingress: [{ ports: [{ port: ${port}, protocol: TCP }] }]
  YAML
}
`;
const live = (namespace: string, name: string) => ({
  ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace, name } },
});

/** Its source, whose provider works as Salvor's user. */
async function write(it: DriftTest, ...parts: string[]): Promise<void> {
  const { kubeconfig } = stack.sandbox.kubernetes.users[SALVOR] ?? { kubeconfig: '' };
  const head = `${requiredProviders('kubectl', 'local')}
terraform {
  backend "local" {
    path = "${it.folder}.tfstate"
  }
}
provider "kubectl" {
  config_path = "${kubeconfig}"
}
`;
  await it.write({ 'main.tf': [head, ...parts].join('\n') });
}

/** As a person deploys it. */
async function apply(it: DriftTest): Promise<Date> {
  const env = { ...tofu.env, HTTPS_PROXY: 'http://127.0.0.1:9', TF_DATA_DIR: `${it.folder}.data` };
  await run(tofu.executable, ['init', '-no-color', '-input=false'], { cwd: it.folder, env });
  await run(tofu.executable, ['apply', '-auto-approve', '-no-color', '-input=false'], { cwd: it.folder, env });
  return new Date();
}

const opens = (it: DriftTest, namespace: string, name: string, ...ports: number[]) =>
  it.edit(live(namespace, name), { spec: { ingress: [{ ports: ports.map((port) => ({ port, protocol: 'TCP' })) }] } });

async function portsOf(it: DriftTest, namespace: string, name: string): Promise<number[]> {
  const { spec } = await it.live<{ spec: { ingress: { ports: { port: number }[] }[] } }>(live(namespace, name));
  return spec.ingress[0]?.ports.map(({ port }) => port) ?? [];
}

/** What was written with Salvor's user since then, by whom and whatever way. */
async function written(namespace: string, since: Date): Promise<string[]> {
  const events = await stack.requests(namespace, { since });
  return events
    .filter(({ requestURI, responseStatus }) => !requestURI.includes('dryRun') && (responseStatus?.code ?? 0) < 300)
    .map(({ verb, objectRef }) => `${verb} ${objectRef?.name}`);
}

test('a port that somebody opened by hand is closed within one check, and nothing else is written', async () => {
  const it = drift.test('port');
  const namespace = await stack.cluster.namespace('tofu');
  await write(it, policy(namespace, 'web'), policy(namespace, 'beside'));
  const since = await apply(it);
  expect(await it.check()).toMatchObject({ outcome: 'not-needed', changes: [] });
  await opens(it, namespace, 'web', 8080, 22);
  const ending = await it.check();
  expect(ending, ending.reason).toMatchObject({ outcome: 'remediated' });
  expect(ending.reason).toContain('kubectl_manifest.web');
  expect(await portsOf(it, namespace, 'web')).toEqual([8080]);
  expect(new Set(await written(namespace, since))).toEqual(new Set(['patch web']));
  expect(await it.check()).toMatchObject({ outcome: 'not-needed' });
});

test('code that is not applied is not applied: beside drift, in one address with it, and where drift depends on it', async () => {
  const it = drift.test('code');
  const namespace = await stack.cluster.namespace('tofu');
  const parts = (port: number) => [
    policy(namespace, 'plain'),
    policy(namespace, 'code', { port }),
    policy(namespace, 'mixed', { port }),
    policy(namespace, 'above', { more: 'depends_on = [kubectl_manifest.code]' }),
  ];
  await write(it, ...parts(8080));
  const since = await apply(it);
  await write(it, ...parts(9090));
  for (const name of ['plain', 'mixed', 'above']) await opens(it, namespace, name, 8080, 22);
  const ending = await it.check();
  expect(ending, ending.reason).toMatchObject({ outcome: 'remediated' });
  expect(await portsOf(it, namespace, 'plain')).toEqual([8080]);
  expect(await portsOf(it, namespace, 'code'), 'not applied').toEqual([8080]);
  expect(await portsOf(it, namespace, 'mixed'), 'neither reverted nor applied').toEqual([8080, 22]);
  expect(new Set(await written(namespace, since))).not.toContain('patch code');
  const { counts } = (await it.standing()) ?? {};
  expect(counts).toMatchObject({ reversible: 0, unapplied: 1 });
});

test('what would be replaced waits for an approval, and stays as it is where nobody answers', async () => {
  const it = drift.test('asked');
  const namespace = await stack.cluster.namespace('tofu');
  const again = 'lifecycle { replace_triggered_by = [kubectl_manifest.first] }';
  await write(it, policy(namespace, 'first'), policy(namespace, 'anew', { more: again }));
  const since = await apply(it);
  await opens(it, namespace, 'first', 22);
  await opens(it, namespace, 'anew', 22);
  await it.alert('DriftAsked');
  const proposal = await it.runAfter(it.proposalId('asked'));
  const ending = (await proposal.result()) as { outcome: string; reason: string; plan?: string[] };
  expect(ending, ending.reason).toMatchObject({ outcome: 'refused' });
  expect(ending.plan?.join('\n')).toMatch(/replace kubectl_manifest\.anew/);
  expect(ending.reason).toContain('nobody decided');
  expect(await written(namespace, since)).toEqual([]);
});

test('what is changed once more between review and revert is not reverted as reviewed, but looked at anew', async () => {
  const it = drift.test('changed');
  const namespace = await stack.cluster.namespace('tofu');
  await write(it, policy(namespace, 'web'));
  await apply(it);
  await opens(it, namespace, 'web', 8080, 22);
  const handle = await it.begun();
  await eventually(
    'it was looked at',
    async () => (await it.storyOf(handle)).phase === 'revert' || (await it.storyOf(handle)).ending,
    PATIENCE,
    5,
  );
  await opens(it, namespace, 'web', 8080, 22, 23);
  const ending = (await handle.result()) as { outcome: string; reason: string };
  await it.atRest();
  // The revert came first, or the change did, and was seen: never is a state reverted that nobody has looked at.
  if ((await portsOf(it, namespace, 'web')).length > 1) {
    expect(ending, ending.reason).toMatchObject({ outcome: 'remediated' });
    expect(await it.check()).toMatchObject({ outcome: 'remediated' });
  }
  expect(await portsOf(it, namespace, 'web')).toEqual([8080]);
});

test('a worker that is killed while it applies: the next one finishes, and the state is whole', async () => {
  const it = drift.test('killed');
  const namespace = await stack.cluster.namespace('tofu');
  const names = Array.from({ length: 12 }, (_, i) => `p${i}`);
  await write(it, ...names.map((name) => policy(namespace, name)));
  const since = await apply(it);
  for (const name of names) await opens(it, namespace, name, 8080, 22);
  const handle = await it.begun();
  await eventually('it has begun to write', async () => (await written(namespace, since)).length > 0, PATIENCE, 5);
  await stack.killWorker();
  await stack.startWorker();
  const ending = (await handle.result()) as { outcome: string; reason: string };
  expect(ending, ending.reason).toMatchObject({ outcome: 'remediated' });
  for (const name of names) expect(await portsOf(it, namespace, name)).toEqual([8080]);
  const state = JSON.parse(await readFile(`${it.folder}.tfstate`, 'utf8')) as { resources: unknown[] };
  expect(state.resources).toHaveLength(names.length);
  await it.atRest();
  expect(await it.check()).toMatchObject({ outcome: 'not-needed' });
});

test('two workers and two rules at one moment: one run reverts it', async () => {
  const it = drift.test('shared');
  const namespace = await stack.cluster.namespace('tofu');
  await write(it, policy(namespace, 'web'));
  const since = await apply(it);
  await opens(it, namespace, 'web', 8080, 22);
  const { worker } = stack;
  await stack.startWorker();
  try {
    await Promise.all([it.alert(), it.alert('DriftOther')]);
    await eventually('it is closed', async () => (await portsOf(it, namespace, 'web')).length === 1, PATIENCE);
    await it.atRest();
    await it.atRest('other');
    expect(await written(namespace, since)).toEqual(['patch web']);
  } finally {
    await worker?.stop();
  }
});

test('what a provider only computes causes nothing', async () => {
  const it = drift.test('noise');
  const namespace = await stack.cluster.namespace('tofu');
  await write(it, policy(namespace, 'web', { more: 'ignore_fields = ["metadata.labels"]' }));
  const since = await apply(it);
  await it.edit(live(namespace, 'web'), { metadata: { labels: { noisy: 'yes' }, annotations: { seen: 'now' } } });
  for (let times = 0; times < 2; times += 1) {
    const ending = await it.check();
    expect(ending, ending.reason).toMatchObject({ outcome: 'not-needed', changes: [] });
  }
  expect(await written(namespace, since)).toEqual([]);
});
