import { kill } from 'node:process';
import { expect, test } from 'vitest';
import { budget, deployment, nameOf, statefulSet, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { inShort, PATIENCE, useStack } from './support.ts';

const stack = useStack({
  recovers: { with: { recoverWithin: '5m', stableFor: '1s' } },
  replaced: { with: { recoverWithin: '0s', stableFor: '0s', quietFor: '0s' } },
});

async function workload(make: typeof deployment | typeof statefulSet, rule: string) {
  const namespace = await stack.cluster.namespace('death');
  await stack.cluster.create(stack.exposed(namespace, 'web'), make({ namespace, name: 'web', trafficLabel: true }));
  const [sick] = await stack.cluster.readyPods(namespace, 'web', 2);
  return { namespace, uid: uidOf(sick!), it: { namespace, pod: nameOf(sick!), rule } };
}

/** While Temporal is stopped like this nothing can be reported to it; nobody is told, as when a network is cut. */
async function whileTemporalIsFrozen(work: () => Promise<void>): Promise<void> {
  const pid = stack.sandbox.temporal.pid!;
  kill(pid, 'SIGSTOP');
  try {
    await work();
  } finally {
    kill(pid, 'SIGCONT');
  }
}

test('Temporal is down: the gateway answers 503, Alertmanager delivers again, and the pod is healed', async () => {
  const { namespace, it, uid } = await workload(deployment, 'recovers');
  await stack.sandbox.temporal.kill();
  await stack.breakPod(it);
  await eventually('the gateway answers 503', async () => (await stack.answered(503)) > 0, PATIENCE);
  expect(await stack.requests(namespace)).toEqual([]);

  await stack.sandbox.temporal.start();
  await stack.untilTraffic(it, 'off');
  await stack.mendPod(it);
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered' });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
});

test('the worker is killed after the cut: the next one finishes, and nothing is done twice', async () => {
  const { namespace, it, uid } = await workload(deployment, 'recovers');
  await stack.breakPod(it);
  await stack.untilTraffic(it, 'off');
  await stack.killWorker();
  // It recovers while nobody looks.
  await stack.mendPod(it);
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`]);

  await stack.startWorker();
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered' });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
  expect(await stack.cluster.held(namespace, it.pod)).toEqual([]);
});

test('the worker is killed before it can report that it gave the traffic back: the next one does not repeat it', async () => {
  const { namespace, it, uid } = await workload(deployment, 'recovers');
  await stack.breakPod(it);
  await stack.untilTraffic(it, 'off');
  await stack.untilHeard(it, 'hold', (said) => said !== undefined);
  await whileTemporalIsFrozen(async () => {
    await stack.mendPod(it);
    await stack.untilTraffic(it, 'on');
    await stack.killWorker();
  });

  await stack.startWorker();
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered', changes: [{ after: 'off' }, { after: 'on' }] });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
});

test("the worker is killed after it evicted a StatefulSet's pod: the successor of the same name is not touched", async () => {
  const { namespace, it, uid } = await workload(statefulSet, 'replaced');
  await stack.cluster.create(budget(namespace, 'web', 2));
  await stack.breakPod(it);
  // The budget holds the eviction back until all is prepared for the worst moment.
  await stack.untilHeard(it, 'replace', (said) => said?.['evicting'] === true);
  let successor = '';
  await whileTemporalIsFrozen(async () => {
    await stack.setMinAvailable(namespace, 'web', 1);
    successor = await eventually(
      'the successor',
      async () => {
        const pod = await stack.cluster.pod(namespace, it.pod);
        return pod && uidOf(pod) !== uid && uidOf(pod);
      },
      PATIENCE,
    );
    await stack.killWorker();
    // As sick as the one before: who goes by the name would evict it.
    await stack.cluster.setUnready(namespace, it.pod, true);
  });

  await stack.startWorker();
  await stack.untilHeard(it, 'verify', () => true);
  await stack.mendPod(it);
  expect(await stack.ending(it)).toMatchObject({ outcome: 'remediated' });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `eviction ${uid}`]);
  // Nor did it ask for anything that would have been refused: every request names the one that is gone.
  for (const request of await stack.requests(namespace)) expect(inShort(request)).toMatch(new RegExp(`${uid}$`));
  const pod = await stack.cluster.pod(namespace, it.pod);
  expect(uidOf(pod!)).toBe(successor);
  expect(await stack.cluster.trafficLabel(namespace, it.pod)).toBe('on');
  expect(await stack.cluster.held(namespace, it.pod)).toEqual([]);
});
