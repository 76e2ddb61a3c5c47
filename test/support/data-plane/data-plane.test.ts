import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { TRAFFIC_LABEL } from '../../../model/names.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import { deployment, nameOf, service, TestCluster } from '../kubernetes.ts';
import { eventually } from '../wait.ts';
import { figuresOf, hasFailed } from './answers.ts';
import { DataPlane } from './data-plane.ts';
import type { Load } from './load.ts';
import { STALLS, WELL } from './pod-server.ts';

/** Requests a second. */
const RATE = 200;
/** Of a request, milliseconds: a machine that was busy for seconds is not taken for a process that stalls. */
const TIMEOUT = 20_000;

let sandbox: Sandbox<'kubernetes'>;
let cluster: TestCluster;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['kubernetes'] });
  cluster = new TestCluster(sandbox.kubernetes);
});
afterAll(() => sandbox?.stop());

async function plane() {
  const namespace = await cluster.namespace('plane');
  await cluster.create(
    service(namespace, 'web', true),
    deployment({ namespace, name: 'web', replicas: 3, trafficLabel: true }),
  );
  const names = (await cluster.readyPods(namespace, 'web', 3)).map(nameOf);
  const folder = join(sandbox.folder, namespace);
  const { kubernetes } = sandbox;
  const data = await DataPlane.start({ kubernetes, folder, namespace, service: 'web', timeout: TIMEOUT });
  onTestFinished(() => data.close());
  await data.untilTraffic(3);
  return { namespace, data, pods: await Promise.all(names.map((name) => data.pod(name))) };
}

/** Resolves when so many more requests have ended. */
const more = (load: Load, count = RATE) => {
  const wanted = load.answers.length + count;
  return eventually(`${count} more answers`, () => load.answers.length >= wanted);
};

test('a process that stalls makes its share of the requests bad, and its liveness does not notice', async () => {
  const { data, pods } = await plane();
  const [sick] = pods;
  const load = data.load(RATE);
  await more(load);
  expect(figuresOf(load.answers)).toMatchObject({ failed: 0 });
  sick?.server.behave(STALLS);
  await eventually('callers are failed', () => load.answers.filter(hasFailed).length >= RATE / 4);
  await eventually('the prober sees it', async () => {
    const metrics = await (await fetch(`http://${data.prober.address}/metrics`)).text();
    return metrics.includes(`pod="${sick?.name}"} 0\n`);
  });
  sick?.server.behave(WELL);
  const answers = await load.stop();
  const failed = answers.filter(hasFailed).map(({ status, upstream }) => `${status} ${upstream}`);
  expect(new Set(failed)).toEqual(new Set([`504 ${sick?.server.address}`]));
  expect(sick?.server.restarts).toBe(0);
});

test('a process whose liveness fails is started again, and is well', async () => {
  const { pods } = await plane();
  const [sick, ...others] = pods;
  sick?.server.behave({ ...STALLS, alive: false });
  await eventually('a restart', () => sick?.server.restarts === 1);
  expect(others.map(({ server }) => server.restarts)).toEqual([0, 0]);
  const response = await fetch(`http://${sick?.server.address}/`);
  expect(response.status).toBe(200);
});

test('traffic follows the EndpointSlices without losing a request: out, in again, deleted and replaced', async () => {
  const { namespace, data, pods } = await plane();
  const [first, second] = pods;
  const load = data.load(RATE);
  await more(load);

  const label = (value: string) =>
    cluster.patchPod(namespace, first?.name ?? '', { metadata: { labels: { [TRAFFIC_LABEL]: value } } });
  await label('off');
  await data.untilTraffic(2, [{ pod: first!, sent: false }]);
  const off = Date.now();
  await eventually('later answers', () => load.answers.filter(({ start }) => start > off).length >= RATE);
  const later = load.answers.filter(({ start }) => start > off);
  expect(later.filter(({ upstream }) => upstream === first?.server.address)).toEqual([]);
  const { received } = first!.server;
  await label('on');
  await data.untilTraffic(3, [{ pod: first!, sent: true }]);
  await eventually('it has requests', () => first!.server.received > received);

  await cluster.core.deleteNamespacedPod({ namespace, name: second?.name ?? '' });
  await eventually('its process ends', () => second?.server.closedAt !== undefined);
  await data.untilTraffic(3, [{ pod: second!, sent: false }]);
  const successor = data.kubelet.pods.find(({ uid }) => !pods.some((pod) => pod.uid === uid));
  await eventually('its successor has requests', () => (successor?.server.received ?? 0) > 0);
  await more(load);
  const answers = await load.stop();
  expect(answers.filter(hasFailed)).toEqual([]);
  expect(answers.some(({ upstream }) => upstream === successor?.server.address)).toBe(true);
});
