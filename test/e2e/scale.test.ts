import { AppsV1Api, AutoscalingV2Api, KubeConfig, PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { HELD_ANNOTATION, MESSAGE, remediationId } from '../../model/names.ts';
import type { Ending, Story } from '../../model/remediation.ts';
import { deployment } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { Queue } from './queue.ts';
import { PATIENCE, useStack } from './support.ts';

/** Far more than comes in while Salvor needs a minute for all it does; without it, it would be passed in two. */
const BOUND = 8_000;
const PER_POD = 20;
const BASE = 20;
const RUSH = 120;

const NAMED = '{namespace="${namespace}",queue="${name}"}';
const options = {
  backlog: {
    items: { promql: `queue_length${NAMED}` },
    arrivals: { promql: `queue_arrivals_total${NAMED}` },
    served: { promql: `queue_served_total${NAMED}` },
    drainWithin: '10s',
  },
  max: 20,
  startUp: '2s',
  every: '1s',
  goodFor: '15s',
  readyWithin: '5m',
  stalledAfter: '10m',
  behavior: { scaleDown: { stabilizationWindow: '5s' } },
};
const rule = {
  match: ['alertname="QueueGrows"'],
  runbook: 'scale-on-backlog',
  target: 'k8s/sandbox/${labels.namespace}/deployment.apps/${labels.queue}',
  gates: { maxInFlight: 5 },
  with: options,
};
const stack = useStack({
  jams: { ...rule, match: [...rule.match, 'queue="jams"'], with: { ...options, max: 6, stalledAfter: '10s' } },
  backlogs: rule,
});

let apps: AppsV1Api;
let autoscaling: AutoscalingV2Api;
const queues: Queue[] = [];

beforeAll(async () => {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(stack.sandbox.kubernetes.kubeconfig);
  apps = kubeconfig.makeApiClient(AppsV1Api);
  autoscaling = kubeconfig.makeApiClient(AutoscalingV2Api);
  // On the slope, before it hurts: where it would be in half a minute.
  const expr = 'predict_linear(queue_length[10s], 30) > 500 and deriv(queue_length[10s]) > 5';
  await stack.sandbox.prometheus.reload({ rules: [{ name: 'queues', rules: [{ alert: 'QueueGrows', expr }] }] });
});
afterEach(() => {
  for (const queue of queues.splice(0)) queue.stop();
});

/** A Deployment of two pods, and the queue on which they work, which is as good as empty. */
async function queueOf(name: string): Promise<{ queue: Queue; namespace: string; target: string }> {
  const namespace = await stack.cluster.namespace(name);
  await stack.cluster.create(deployment({ namespace, name, replicas: 2 }));
  const workers = async () => (await apps.readNamespacedDeployment({ namespace, name })).status?.readyReplicas ?? 0;
  const queue = new Queue({ labels: { namespace, queue: name }, workers, perWorker: PER_POD });
  queues.push(queue);
  await eventually('two pods work', () => queue.ready === 2, PATIENCE);
  stack.exporter.others.push(() => queue.metrics());
  queue.arrivalRate = BASE;
  return { queue, namespace, target: `k8s/sandbox/${namespace}/deployment.apps/${name}` };
}

const remediationOf = (target: string) => stack.client.workflow.getHandle(remediationId(target));

async function replicasOf(namespace: string, name: string) {
  const { spec, metadata } = await apps.readNamespacedDeployment({ namespace, name });
  return { replicas: spec?.replicas, held: metadata?.annotations?.[HELD_ANNOTATION] };
}

/** What Salvor set, in order, as the API server's audit log has it. */
async function sizesSet(namespace: string, resource: string, field: string): Promise<unknown[]> {
  const events = await stack.requests(namespace, { resource });
  return events
    .filter(({ responseStatus }) => responseStatus?.code === 200)
    .map(({ requestObject }) => (requestObject as { spec?: Record<string, unknown> }).spec?.[field]);
}

/** The rush, until Salvor has the backlog down again; then there is little to do as before. */
async function rush(queue: Queue): Promise<void> {
  queue.arrivalRate = RUSH;
  await eventually('more pods work than before', () => queue.ready > 2, PATIENCE);
  await eventually('they keep up with it', () => queue.ready * PER_POD >= RUSH && queue.waiting < RUSH, PATIENCE);
  queue.arrivalRate = BASE;
}

test('a backlog that grows is worked off by more pods, though the worker is killed, and they go when it is over', async () => {
  const { queue, namespace, target } = await queueOf('orders');
  queue.arrivalRate = RUSH;
  await eventually('more pods work than before', () => queue.ready > 2, PATIENCE);
  await stack.killWorker();
  await stack.startWorker();
  await rush(queue);

  const ending: Ending = await remediationOf(target).result();
  expect(ending).toMatchObject({ outcome: 'remediated' });
  expect(queue.worst).toBeLessThan(BOUND);
  expect(await replicasOf(namespace, 'orders')).toEqual({ replicas: 2, held: undefined });

  const sizes = await sizesSet(namespace, 'deployments', 'replicas');
  const made = ending.changes.filter(({ field }) => field === 'spec.replicas').map(({ after }) => after);
  expect(made, 'each change is on record once').toEqual(
    sizes.filter((size, i) => size !== undefined && size !== (i > 0 ? sizes[i - 1] : 2)),
  );
  expect(Math.max(...made.map(Number))).toBeGreaterThanOrEqual(RUSH / PER_POD);
  expect(Math.max(...made.map(Number))).toBeLessThanOrEqual(20);
  expect(made.at(-1)).toBe(2);
});

test('what a person sets meanwhile is respected', async () => {
  const { queue, namespace, target } = await queueOf('letters');
  queue.arrivalRate = RUSH;
  await eventually('more pods work than before', () => queue.ready > 2, PATIENCE);
  const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  await apps.patchNamespacedDeployment({ namespace, name: 'letters', body: { spec: { replicas: 3 } } }, merge);

  const ending: Ending = await remediationOf(target).result();
  expect(ending).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('overruled') });
  expect(await replicasOf(namespace, 'letters')).toEqual({ replicas: 3, held: undefined });
});

