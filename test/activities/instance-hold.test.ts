import { CancelledFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { HELD_ANNOTATION, IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../model/names.ts';
import type { HoldRequest } from '../../model/ports/instance.ts';
import { deployment, nameOf, service, uidOf, type WorkloadOptions } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { inMs, useBench } from './instance-support.ts';

const bench = useBench();

/** A sick pod, cut from its traffic, and the request to hold it. */
async function heldPod(options: Partial<WorkloadOptions> = { trafficLabel: true }, change: Partial<HoldRequest> = {}) {
  const namespace = await bench.cluster.namespace();
  const labelled = options.trafficLabel ?? false;
  await bench.cluster.create(deployment({ namespace, name: 'web', ...options }), service(namespace, 'web', labelled));
  const [pod] = await bench.cluster.readyPods(namespace, 'web', options.replicas ?? 2);
  const name = nameOf(pod!);
  // The EndpointSlices follow when they can; what they show is a part of what a wait reports.
  await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uidOf(pod!)));
  await bench.cluster.setUnready(namespace, name, true);
  const { request } = await bench.sick(namespace, name);
  await bench.run('cut', request).result;
  await eventually('out of traffic', async () => !(await bench.cluster.isInTraffic(namespace, uidOf(pod!))));
  const hold: HoldRequest = { ...request, step: 'restore', deadline: inMs(60_000), stableFor: 500, ...change };
  return { namespace, name, uid: uidOf(pod!), hold };
}

const setLabel = (namespace: string, name: string, value: string) =>
  bench.cluster.patchPod(namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: value } } });

describe('recovered', () => {
  test('by the label: healthy long enough, its traffic given back exactly', async () => {
    const { namespace, name, uid, hold } = await heldPod();
    const running = bench.run('hold', hold);
    await eventually('a heartbeat with the time since which it is out', () =>
      running.beats.some((beat) => (beat as { outSince?: string }).outSince),
    );
    await bench.cluster.setUnready(namespace, name, false);
    expect(await running.result).toMatchObject({
      verdict: 'recovered',
      changes: [{ step: 'restore', field: `metadata.labels[${TRAFFIC_LABEL}]`, before: 'off', after: 'on' }],
    });
    expect(await bench.cluster.held(namespace, name)).toEqual([]);
    await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uid));
    expect(await bench.mutations(namespace)).toHaveLength(2);
  });

  test('by the gate: not Ready only for its own gate, which counts as healthy', async () => {
    const { namespace, name, uid, hold } = await heldPod({ gates: [IN_SERVICE_GATE] });
    const running = bench.run('hold', hold);
    await bench.cluster.setUnready(namespace, name, false);
    expect(await running.result).toMatchObject({ verdict: 'recovered', changes: [{ before: 'False', after: 'True' }] });
    await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uid));
  });

  test('with nothing held: nothing to give back', async () => {
    const { namespace, name, hold } = await heldPod({});
    const running = bench.run('hold', hold);
    await bench.cluster.setUnready(namespace, name, false);
    expect(await running.result).toMatchObject({ verdict: 'recovered', changes: [] });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  test('by an attempt that was killed before it could report: answered as such, nothing is cut again', async () => {
    for (const options of [{ trafficLabel: true }, { gates: [IN_SERVICE_GATE] }]) {
      const { namespace, name, hold } = await heldPod(options);
      const first = bench.run('hold', hold);
      await bench.cluster.setUnready(namespace, name, false);
      const { changes } = await first.result;
      // After a gate was given back the kubelet still has to write that the pod is Ready.
      await bench.cluster.readyPods(namespace, 'web', 2);
      if (options.gates) {
        // Killed between the two writes of a gate: the note is still there.
        const annotations = { [HELD_ANNOTATION]: JSON.stringify(hold.held) };
        await bench.cluster.patchPod(namespace, name, { metadata: { annotations } });
      }
      const before = await bench.mutations(namespace);
      const again = await bench.run('hold', hold).result;
      expect(again).toMatchObject({ verdict: 'recovered' });
      expect(again.changes[0]).toMatchObject({ field: changes[0]!.field, before: changes[0]!.before, step: 'restore' });
      expect(await bench.cluster.held(namespace, name)).toEqual([]);
      const written = (await bench.mutations(namespace)).slice(before.length);
      expect(written.map(({ objectRef }) => objectRef?.subresource)).toEqual(options.gates ? [undefined] : []);
    }
  });

  test('not while it flaps: health is counted anew after each break', async () => {
    const { namespace, name, hold } = await heldPod(undefined, { stableFor: 5_000 });
    const running = bench.run('hold', { ...hold, deadline: inMs(9_000) });
    const over = running.result.then(() => true);
    for (let unready = false, ended = false; !ended; unready = !unready) {
      await bench.cluster.setUnready(namespace, name, unready);
      ended = await Promise.race([over, new Promise<false>((resolve) => setTimeout(resolve, 300, false))]);
    }
    expect(await running.result).toMatchObject({ verdict: 'sick', changes: [] });
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('off');
  });
});

