import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { EnvoySwitch } from '../../../model/breaker/options.ts';
import { Kubernetes } from '../../../providers/kubernetes/provider.ts';
import { switchOf } from '../../../providers/switches-of.ts';
import { ENVOY_CLUSTER, type Envoy, startEnvoy } from '../../../sandbox/envoy.ts';
import { freePort } from '../../../sandbox/ports.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import { TestCluster } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';
import { actor, attempt, dependency, heldOf, inMs, pulse, setRequest } from '../switch-support.ts';

/** Of each pod; kwok only pretends to run them, and leaves the address that a pod has. */
const ADDRESSES = ['127.0.0.2', '127.0.0.3', '127.0.0.4'];
const LABELS = { 'calls-payments': 'true' };

const upstream = createServer((_, response) => response.end('ok'));

let sandbox: Sandbox<'kubernetes'>;
let cluster: TestCluster;
let salvor: Kubernetes;
let stranger: Kubernetes;
let adminPort: number;
let namespace: string;
/** By the address of its pod. */
const envoys = new Map<string, Envoy>();

beforeAll(async () => {
  const users = [{ name: 'salvor' }, { name: 'stranger' }];
  sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users } });
  cluster = new TestCluster(sandbox.kubernetes);
  await cluster.allow('salvor', [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }]);
  salvor = connect('salvor');
  stranger = connect('stranger');
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  adminPort = await freePort();
  for (const address of ADDRESSES) await start(address);
}, 120_000);
afterAll(async () => {
  await salvor?.close();
  await stranger?.close();
  for (const envoy of envoys.values()) await envoy.stop();
  upstream.close();
  upstream.closeAllConnections();
  await sandbox?.stop();
});
beforeEach(async () => {
  namespace = await cluster.namespace('envoys');
  for (const envoy of envoys.values())
    for (const key of Object.keys(await overrides(envoy)))
      await fetch(`${envoy.adminUrl}/runtime_modify?${encodeURIComponent(key)}=`, { method: 'POST' });
});

const connect = (user: string): Kubernetes =>
  new Kubernetes({ name: 'prod', kubeconfig: sandbox.kubernetes.users[user]?.kubeconfig ?? '' });

