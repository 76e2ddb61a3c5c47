import { randomUUID } from 'node:crypto';
import { kill } from 'node:process';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { remediationId } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { budget, nameOf, uidOf } from '../support/kubernetes.ts';
import { barePod, daemonSet, Pool, placed } from '../support/nodes.ts';
import { eventually } from '../support/wait.ts';
import { Gatekeeper } from './gatekeeper.ts';
import { PATIENCE, SALVOR, useStack } from './support.ts';

const stack = useStack({
  drains: {
    match: ['alertname="KubeNodeNotReady"'],
    target: 'k8s/sandbox/node/${labels.node}',
    with: {
      recoverWithin: '2s',
      stableFor: '1s',
      quietFor: '1s',
      evictWithin: '10m',
      node: { parallel: 4, keepFor: '1h' },
    },
  },
});

const gatekeeper = new Gatekeeper();
beforeAll(async () => {
  await gatekeeper.listen();
  await stack.cluster.create(gatekeeper.configuration(SALVOR));
  const namespace = await stack.cluster.namespace('gate');
  await stack.cluster.create(barePod(namespace, 'nobody'));
  await eventually('the API server asks the gatekeeper', async () => {
    await stack.tryToLabel({ namespace, pod: 'nobody', rule: 'drains' });
    return gatekeeper.asked > 0;
  });
});
afterAll(() => gatekeeper.close());

let pool: Pool | undefined;
afterEach(() => pool?.stop());

/** As kube-state-metrics' rule has it, delivered as Alertmanager does. */
async function complain(node: string): Promise<void> {
  const alert = {
    status: 'firing',
    labels: { alertname: 'KubeNodeNotReady', node },
    annotations: {},
    startsAt: new Date().toISOString(),
    endsAt: '0001-01-01T00:00:00Z',
    generatorURL: '',
    fingerprint: randomUUID().replaceAll('-', '').slice(0, 16),
  };
  const group = { groupLabels: {}, commonLabels: {}, commonAnnotations: {}, externalURL: '' };
  const payload = { version: '4', groupKey: '{}', truncatedAlerts: 0, status: 'firing', receiver: 'salvor', ...group };
  expect(await stack.deliver(JSON.stringify({ ...payload, alerts: [alert] }))).toBe(200);
}

/** Names of the pods whose eviction was granted, in order, as the API server's audit log has them. */
async function evicted(namespace: string): Promise<string[]> {
  const events = await stack.requests(namespace, { subresource: 'eviction' });
  return events
    .filter(({ responseStatus }) => responseStatus?.code === 201)
    .map(({ objectRef }) => objectRef?.name ?? '');
}

/** What Salvor wrote to a node: the value of `spec.unschedulable` of each write that was taken. */
async function cordons(name: string): Promise<unknown[]> {
  const events = await stack.sandbox.kubernetes.readAudit({ user: SALVOR, resource: 'nodes', name });
  return events
    .filter(({ responseStatus }) => responseStatus?.code === 200)
    .map(({ requestObject }) => (requestObject as { spec?: { unschedulable?: unknown } }).spec?.unschedulable);
}

const sorted = (names: readonly string[]) => [...names].sort();

test('a node is drained of 30 pods under budgets though the worker is killed twice; it recovers, and is uncordoned', async () => {
  const { cluster, client } = stack;
  pool = await Pool.make(cluster, 2);
  const { namespace } = pool;
  await pool.run('agent', 2, daemonSet(namespace, 'agent', pool.name));
  const minAvailable = { one: 5, two: 8, wait: 10 };
  for (const [name, least] of Object.entries(minAvailable))
    await pool.run(name, 10, placed({ namespace, name, replicas: 10 }), budget(namespace, name, least));
  for (const [name, least] of Object.entries(minAvailable)) await stack.untilAllowed(namespace, name, 10 - least);
  const there = (await pool.podsOn()).filter((pod) => !nameOf(pod).startsWith('agent-'));
  expect(there).toHaveLength(30);

  // The worst moment to die: four evictions are asked for, and the worker is frozen before it has their answers.
  let [asked, frozen] = [0, false];
  gatekeeper.at(
    (write) => write.namespace === namespace && write.subResource === 'eviction' && ++asked === 4,
    () => {
      frozen = kill(stack.worker!.pid, 'SIGSTOP');
    },
  );
  await pool.setUnready(true);
  await complain(pool.first);
  const untilEvicted = (count: number) =>
    eventually(`${count} pods are evicted`, async () => (await evicted(namespace)).length >= count, PATIENCE);
  await eventually('the worker is frozen', () => frozen, PATIENCE);
  await untilEvicted(asked);
  await stack.killWorker();
  const first = (await evicted(namespace)).length;
  expect(first).toBeLessThan(20);
  await stack.startWorker();
  await untilEvicted(first + 3);
  await stack.killWorker();
  expect((await evicted(namespace)).length).toBeLessThanOrEqual(20);
  await stack.startWorker();
  await untilEvicted(20);
  // Its budget allows none, so it is not done yet.
  expect((await evicted(namespace)).some((name) => name.startsWith('wait-'))).toBe(false);
  await stack.setMinAvailable(namespace, 'wait', 7);

  await untilEvicted(30);
  await eventually(
    'all of them are gone',
    async () => (await pool!.podsOn()).every((pod) => nameOf(pod).startsWith('agent-')),
    PATIENCE,
  );
  for (const name of Object.keys(minAvailable))
    for (const pod of await cluster.readyPods(namespace, name, 10)) expect(pod.spec?.nodeName).toBe(pool.names[1]);
  const remediation = client.workflow.getHandle(remediationId(pool.key()));
  await eventually(
    'it waits for the node to recover',
    async () => {
      const { raw } = await remediation.describe();
      return raw.pendingActivities?.some(({ activityType }) => activityType?.name === 'hold');
    },
    PATIENCE,
  );
  expect(await pool.isCordoned()).toBe(true);
  expect(await cordons(pool.first)).toEqual([true]);

  await pool.setUnready(false);
  const ending = (await remediation.result()) as Ending;
  expect(ending).toMatchObject({ outcome: 'remediated' });
  expect(await pool.isCordoned()).toBe(false);
  expect(await pool.held()).toEqual([]);
  expect(await cordons(pool.first)).toEqual([true, null]);

  expect(sorted(await evicted(namespace)), 'each pod is evicted once').toEqual(sorted(there.map(nameOf)));
  const changes = ending.changes.filter(({ field }) => field === 'eviction');
  expect(sorted(changes.map(({ object }) => object.uid)), 'each is on record once').toEqual(sorted(there.map(uidOf)));
  expect(changes.some(({ what }) => what.includes('the answer was lost'))).toBe(true);
  expect((await pool.podsOn()).map(nameOf)).toEqual([expect.stringMatching(/^agent-/)]);
});
