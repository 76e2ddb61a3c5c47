import { CoreV1Api, KubeConfig, PolicyV1Api, type V1Pod } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IN_SERVICE_GATE } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { budget, deployment, isReady, nameOf, service, TestCluster, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';

let sandbox: Sandbox<'kubernetes'>;
let cluster: TestCluster;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users: [{ name: 'guest' }] } });
  cluster = new TestCluster(sandbox.kubernetes);
});
afterAll(() => sandbox?.stop());

/** Three ready pods behind a Service. */
async function shop(gates?: string[]): Promise<{ namespace: string; pods: V1Pod[] }> {
  const namespace = await cluster.namespace('shop');
  await cluster.create(
    deployment({ namespace, name: 'web', replicas: 3, gates }),
    service(namespace, 'web'),
    budget(namespace, 'web', 2),
  );
  return { namespace, pods: await cluster.readyPods(namespace, 'web', 3) };
}

async function untilInTraffic(namespace: string, pods: V1Pod[]): Promise<void> {
  await eventually(`${pods.length} pods in the EndpointSlice`, async () => {
    const seen = await Promise.all(pods.map((pod) => cluster.isInTraffic(namespace, uidOf(pod))));
    return seen.every(Boolean);
  });
}

/** How often each condition of the pods has changed so far: equal before and after means untouched in between. */
const conditionsOf = async (namespace: string, pods: V1Pod[]) => {
  const now = await cluster.pods(namespace, 'web');
  return pods.map((pod) => now.find((other) => uidOf(other) === uidOf(pod))?.status);
};

describe('pods', () => {
  test('of a Deployment become Ready and get traffic', async () => {
    const { namespace, pods } = await shop();
    await untilInTraffic(namespace, pods);
    expect(new Set(pods.map((pod) => pod.status?.podIP)).size).toBe(3);
    for (const pod of pods) {
      const conditions = pod.status?.conditions?.map(({ type, status }) => `${type}=${status}`);
      expect(conditions).toEqual(['PodScheduled=True', 'Initialized=True', 'ContainersReady=True', 'Ready=True']);
      expect(pod.status?.containerStatuses).toMatchObject([{ ready: true, state: { running: {} } }]);
    }
  });

  test('become unready and ready again by the annotation, one and no other', async () => {
    const { namespace, pods } = await shop();
    await untilInTraffic(namespace, pods);
    const [sick, ...others] = pods;
    const before = await conditionsOf(namespace, others);

    await cluster.setUnready(namespace, nameOf(sick!), true);
    await eventually('out of traffic', async () => !(await cluster.isInTraffic(namespace, uidOf(sick!))));
    const out = await cluster.pod(namespace, nameOf(sick!));
    expect(out?.status?.conditions).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ type: 'ContainersReady', status: 'False', reason: 'ContainersNotReady' }),
        expect.objectContaining({ type: 'Ready', status: 'False', reason: 'ContainersNotReady' }),
      ]),
    );
    expect(out?.status?.containerStatuses).toMatchObject([{ ready: false, restartCount: 0 }]);

    await cluster.setUnready(namespace, nameOf(sick!), false);
    await untilInTraffic(namespace, pods);
    expect(await conditionsOf(namespace, others)).toEqual(before);
  });

  test('follow their own readiness gate, and no other pod does', async () => {
    const { namespace, pods } = await shop([IN_SERVICE_GATE]);
    await untilInTraffic(namespace, pods);
    const [gated, ...others] = pods;
    const before = await conditionsOf(namespace, others);

    await cluster.setCondition(namespace, nameOf(gated!), IN_SERVICE_GATE, 'False');
    await eventually('out of traffic', async () => !(await cluster.isInTraffic(namespace, uidOf(gated!))));
    const closed = await cluster.pod(namespace, nameOf(gated!));
    expect(closed?.status?.conditions).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ type: 'ContainersReady', status: 'True' }),
        expect.objectContaining({ type: 'Ready', status: 'False', reason: 'ReadinessGatesNotReady' }),
      ]),
    );
    await cluster.setCondition(namespace, nameOf(gated!), IN_SERVICE_GATE, 'True');
    await untilInTraffic(namespace, pods);
    expect(await conditionsOf(namespace, others)).toEqual(before);
  });

  test('with a gate that nobody has set run, and are not Ready', async () => {
    const namespace = await cluster.namespace();
    await cluster.create(deployment({ namespace, name: 'web', replicas: 1, gates: ['example.org/never'] }));
    const pod = await eventually('running', async () =>
      (await cluster.pods(namespace, 'web')).find(({ status }) => status?.phase === 'Running'),
    );
    expect(isReady(pod)).toBe(false);
    expect(pod.status?.containerStatuses).toMatchObject([{ ready: true }]);
  });

  test('have a Ready condition patched by hand put right once, without a fight', async () => {
    const { namespace, pods } = await shop();
    const name = nameOf(pods[0]!);
    const since = new Date();
    await cluster.setCondition(namespace, name, 'Ready', 'False');
    await cluster.setCondition(namespace, name, 'example.org/mine', 'Unknown');
    await eventually('ready again', async () => isReady((await cluster.pod(namespace, name))!));
    // A later change of the same pod has been dealt with, so whatever the first one set off is over.
    await cluster.setUnready(namespace, name, true);
    const writes = await sandbox.kubernetes.readAudit({ since, user: 'system:kwok', namespace, name });
    expect(writes.filter(({ responseStatus }) => responseStatus?.code === 200)).toHaveLength(2);
    const pod = await cluster.pod(namespace, name);
    expect(pod?.status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'example.org/mine', status: 'Unknown' }),
    );
  });
});

