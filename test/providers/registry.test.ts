import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evidenceActivities } from '../../activities/evidence.ts';
import type { LookRequest } from '../../model/evidence.ts';
import { createRegistry, type HoldingRegistry, type WorldConfig } from '../../providers/registry.ts';
import { type Moto, startMoto } from '../../sandbox/moto.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { REGION, TestAws } from '../support/aws.ts';
import { TestCluster } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { rule } from '../support/workflows.ts';

let sandbox: Sandbox<'kubernetes'>;
let cluster: TestCluster;
let moto: Moto;
let aws: TestAws;
let folder: string;
const registries: HoldingRegistry[] = [];

beforeAll(async () => {
  process.env['AWS_ACCESS_KEY_ID'] = 'salvor';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'salvor';
  folder = await mkdtemp(join(tmpdir(), 'salvor-registry-'));
  sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users: [{ name: 'salvor' }] } });
  cluster = new TestCluster(sandbox.kubernetes);
  const verbs = ['get', 'list', 'watch', 'patch'];
  await cluster.allow('salvor', [{ apiGroups: [''], resources: ['nodes', 'pods', 'namespaces'], verbs }]);
  moto = await startMoto({ folder });
  aws = new TestAws(moto);
});
afterAll(async () => {
  await Promise.all(registries.map((registry) => registry.close()));
  aws?.close();
  await moto?.stop();
  await sandbox?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Of this sandbox's cluster and account, unless a test says otherwise. */
function registryOf(more: Partial<WorldConfig> = {}): HoldingRegistry {
  const registry = createRegistry({
    clusters: [{ name: 'sandbox', kubeconfig: sandbox.kubernetes.users.salvor?.kubeconfig ?? '' }],
    aws: [{ name: 'main', region: REGION, endpoint: moto.url }],
    ...more,
  });
  registries.push(registry);
  return registry;
}

async function nodeOn(instance: string): Promise<string> {
  const name = `node-${randomUUID().slice(0, 8)}`;
  const providerID = `aws:///eu-west-1a/${instance}`;
  await cluster.create({ apiVersion: 'v1', kind: 'Node', metadata: { name }, spec: { providerID } } as never);
  return name;
}

/** A fresh look: nothing of what was read before. @returns what each is called */
const nameOf = async (key: string, more: Partial<WorldConfig> = {}): Promise<string> => registryOf(more).canonical(key);

describe('the true name', () => {
  it('of an instance that is a node of a cluster is the node, whatever its group is called', async () => {
    const { name: group, ids } = await aws.group({ min: 0, desired: 2, max: 3 });
    const [machine = '', other = ''] = ids;
    const node = await nodeOn(machine);
    const key = `k8s/sandbox/node/${node}`;
    await eventually('the rights are in force', () => nameOf(`asg/main/${group}/${machine}`));
    expect(await nameOf(`asg/main/${group}/${machine}`)).toBe(key);
    expect(await nameOf(`asg/main/-/${machine}`)).toBe(key);
    expect(await nameOf(`asg/main/${group}/${other}`)).toBe(`asg/main/${group}/${other}`);
    expect(await nameOf(`asg/main/-/${other}`), 'the group that it is in').toBe(`asg/main/${group}/${other}`);
    expect(await nameOf(key)).toBe(key);
    expect(await nameOf('k8s/sandbox/shop/pod/web-0')).toBe('k8s/sandbox/shop/pod/web-0');
  });

  it('is not looked for in clusters whose machines are in another account', async () => {
    const { name: group, ids } = await aws.group({ min: 0, desired: 1, max: 2 });
    const node = await nodeOn(ids[0] ?? '');
    const kubeconfig = sandbox.kubernetes.users.salvor?.kubeconfig ?? '';
    const key = `asg/main/${group}/${ids[0]}`;
    expect(await nameOf(key, { clusters: [{ name: 'sandbox', kubeconfig, aws: 'main' }] })).toContain(node);
    expect(await nameOf(key, { clusters: [{ name: 'sandbox', kubeconfig, aws: 'elsewhere' }] })).toBe(key);
  });

  it('nobody knows while a cluster that may have it does not answer', async () => {
    const kubeconfig = sandbox.kubernetes.users.salvor?.kubeconfig ?? '';
    const { name: group, ids } = await aws.group({ min: 0, desired: 2, max: 2 });
    const node = await nodeOn(ids[0] ?? '');
    const clusters = [
      { name: 'gone', kubeconfig: join(folder, 'no-such-file') },
      { name: 'sandbox', kubeconfig },
    ];
    expect(await nameOf(`asg/main/${group}/${ids[0]}`, { clusters })).toBe(`k8s/sandbox/node/${node}`);
    await expect(nameOf(`asg/main/${group}/${ids[1]}`, { clusters })).rejects.toThrow(/no-such-file|gone/);
  });

  it('of what is in no group, and of an account that is not configured, is none', async () => {
    await expect(nameOf('asg/main/-/i-0123456789abcdef0')).rejects.toMatchObject({ type: 'UnknownTarget' });
    await expect(nameOf('asg/other/-/i-0123456789abcdef0')).rejects.toThrow(
      'no account "other" is configured (aws: main)',
    );
  });

  it('is told with the evidence, which is that of the true target', async () => {
    const { name: group, ids } = await aws.group({ min: 0, desired: 2, max: 2 });
    const [machine = '', other = ''] = ids;
    const node = await nodeOn(machine);
    const targets = [`asg/main/-/${machine}`, `asg/main/-/${other}`, 'asg/main/-/i-0123456789abcdef0'];
    const { look } = evidenceActivities({
      registry: registryOf(),
      pauses: async () => [],
      lease: async () => ({ granted: 0 }),
      busy: async () => undefined,
    });
    const request: LookRequest = {
      ...{ responder: 'r', scope: 's', rule: rule('r'), targets, suspects: targets, leases: {}, question: 'q' },
    };
    const seen = await look(request);
    expect(seen.targets).toMatchObject({
      [`asg/main/-/${machine}`]: { canonical: `k8s/sandbox/node/${node}`, workload: 'k8s/sandbox/node-pool/-' },
      [`asg/main/-/${other}`]: { canonical: `asg/main/${group}/${other}`, workload: `asg/main/${group}` },
      'asg/main/-/i-0123456789abcdef0': { error: expect.stringContaining('is in no Auto Scaling group of main') },
    });
    expect(Object.keys(seen.workloads).sort()).toEqual([`asg/main/${group}`, 'k8s/sandbox/node-pool/-']);
  });
});

describe('what is no instance', () => {
  it.each([
    ['asg/main/web', 'only pods, nodes and instances of Auto Scaling groups'],
    ['k8s/sandbox/shop/deployment.apps/web', 'only pods, nodes and instances'],
    ['k8s/other/node/n1', 'no cluster "other" is configured (clusters: sandbox)'],
    ['asg/other/web/i-0123456789abcdef0', 'no account "other" is configured (aws: main)'],
  ])('%s is said to be none', (key, why) => {
    expect(() => registryOf().instance(key)).toThrow(why);
  });
});

it('says of each cluster and account what it says is held there', async () => {
  const places = registryOf().places();
  expect(places.map(({ name, prefix }) => [name, prefix])).toEqual([
    ['cluster sandbox', 'k8s/sandbox/'],
    ['aws main', 'asg/main/'],
  ]);
  expect(await Promise.all(places.map(({ find }) => find()))).toEqual([[], []]);
});
