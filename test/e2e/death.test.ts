import { kill } from 'node:process';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { TRAFFIC_LABEL } from '../../model/names.ts';
import { deployment, nameOf, statefulSet, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import type { Complaint } from './exporter.ts';
import { Gatekeeper, type Write } from './gatekeeper.ts';
import { inShort, PATIENCE, SALVOR, useStack } from './support.ts';

const stack = useStack({
  recovers: { with: { recoverWithin: '5m', stableFor: '1s' } },
  replaced: { with: { recoverWithin: '0s', stableFor: '0s', quietFor: '0s' } },
});
const gatekeeper = new Gatekeeper();

beforeAll(async () => {
  await gatekeeper.listen();
  await stack.cluster.create(gatekeeper.configuration(SALVOR));
  const { it } = await workload(deployment, 'recovers');
  await eventually('the API server asks the gatekeeper', async () => {
    await stack.tryToLabel(it);
    return gatekeeper.asked > 0;
  });
});
// A test that failed may have left none.
beforeEach(async () => {
  if (!stack.worker) await stack.startWorker();
});
afterAll(() => gatekeeper.close());

async function workload(make: typeof deployment | typeof statefulSet, rule: string) {
  const namespace = await stack.cluster.namespace('death');
  await stack.cluster.create(stack.exposed(namespace, 'web'), make({ namespace, name: 'web', trafficLabel: true }));
  const [sick] = await stack.cluster.readyPods(namespace, 'web', 2);
  return { namespace, uid: uidOf(sick!), it: { namespace, pod: nameOf(sick!), rule } };
}

const traffic =
  (value: string) =>
  ({ subResource, object }: Write): boolean =>
    !subResource && object?.metadata?.labels?.[TRAFFIC_LABEL] === value;
const eviction = ({ subResource }: Write): boolean => subResource === 'eviction';

/**
 * The worst moment to die: the write is made, and the worker cannot report it, for it is frozen from the moment at which
 * the API server takes the write. `meanwhile` resolves when the write has been seen; then the worker is killed.
 */
async function killedBeforeItReports(
  it: Complaint,
  write: (write: Write) => boolean,
  meanwhile: () => Promise<void>,
): Promise<void> {
  let frozen = false;
  gatekeeper.at(
    (one) => one.namespace === it.namespace && one.name === it.pod && write(one),
    () => {
      frozen = kill(stack.worker!.pid, 'SIGSTOP');
    },
  );
  await meanwhile();
  await stack.killWorker();
  expect(frozen).toBe(true);
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

test('the worker is killed after the cut, which it cannot report: the next one finishes, and nothing is done twice', async () => {
  const { namespace, it, uid } = await workload(deployment, 'recovers');
  await killedBeforeItReports(it, traffic('off'), async () => {
    await stack.breakPod(it);
    await stack.untilTraffic(it, 'off');
  });
  // It recovers while nobody looks.
  await stack.mendPod(it);
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`]);

  await stack.startWorker();
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered', changes: [{ after: 'off' }, { after: 'on' }] });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
  expect(await stack.cluster.held(namespace, it.pod)).toEqual([]);
});

test('the worker is killed after it gave the traffic back, which it cannot report: the next one does not repeat it', async () => {
  const { namespace, it, uid } = await workload(deployment, 'recovers');
  await stack.breakPod(it);
  await stack.untilTraffic(it, 'off');
  await killedBeforeItReports(it, traffic('on'), async () => {
    await stack.mendPod(it);
    await stack.untilTraffic(it, 'on');
  });

  await stack.startWorker();
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered', changes: [{ after: 'off' }, { after: 'on' }] });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
});

test("the worker is killed after it evicted a StatefulSet's pod: the successor of the same name is not touched", async () => {
  const { namespace, it, uid } = await workload(statefulSet, 'replaced');
  let successor = '';
  await killedBeforeItReports(it, eviction, async () => {
    await stack.breakPod(it);
    const look = async () => {
      const pod = await stack.cluster.pod(namespace, it.pod);
      return pod && uidOf(pod) !== uid && uidOf(pod);
    };
    successor = await eventually('the successor', look, PATIENCE);
  });
  // As sick as the one before: who goes by the name would evict it.
  await stack.cluster.setUnready(namespace, it.pod, true);

  await stack.startWorker();
  await stack.untilAt(it, 'verify');
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