test('of a HorizontalPodAutoscaler the minimum is raised, and is absent again after', async () => {
  const { queue, namespace, target } = await queueOf('parcels');
  await stack.cluster.create({
    ...{ apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata: { namespace, name: 'parcels' } },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'parcels' },
      maxReplicas: 12,
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } } },
      ],
    },
  } as never);
  const minimum = async () =>
    (await autoscaling.readNamespacedHorizontalPodAutoscaler({ namespace, name: 'parcels' })).spec?.minReplicas;
  const before = await minimum();
  queue.arrivalRate = RUSH;
  await eventually('its minimum is raised', async () => ((await minimum()) ?? 0) > 2, PATIENCE);
  const story = await remediationOf(target).query<Story>(MESSAGE.story);
  expect(story.held).toMatchObject([{ field: 'spec.minReplicas', before: before ?? null }]);
  await rush(queue);

  const ending: Ending = await remediationOf(target).result();
  expect(ending).toMatchObject({ outcome: 'remediated' });
  expect(queue.worst).toBeLessThan(BOUND);
  expect(await minimum()).toBe(before);
  expect(await sizesSet(namespace, 'deployments', 'replicas'), 'its size itself is its own').toEqual([]);
  const minima = (await sizesSet(namespace, 'horizontalpodautoscalers', 'minReplicas')).filter(
    (one) => one !== undefined,
  );
  const most = Math.max(...minima.map(Number));
  expect(most).toBeLessThanOrEqual(12);
});

test('where more pods do not help a person is told; what serves stays until he gives it back', async () => {
  const { queue, namespace, target } = await queueOf('jams');
  queue.most = 2 * PER_POD;
  queue.arrivalRate = RUSH;
  await eventually('more pods work than before', () => queue.ready > 2, PATIENCE);
  const handle = remediationOf(target);
  const { runId } = await handle.describe();
  const failure = await handle.result().then(
    () => undefined,
    (error: { cause?: unknown }) => error.cause,
  );
  expect(failure).toMatchObject({
    message: expect.stringMatching(/stalled: \d replicas serve instead of \d, and the backlog has not fallen for/),
  });
  const { replicas, held } = await replicasOf(namespace, 'jams');
  expect(replicas).toBeGreaterThan(2);
  expect(replicas).toBeLessThanOrEqual(6);
  expect(held).toContain(`"set":${replicas}`);

  const told = async () => stack.alerts({ alertname: 'SalvorEscalation', salvor_target: target });
  const stalled = async () => (await told()).find(({ annotations }) => annotations['summary']?.includes('stalled'));
  expect((await eventually('a person is told', stalled, PATIENCE)).annotations['look']).toContain('salvor show');

  queue.most = Number.POSITIVE_INFINITY;
  queue.arrivalRate = BASE;
  await eventually('it is worked off', () => queue.waiting < 1, PATIENCE);
  await eventually('then he is told no more', async () => (await told()).length === 0, 2 * PATIENCE);
  expect((await replicasOf(namespace, 'jams')).replicas, 'it is his to give back').toBe(replicas);
  expect(await stack.salvor(['release', runId])).toMatchObject({ status: 0 });
  expect(await replicasOf(namespace, 'jams')).toEqual({ replicas: 2, held: undefined });
});