async function start(address: string): Promise<void> {
  const folder = join(sandbox.folder, `envoy-${address}`);
  const envoy = await startEnvoy({ folder, adminHost: address, adminPort });
  envoys.set(address, envoy);
  const endpoint = `127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  await envoy.setEndpoints([endpoint]);
  await eventually('the endpoint is in force', async () => (await envoy.endpoints()).join() === endpoint);
}

/** A pod whose Envoy is that of an address; without one there is none yet. */
async function pod(name: string, address?: string, labels: Record<string, string> = LABELS): Promise<void> {
  const spec = { nodeName: 'node-0', containers: [{ name: 'app', image: 'app:1' }] };
  await cluster.create({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels }, spec } as object);
  await eventually(`${name} runs`, async () => (await cluster.pod(namespace, name))?.status?.phase === 'Running');
  if (address === undefined) return;
  const body = { status: { podIP: address, podIPs: [{ ip: address }] } };
  const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  await cluster.core.patchNamespacedPodStatus({ namespace, name, body }, merge);
}

async function overrides({ adminUrl }: Envoy): Promise<Record<string, string>> {
  const { entries } = (await (await fetch(`${adminUrl}/runtime`)).json()) as {
    entries: Record<string, { final_value: string }>;
  };
  return Object.fromEntries(Object.entries(entries).map(([name, { final_value }]) => [name, final_value]));
}

/** Which of the Envoys refuse callers. */
async function refusing(): Promise<string[]> {
  const found: string[] = [];
  for (const [address, envoy] of envoys) {
    const response = await fetch(envoy.url);
    await response.arrayBuffer();
    if (response.headers.get('x-envoy-overloaded') === 'true') found.push(address);
  }
  return found;
}

function make(change: Partial<EnvoySwitch> = {}, as = salvor) {
  const pods = { cluster: 'prod', namespace, selector: 'calls-payments=true', port: adminPort };
  const it = dependency({ envoy: { pods, envoyCluster: ENVOY_CLUSTER, quorum: 'all', ...change } });
  return { it, own: switchOf(it, { clusters: new Map([['prod', as]]) }) };
}

describe('the Envoys of the pods of a selector', () => {
  it('are all opened and closed, and those of other pods are not touched', async () => {
    await pod('a', '127.0.0.2');
    await pod('b', '127.0.0.3');
    await pod('other', '127.0.0.4', { app: 'other' });
    const { it, own } = make();
    const reading = await own.read();
    expect(reading).toMatchObject({ position: 'closed', why: '2 of 2 Envoys are closed' });
    const held = heldOf(reading);
    const changes = await own.set(setRequest(it, 'open', held), attempt());
    expect(changes.map(({ field }) => field)).toEqual([
      `runtime of pod ${namespace}/a`,
      `runtime of pod ${namespace}/b`,
    ]);
    expect(await refusing()).toEqual(['127.0.0.2', '127.0.0.3']);
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(await refusing()).toEqual([]);
    for (const envoy of envoys.values()) expect(await overrides(envoy)).toEqual({});
  });

  it('need not all answer where a quorum is stated, and must where none is', async () => {
    await pod('a', '127.0.0.2');
    await pod('b', '127.0.0.3');
    // It runs, and nothing listens there.
    await pod('starting', '127.0.0.9');
    const all = make();
    const refused = all.own.set(setRequest(all.it, 'open', []), attempt());
    await expect(refused).rejects.toMatchObject({ name: 'UnavailableError' });
    await expect(refused).rejects.toThrow(
      new RegExp(`2 of 3 Envoys took open, and 3 are needed: pod ${namespace}/starting`),
    );
    const most = make({ quorum: 60 });
    expect(await most.own.read()).toMatchObject({ position: 'open', why: expect.stringContaining('2 of 3 Envoys') });
    expect(await most.own.set(setRequest(most.it, 'open', []), attempt())).toEqual([]);
    expect(await refusing()).toEqual(['127.0.0.2', '127.0.0.3']);
    const more = make({ quorum: 70 });
    await expect(more.own.read()).rejects.toThrow('2 of 3 Envoys answered, and 3 are needed');
    // What listens nowhere holds nothing.
    await most.own.set(setRequest(most.it, 'closed', []), attempt());
    expect(await refusing()).toEqual([]);
  });

  it('are found anew while it is open: a pod that comes is opened too, one that goes is not missed', async () => {
    const odd = { asked: 0 };
    const page = createServer((_, response) => {
      odd.asked += 1;
      response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => page.listen(adminPort, '127.0.0.5', resolve));
    onTestFinished(() => {
      page.close();
      page.closeAllConnections();
    });
    await pod('a', '127.0.0.2');
    const { it, own } = make();
    const held = heldOf(await own.read());
    await own.set(setRequest(it, 'open', held), attempt());
    const wait = pulse();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, wait);
    await pod('b', '127.0.0.3');
    await eventually('the new one is open', async () => (await refusing()).includes('127.0.0.3'));
    // What answers at the port of a pod and is no Envoy ends nothing that the others hold.
    await pod('odd', '127.0.0.5');
    await eventually('it was asked', () => odd.asked > 1);
    await cluster.core.deleteNamespacedPod({ namespace, name: 'odd' });
    await cluster.core.deleteNamespacedPod({ namespace, name: 'a' });
    await pod('c', '127.0.0.4');
    await eventually('that one too', async () => (await refusing()).includes('127.0.0.4'));
    wait.stop();
    const { changes, contested } = await kept;
    expect(contested).toBeUndefined();
    expect(changes.map(({ field }) => field)).toEqual([
      `runtime of pod ${namespace}/b`,
      `runtime of pod ${namespace}/c`,
    ]);
    await own.set(setRequest(it, 'closed', held), attempt());
    // What a pod that has gone had is not reached any more, and goes with its process.
    expect(await refusing()).toEqual(['127.0.0.2']);
  });

  it('are not there: nothing is opened, and there is nothing left to close', async () => {
    const { it, own } = make();
    const message = `no pod of ${namespace} that runs has the labels calls-payments=true`;
    await expect(own.read()).rejects.toThrow(message);
    await expect(own.set(setRequest(it, 'open', []), attempt())).rejects.toThrow(message);
    await pod('a', '127.0.0.2');
    const held = heldOf(await own.read());
    await own.set(setRequest(it, 'open', held), attempt());
    await cluster.core.deleteNamespacedPod({ namespace, name: 'a' });
    await eventually('it is gone', async () => (await cluster.pod(namespace, 'a')) === undefined);
    expect(await own.set(setRequest(it, 'closed', held), attempt())).toEqual([]);
  });

  it('are not for who may not list pods', async () => {
    await pod('a', '127.0.0.2');
    const { own } = make({}, stranger);
    await expect(own.read()).rejects.toMatchObject({ name: 'ApiError', status: 403 });
    expect(await refusing()).toEqual([]);
  });
});
