import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type Answer, hasFailed } from '../support/data-plane/answers.ts';
import { DataPlane } from '../support/data-plane/data-plane.ts';
import type { RunningPod } from '../support/data-plane/kubelet.ts';
import type { Load } from '../support/data-plane/load.ts';
import { STALLS, WELL } from '../support/data-plane/pod-server.ts';
import { ABLE, UNABLE } from '../support/data-plane/prober.ts';
import { budget, deployment, nameOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { PATIENCE, useStack } from './support.ts';

/** Requests a second. */
const RATE = 200;
const PODS = 5;
/** Of a request, milliseconds: long, so that a machine that was busy for seconds is not taken for a pod that stalls. */
const TIMEOUT = 30_000;

const soon = { recoverWithin: '1s', stableFor: '1s', quietFor: '1s' };

const stack = useStack({
  'stalls-awhile': { with: { recoverWithin: '5m', stableFor: '2s', health: ABLE } },
  'stalls-for-good': { with: { ...soon, health: ABLE } },
  'complained-awhile': { with: { recoverWithin: '5m', stableFor: '1s' } },
  // Its process ends at once, and what goes before Envoy here may be slow to hear of the cut.
  'complained-for-good': { with: { ...soon, quietFor: '20s' } },
});

/** A web server of five pods behind Envoy, whose prober raises the alert for one of the rules, under steady load. */
async function shop(rule: string, preStop?: number) {
  const namespace = await stack.cluster.namespace('shop');
  await stack.cluster.create(
    stack.exposed(namespace, 'web'),
    deployment({ namespace, name: 'web', replicas: PODS, trafficLabel: true }),
    budget(namespace, 'web', PODS - 1),
  );
  const names = (await stack.cluster.readyPods(namespace, 'web', PODS)).map(nameOf);
  const { kubernetes, prometheus, folder } = stack.sandbox;
  const data = await DataPlane.start({
    ...{ kubernetes, folder: join(folder, namespace), timeout: TIMEOUT, preStop },
    ...{ namespace, service: 'web', labels: { rule } },
  });
  onTestFinished(() => data.close());
  await prometheus.reload({
    scrape: [
      { job: 'app', targets: [stack.exporter.address] },
      { job: 'prober', targets: [data.prober.address] },
    ],
    rules: [
      {
        name: 'app',
        rules: [
          { alert: 'PodUnable', expr: 'last_over_time(app_unable[5m]) == 1' },
          { alert: 'PodUnable', expr: UNABLE },
        ],
      },
    ],
  });
  await data.untilTraffic(PODS);
  const load = data.load(RATE);
  onTestFinished(async () => {
    await load.stop();
  });
  await more(load);
  const pods = await Promise.all(names.map((name) => data.pod(name)));
  const complaint = (pod: RunningPod, of = rule) => ({ namespace, pod: pod.name, rule: of });
  return { namespace, data, load, pods, sick: pods[0]!, complaint };
}

/** Resolves when another second's worth of requests has ended. */
async function more(load: Load): Promise<void> {
  const wanted = load.answers.length + RATE;
  await eventually('more answers', () => load.answers.length >= wanted, PATIENCE);
}

/** Resolves when a request that was sent later than this has ended. */
const until = (load: Load, moment: number) =>
  eventually('later answers', () => load.answers.some(({ start }) => start > moment), PATIENCE);

/** Resolves when the pod has been given requests that it has not had yet. */
async function untilServing({ name, server }: RunningPod): Promise<void> {
  const { received } = server;
  await eventually(`requests for ${name}`, () => server.received > received, PATIENCE);
}

/** What failed although it was not given to the stalled pod between its stall and its cut. */
const unexplained = (answers: Answer[], sick: RunningPod, stalled: number, cut: number): Answer[] =>
  answers
    .filter(hasFailed)
    .filter(({ start, upstream }) => upstream !== sick.server.address || start < stalled - TIMEOUT || start > cut);

test('a pod stalls: it is cut while it still stalls, and put back when it has recovered; nothing else is lost', async () => {
  const { namespace, data, load, sick, complaint } = await shop('stalls-awhile');
  const stalled = Date.now();
  sick.server.behave(STALLS);
  await data.untilTraffic(PODS - 1, [{ pod: sick, sent: false }]);
  const cut = Date.now();
  // By then whatever it was given before has failed, and it goes on stalling.
  await until(load, cut + TIMEOUT);
  sick.server.behave(WELL);
  await data.untilTraffic(PODS, [{ pod: sick, sent: true }]);
  await untilServing(sick);
  await more(load);
  const answers = await load.stop();

  expect(await stack.ending(complaint(sick))).toMatchObject({ outcome: 'recovered' });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${sick.uid}`, `traffic on ${sick.uid}`]);
  expect(sick.server.restarts, 'its liveness passed all the time').toBe(0);
  expect(answers.filter(hasFailed), 'it did harm before it was cut').not.toHaveLength(0);
  expect(unexplained(answers, sick, stalled, cut)).toEqual([]);
});

test('a pod stalls for good: it is cut, evicted within its budget and replaced; nothing else is lost', async () => {
  const { namespace, data, load, pods, sick, complaint } = await shop('stalls-for-good');
  const stalled = Date.now();
  sick.server.behave(STALLS);
  await data.untilTraffic(PODS - 1, [{ pod: sick, sent: false }]);
  const cut = Date.now();
  expect(await stack.ending(complaint(sick))).toMatchObject({ outcome: 'remediated' });
  await data.untilTraffic(PODS, [{ pod: sick, sent: false }]);
  const successor = data.kubelet.pods.find(({ uid }) => pods.every((pod) => pod.uid !== uid));
  await untilServing(successor!);
  await eventually('the old process has ended', () => sick.server.closedAt !== undefined, PATIENCE);
  await until(load, cut + TIMEOUT);
  const answers = await load.stop();

  expect(await stack.changes(namespace)).toEqual([`traffic off ${sick.uid}`, `eviction ${sick.uid}`]);
  expect(answers.filter(hasFailed), 'it did harm before it was cut').not.toHaveLength(0);
  expect(unexplained(answers, sick, stalled, cut)).toEqual([]);
});

test('cutting, restoring and evicting pods that serve fails no request, even where processes end the moment they are told to', async () => {
  const { namespace, data, load, pods, complaint } = await shop('stalls-awhile', 0);
  const [cut, evicted] = [pods[0]!, pods[1]!];

  await stack.breakPod(complaint(cut, 'complained-awhile'));
  await data.untilTraffic(PODS - 1, [{ pod: cut, sent: false }]);
  await more(load);
  await stack.mendPod(complaint(cut, 'complained-awhile'));
  await data.untilTraffic(PODS, [{ pod: cut, sent: true }]);
  await untilServing(cut);
  expect(await stack.ending(complaint(cut))).toMatchObject({ outcome: 'recovered' });

  await stack.breakPod(complaint(evicted, 'complained-for-good'));
  expect(await stack.ending(complaint(evicted))).toMatchObject({ outcome: 'remediated' });
  stack.exporter.set(complaint(evicted, 'complained-for-good'), false);
  await eventually('the old process has ended', () => evicted.server.closedAt !== undefined, PATIENCE);
  await data.untilTraffic(PODS, [{ pod: evicted, sent: false }]);
  const successor = data.kubelet.pods.find(({ uid }) => pods.every((pod) => pod.uid !== uid));
  await untilServing(successor!);
  await more(load);
  const answers = await load.stop();

  expect(answers.filter(hasFailed)).toEqual([]);
  expect(await stack.changes(namespace)).toEqual([
    `traffic off ${cut.uid}`,
    `traffic on ${cut.uid}`,
    `traffic off ${evicted.uid}`,
    `eviction ${evicted.uid}`,
  ]);
  const served = new Set(answers.map(({ upstream }) => upstream));
  expect([...served].length, 'the five, and the successor').toBe(PODS + 1);
});
