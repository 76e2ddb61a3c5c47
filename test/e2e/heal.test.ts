import { expect, test } from 'vitest';
import { HELD_ANNOTATION } from '../../model/names.ts';
import { budget, deployment, nameOf, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { PATIENCE, useStack } from './support.ts';

const stack = useStack({
  recovers: { with: { recoverWithin: '5m', stableFor: '1s' } },
  replaced: { with: { recoverWithin: '1s', stableFor: '1s', quietFor: '1s' } },
});

/** A web server of two pods that get traffic whether they are ready or not; its first pod shall be the sick one. */
async function workload(rule: string) {
  const namespace = await stack.cluster.namespace('heal');
  await stack.cluster.create(
    stack.exposed(namespace, 'web'),
    deployment({ namespace, name: 'web', trafficLabel: true }),
  );
  const [sick, other] = await stack.cluster.readyPods(namespace, 'web', 2);
  const uid = uidOf(sick!);
  const inTraffic = (which = uid) => stack.cluster.isInTraffic(namespace, which);
  await eventually(
    'both are in traffic',
    async () => (await inTraffic()) && (await inTraffic(uidOf(other!))),
    PATIENCE,
  );
  return { namespace, uid, other: uidOf(other!), inTraffic, it: { namespace, pod: nameOf(sick!), rule } };
}

test('a pod that recovers is taken out of traffic and put back exactly as it was', async () => {
  const { namespace, it, uid, other, inTraffic } = await workload('recovers');
  await stack.cluster.setUnready(namespace, it.pod, true);
  expect(await inTraffic(), 'alive, not able to work, and still in traffic').toBe(true);

  await stack.breakPod(it);
  await eventually('the pod leaves the EndpointSlice', async () => !(await inTraffic()), PATIENCE);
  expect(await stack.cluster.trafficLabel(namespace, it.pod)).toBe('off');
  expect(await stack.cluster.held(namespace, it.pod)).toMatchObject([{ before: 'on', set: 'off', object: { uid } }]);
  expect(await inTraffic(other), 'the healthy pod keeps its traffic').toBe(true);

  await stack.mendPod(it);
  await eventually('the pod is in the EndpointSlice again', () => inTraffic(), PATIENCE);
  const ending = await stack.ending(it);
  expect(ending).toMatchObject({ outcome: 'recovered', changes: [{ after: 'off' }, { after: 'on' }] });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
  const pod = await stack.cluster.pod(namespace, it.pod);
  expect(uidOf(pod!)).toBe(uid);
  expect(pod?.metadata?.annotations ?? {}).not.toHaveProperty([HELD_ANNOTATION]);
  expect(await stack.cluster.trafficLabel(namespace, it.pod)).toBe('on');
});

test('a pod that does not recover is evicted as soon as its disruption budget allows it, and replaced', async () => {
  const { namespace, it, uid, other } = await workload('replaced');
  await stack.cluster.create(budget(namespace, 'web', 2));
  await stack.breakPod(it);

  const evictions = () => stack.requests(namespace, { subresource: 'eviction' });
  const codes = async () => (await evictions()).map(({ responseStatus }) => responseStatus?.code);
  await eventually('the budget forbids the eviction', async () => (await codes()).includes(429), PATIENCE);
  expect(uidOf((await stack.cluster.pod(namespace, it.pod))!), 'the pod waits').toBe(uid);
  await stack.setMinAvailable(namespace, 'web', 1);

  const ending = await stack.ending(it);
  expect(ending).toMatchObject({ outcome: 'remediated', changes: [{ after: 'off' }, { field: 'eviction' }] });
  expect((await codes()).slice(0, -1).every((code) => code === 429)).toBe(true);
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `eviction ${uid}`]);
  const uids = (await stack.cluster.readyPods(namespace, 'web', 2)).map(uidOf);
  expect(uids).toContain(other);
  expect(uids).not.toContain(uid);
  for (const each of uids)
    await eventually('the replacement is in traffic', () => stack.cluster.isInTraffic(namespace, each), PATIENCE);
  stack.exporter.set(it, false);
});

test('an alert that is delivered again, at once or after the end, acts once', async () => {
  const { namespace, it, uid } = await workload('recovers');
  await stack.breakPod(it);
  const body = await stack.webhookOf(it);
  expect(await Promise.all([1, 2, 3].map(() => stack.deliver(body)))).toEqual([200, 200, 200]);
  await stack.untilTraffic(it, 'off');
  expect(await stack.deliver(body)).toBe(200);
  await stack.mendPod(it);
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered' });
  await eventually(
    'the responder knows',
    async () => Object.keys((await stack.responder(it)).open).length === 0,
    PATIENCE,
  );

  // The same old news, while the pod happens to be sick anew: acting on it would leave its marks.
  await stack.cluster.setUnready(namespace, it.pod, true);
  expect(await stack.deliver(body)).toBe(200);
  expect(await Promise.all([1, 2].map(() => stack.deliver(body)))).toEqual([200, 200]);
  const state = await eventually(
    'each delivery is answered',
    async () => {
      const seen = await stack.responder(it);
      const { admit, wait, refuse, coalesce } = seen.tally;
      return admit + wait + refuse + coalesce >= 8 && seen;
    },
    PATIENCE,
  );
  expect(state).toMatchObject({ tally: { admit: 1, wait: 0, refuse: 0 }, open: {}, queue: {} });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
});