describe('not recovered', () => {
  test('sick at the deadline, with the time since which the EndpointSlices show the cut; still cut', async () => {
    const { namespace, name, hold } = await heldPod();
    const before = new Date().toISOString();
    const result = await bench.run('hold', { ...hold, deadline: inMs(1_500) }).result;
    expect(result).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/ContainersReady is False/),
      changes: [],
    });
    expect(result.verdict === 'sick' && result.outSince).toEqual(expect.any(String));
    expect(result.verdict === 'sick' && result.outSince! >= before).toBe(true);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('off');
  });

  test('the time out of traffic is kept over a restart; a passed deadline is answered at once', async () => {
    const { hold } = await heldPod();
    const outSince = inMs(-60_000);
    const result = await bench.run('hold', { ...hold, deadline: inMs(-1) }, { outSince, contests: [], changes: [] })
      .result;
    expect(result).toMatchObject({ verdict: 'sick', outSince });
  });

  test('gone: deleted by somebody else; nothing more is written', async () => {
    const { namespace, name, hold } = await heldPod();
    const running = bench.run('hold', hold);
    await eventually('a heartbeat', () => running.beats.length > 0);
    await bench.cluster.core.deleteNamespacedPod({ namespace, name });
    expect(await running.result).toMatchObject({ verdict: 'gone', changes: [] });
    expect(await bench.mutations(namespace)).toHaveLength(1);
  });

  test('cancelled: ends at once with what the workflow expects, its watches closed, the cut left to the undo', async () => {
    const { namespace, name, hold } = await heldPod();
    const running = bench.run('hold', hold);
    await eventually('its watch', async () => (await bench.cluster.openWatches('pods')) === 1);
    running.cancel();
    await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
    await eventually('no watch', async () => (await bench.cluster.openWatches('pods')) === 0);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('off');
  });
});

describe('contested', () => {
  test('changed back once: asserted again; a second time: left as it is, and who did it is named', async () => {
    const { namespace, name, hold } = await heldPod();
    const running = bench.run('hold', hold);
    await eventually('a heartbeat', () => running.beats.length > 0);
    await setLabel(namespace, name, 'on');
    await eventually('asserted again', async () => (await bench.cluster.trafficLabel(namespace, name)) === 'off');
    await setLabel(namespace, name, 'on');
    expect(await running.result).toMatchObject({
      verdict: 'contested',
      manager: 'kubectl-edit',
      changes: [{ before: 'on', after: 'off', what: expect.stringMatching(/kubectl-edit had changed it/) }],
    });
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('on');
    expect(await bench.mutations(namespace)).toHaveLength(2);

    const released = await bench.run('restore', hold).result;
    expect(released).toMatchObject([{ what: expect.stringMatching(/is on again already/) }]);
    expect(await bench.cluster.held(namespace, name)).toEqual([]);
  });

  test('the first change is remembered over a restart', async () => {
    const { namespace, name, hold } = await heldPod();
    const first = bench.run('hold', hold);
    await eventually('a heartbeat', () => first.beats.length > 0);
    await setLabel(namespace, name, 'on');
    const last = await eventually('a heartbeat that tells', () =>
      first.beats.find((beat) => (beat as { contests: string[] }).contests.length > 0),
    );
    first.cancel();
    await expect(first.result).rejects.toBeInstanceOf(CancelledFailure);
    const second = bench.run('hold', hold, last);
    await setLabel(namespace, name, 'on');
    expect(await second.result).toMatchObject({ verdict: 'contested', changes: [{ after: 'off' }] });
  });

  test('a change that came before the wait began counts', async () => {
    const { namespace, name, hold } = await heldPod();
    await setLabel(namespace, name, 'on');
    const running = bench.run('hold', hold);
    await eventually('asserted again', async () => (await bench.cluster.trafficLabel(namespace, name)) === 'off');
    running.cancel();
    await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
  });
});

test('twenty waits in one namespace share two watches, and leave none', async () => {
  const namespace = await bench.cluster.namespace();
  await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 20, trafficLabel: true }));
  await bench.cluster.create(service(namespace, 'web', true));
  const pods = await bench.cluster.readyPods(namespace, 'web', 20);
  const waits = await Promise.all(
    pods.map(async (pod) => {
      await bench.cluster.setUnready(namespace, nameOf(pod), true);
      const { request } = await bench.sick(namespace, nameOf(pod));
      await bench.run('cut', request).result;
      return bench.run('hold', { ...request, step: 'restore', deadline: inMs(60_000), stableFor: 200 });
    }),
  );
  await eventually('all wait', () =>
    waits.every(({ beats }) => beats.some((b) => (b as { outSince?: string }).outSince)),
  );
  // Those of the tests before it are counted until the server has noticed their end.
  for (const resource of ['pods', 'endpointslices'])
    await eventually(`one watch of ${resource}`, async () => (await bench.cluster.openWatches(resource)) === 1);
  await Promise.all(pods.map((pod) => bench.cluster.setUnready(namespace, nameOf(pod), false)));
  const results = await Promise.all(waits.map(({ result }) => result));
  expect(results.map(({ verdict }) => verdict)).toEqual(pods.map(() => 'recovered'));
  await eventually('no watch', async () => (await bench.cluster.openWatches('pods')) === 0);
});