describe('evictions', () => {
  test('over the budget are answered 429, within it the pod goes and is replaced', async () => {
    const { namespace, pods } = await shop();
    await untilInTraffic(namespace, pods);
    const [first, second] = pods.map(nameOf);
    const evict = (name: string) =>
      cluster.core.createNamespacedPodEviction({ namespace, name, body: { metadata: { name, namespace } } });

    // The budget is counted by a controller of its own: asked too early, the eviction would be granted.
    await eventually('the budget counts all', async () => (await allowed(namespace)) === 1);
    await cluster.setUnready(namespace, second!, true);
    await eventually('the budget counts it', async () => (await allowed(namespace)) === 0);
    await expect(evict(first!)).rejects.toMatchObject({ code: 429 });
    expect(await cluster.pod(namespace, first!)).toBeDefined();

    await cluster.setUnready(namespace, second!, false);
    await eventually('evicted', () => evict(first!).then(() => true));
    await eventually('gone', async () => (await cluster.pod(namespace, first!)) === undefined);
    const after = await cluster.readyPods(namespace, 'web', 3);
    expect(after.map(uidOf)).not.toContain(uidOf(pods[0]!));

    const evictions = await sandbox.kubernetes.readAudit({ namespace, subresource: 'eviction', name: first });
    expect(evictions.map(({ responseStatus }) => responseStatus?.code)).toContain(429);
    expect(evictions.at(-1)?.responseStatus?.code).toBe(201);
    // A second one, by name, would be for the successor in a StatefulSet.
    const deletes = await sandbox.kubernetes.readAudit({ namespace, user: 'system:kwok', verb: 'delete', name: first });
    expect(deletes.map(({ responseStatus }) => responseStatus?.code)).toEqual([200]);
  });

  /** How many evictions the budget of the shop would grant now, as its status says. */
  async function allowed(namespace: string): Promise<number | undefined> {
    const config = new KubeConfig();
    config.loadFromFile(sandbox.kubernetes.kubeconfig);
    const request = { namespace, name: 'web' };
    const { status } = await config.makeApiClient(PolicyV1Api).readNamespacedPodDisruptionBudget(request);
    return status?.disruptionsAllowed;
  }
});

describe('the audit log', () => {
  test('has each mutating request that was answered, who made it and with what, and no reads', async () => {
    const namespace = await cluster.namespace();
    const body = { metadata: { name: 'one' }, data: { key: 'value' } };
    const since = new Date();
    await cluster.core.createNamespacedConfigMap({ namespace, body });
    await cluster.core.readNamespacedConfigMap({ namespace, name: 'one' });
    await cluster.core.deleteNamespacedConfigMap({ namespace, name: 'one' });
    const events = await sandbox.kubernetes.readAudit({ since, user: 'admin', namespace });
    expect(events).toMatchObject([
      { verb: 'create', objectRef: { resource: 'configmaps', name: 'one' }, requestObject: { data: { key: 'value' } } },
      { verb: 'delete', objectRef: { resource: 'configmaps', name: 'one' }, responseStatus: { code: 200 } },
    ]);
    expect(new Date(events[0]!.requestReceivedTimestamp).getTime()).toBeGreaterThanOrEqual(since.getTime());
    expect(await sandbox.kubernetes.readAudit({ namespace, verb: ['get', 'list', 'watch'] })).toEqual([]);
    const all = await sandbox.kubernetes.readAudit();
    expect(all.filter(({ verb }) => ['get', 'list', 'watch'].includes(verb))).toEqual([]);
  });

  test('has requests that were forbidden: a further user has no rights of its own', async () => {
    const config = new KubeConfig();
    config.loadFromFile(sandbox.kubernetes.users.guest!.kubeconfig);
    const guest = config.makeApiClient(CoreV1Api);
    const namespace = await cluster.namespace();
    const create = guest.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'one' } } });
    await expect(create).rejects.toMatchObject({ code: 403 });
    const events = await sandbox.kubernetes.readAudit({ user: 'guest', namespace });
    expect(events).toMatchObject([{ verb: 'create', responseStatus: { code: 403 } }]);
  });
});

test('the nodes are Ready, and stay it', async () => {
  const { items } = await cluster.core.listNode();
  expect(items.map(nameOf)).toEqual(sandbox.kubernetes.nodes);
  for (const node of items) {
    expect(node.status?.conditions).toContainEqual(expect.objectContaining({ type: 'Ready', status: 'True' }));
    expect(node.spec?.taints ?? []).toEqual([]);
  }
});
