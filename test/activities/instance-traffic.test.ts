import { describe, expect, test } from 'vitest';
import { HELD_ANNOTATION, IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../model/names.ts';
import type { AuditEvent } from '../../sandbox/audit-log.ts';
import { deployment, nameOf, service, statefulSet, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { actor, inMs, useBench } from './instance-support.ts';

const bench = useBench();
const LABEL_FIELD = `metadata.labels[${TRAFFIC_LABEL}]`;
const GATE_FIELD = `status.conditions[${IN_SERVICE_GATE}]`;

/** A sick pod of a Deployment `web`, ready to be cut by its label or, with `gate`, by its gate. */
async function sickPod(gate = false) {
  const namespace = await bench.cluster.namespace();
  const web = deployment({ namespace, name: 'web', ...(gate ? { gates: [IN_SERVICE_GATE] } : { trafficLabel: true }) });
  await bench.cluster.create(web, service(namespace, 'web', !gate));
  const [pod] = await bench.cluster.readyPods(namespace, 'web', 2);
  const name = nameOf(pod!);
  await bench.cluster.setUnready(namespace, name, true);
  return { namespace, name, uid: uidOf(pod!), ...(await bench.sick(namespace, name)) };
}

/** A sick pod of a StatefulSet, then replaced by a successor of the same name, which is unready too. */
async function replacedPod() {
  const namespace = await bench.cluster.namespace();
  await bench.cluster.create(
    statefulSet({ namespace, name: 'db', replicas: 1, trafficLabel: true }),
    service(namespace, 'db', true),
  );
  const [pod] = await bench.cluster.readyPods(namespace, 'db', 1);
  await bench.cluster.setUnready(namespace, 'db-0', true);
  const { request } = await bench.sick(namespace, 'db-0');
  const replace = async () => {
    await bench.cluster.core.deleteNamespacedPod({ namespace, name: 'db-0' });
    await eventually('the successor', async () => {
      const successor = await bench.cluster.pod(namespace, 'db-0');
      return successor && uidOf(successor) !== uidOf(pod!);
    });
    await bench.cluster.setUnready(namespace, 'db-0', true);
  };
  return { namespace, request, replace };
}

const codes = (events: AuditEvent[]) => events.map(({ responseStatus }) => responseStatus?.code);

describe('cut by the traffic label', () => {
  test('takes the pod out of its Services in one request, alive and counted by its owner; again it changes nothing', async () => {
    const { namespace, name, uid, request } = await sickPod();
    await bench.cluster.setUnready(namespace, name, false);
    await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uid));
    const running = bench.run('cut', request);
    const [change, ...more] = await running.result;
    expect(more).toEqual([]);
    expect(running.asked()).toBe(0); // an alert waits for it
    expect(change).toMatchObject({
      step: 'cut',
      object: request.instance,
      field: LABEL_FIELD,
      before: 'on',
      after: 'off',
    });
    await eventually('out of traffic', async () => !(await bench.cluster.isInTraffic(namespace, uid)));
    expect(await bench.cluster.held(namespace, name)).toEqual(request.held);
    expect(await bench.cluster.readyPods(namespace, 'web', 2)).toHaveLength(2);

    const again = await bench.run('cut', request).result;
    const { requestId, ...same } = change!;
    expect(again).toEqual([{ ...same, at: expect.any(String) }]);
    const [event, ...others] = await bench.mutations(namespace);
    expect(others).toEqual([]);
    expect(event).toMatchObject({ verb: 'patch', auditID: requestId, objectRef: { name } });
    expect(event!.requestURI).toContain('fieldManager=salvor-drain-instance');
    expect(event!.requestObject).toMatchObject({ metadata: { uid, resourceVersion: expect.any(String) } });
  });

  test('succeeds while others write to the pod all the time', async () => {
    const { namespace, name, request } = await sickPod();
    let writes = 0;
    // A later attempt asks between its read and its write: just then another write comes, four times.
    const fence = async () => {
      if (writes === 4) return;
      writes += 1;
      await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { noise: String(writes) } } });
    };
    expect(await bench.run('cut', request, undefined, { attempt: 2, fence }).result).toHaveLength(1);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('off');
    expect(codes(await bench.mutations(namespace))).toEqual([409, 409, 409, 409, 200]);
  });

  test('touches nothing where the name has passed to a successor', async () => {
    const { namespace, request, replace } = await replacedPod();
    await replace();
    await expect(bench.run('cut', request).result).rejects.toMatchObject({ type: 'Replaced', nonRetryable: true });
    expect(await bench.cluster.trafficLabel(namespace, 'db-0')).toBe('on');
    expect(await bench.mutations(namespace)).toEqual([]);
    await bench.cluster.delete(statefulSet({ namespace, name: 'db' }));
    await eventually('no pod', async () => (await bench.cluster.pod(namespace, 'db-0')) === undefined);
    await expect(bench.run('cut', request).result).rejects.toMatchObject({ type: 'Replaced' });
  });

  test('touches nothing where the field is no longer as it was diagnosed, or another remediation holds the pod', async () => {
    const { namespace, name, uid, request } = await sickPod();
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: 'canary' } } });
    await expect(bench.run('cut', request).result).rejects.toMatchObject({
      type: 'Contested',
      nonRetryable: true,
      message: expect.stringMatching(/was on when .* is canary now, set by kubectl-edit/),
    });
    const held = { ...request.held[0], field: 'spec.x', remediation: 'another', until: inMs(60_000), object: { uid } };
    await bench.cluster.patchPod(namespace, name, {
      metadata: { labels: { [TRAFFIC_LABEL]: 'on' }, annotations: { [HELD_ANNOTATION]: JSON.stringify([held]) } },
    });
    const refused = bench.run('cut', request).result;
    await expect(refused).rejects.toMatchObject({ type: 'Contested', message: expect.stringMatching(/another/) });
    expect(await bench.mutations(namespace)).toEqual([]);
  });
});

describe('restore of the traffic label', () => {
  test('gives back exactly what was there, keeps what others hold, and again it changes nothing', async () => {
    const { namespace, name, uid, request } = await sickPod();
    const old = { ...request.held[0], field: 'spec.x', remediation: 'another', until: inMs(-60_000) };
    await bench.cluster.patchPod(namespace, name, {
      metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify([old]) } },
    });
    await bench.run('cut', request).result;
    expect(await bench.cluster.held(namespace, name)).toHaveLength(2);
    const restore = { ...request, step: 'restore' };
    expect(await bench.run('restore', restore).result).toMatchObject([
      { step: 'restore', field: LABEL_FIELD, before: 'off', after: 'on', requestId: expect.any(String) },
    ]);
    expect(await bench.cluster.held(namespace, name)).toEqual([old]);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('on');
    const later = { since: Date.now() + 1_000 };
    expect(await bench.run('restore', restore, undefined, later).result).toEqual([]);
    expect(await bench.cluster.held(namespace, name)).toEqual([old]);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('on');
    await bench.cluster.setUnready(namespace, name, false);
    await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uid));
  });

  test('killed before it could report: the next attempt says what was given back', async () => {
    const { namespace, name, request } = await sickPod();
    const since = Date.now();
    await bench.run('cut', request).result;
    const [given] = await bench.run('restore', request, undefined, { since }).result;
    const { requestId, ...same } = given!;
    const again = await bench.run('restore', request, undefined, { since, attempt: 2 }).result;
    expect(again).toEqual([{ ...same, at: expect.any(String) }]);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('on');
  });

  test('finds nothing to give back: changes the version of the pod, leaves no mark, and reports nothing', async () => {
    const { namespace, name, request } = await sickPod();
    const before = await bench.cluster.pod(namespace, name);
    expect(await bench.run('restore', request).result).toEqual([]);
    const after = await bench.cluster.pod(namespace, name);
    expect(after?.metadata?.resourceVersion).not.toBe(before?.metadata?.resourceVersion);
    for (const pod of [before, after]) delete pod?.metadata?.resourceVersion;
    expect(after).toEqual(before);
  });

  test('broken off between the two writes of that: the next attempt leaves no mark either', async () => {
    const { namespace, name, request } = await sickPod();
    const annotations = { 'salvor.dev/overtaken': request.actor.remediation };
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations } }, 'salvor-drain-instance');
    expect(await bench.run('restore', request).result).toEqual([]);
    const pod = await bench.cluster.pod(namespace, name);
    expect(Object.keys(pod?.metadata?.annotations ?? {})).not.toContain('salvor.dev/overtaken');
    expect(await bench.mutations(namespace)).toHaveLength(1);
  });

  test('gives back what Salvor wrote last although somebody has removed or garbled the note', async () => {
    for (const [note, words] of [
      [null, /although its note is not there/],
      ['what?', /although its note cannot be read, last written by kubectl-edit/],
    ] as const) {
      const { namespace, name, request } = await sickPod();
      await bench.run('cut', request).result;
      await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { [HELD_ANNOTATION]: note } } });
      expect(await bench.run('restore', request).result).toMatchObject([
        { field: LABEL_FIELD, before: 'off', after: 'on', what: expect.stringMatching(words) },
      ]);
      const pod = await bench.cluster.pod(namespace, name);
      expect(pod?.metadata?.labels?.[TRAFFIC_LABEL]).toBe('on');
      // What nobody can read may be another's.
      expect(pod?.metadata?.annotations?.[HELD_ANNOTATION]).toBe(note ?? undefined);
    }
  });

  test('fails, and touches nothing, where neither the note nor the last write is Salvor’s', async () => {
    const { namespace, name, request } = await sickPod();
    await bench.run('cut', request).result;
    for (const value of ['x', 'off'])
      await bench.cluster.patchPod(namespace, name, {
        metadata: { labels: { [TRAFFIC_LABEL]: value }, annotations: { [HELD_ANNOTATION]: null } },
      });
    const before = await bench.mutations(namespace);
    await expect(bench.run('restore', request).result).rejects.toMatchObject({
      type: 'Contested',
      nonRetryable: true,
      message: expect.stringMatching(/is off, .*last written by kubectl-edit, .*set its label .* back to on/),
    });
    expect(await bench.mutations(namespace)).toHaveLength(before.length);
  });

  test('leaves alone what another remediation has cut since', async () => {
    const { namespace, name, request } = await sickPod();
    await bench.run('cut', request).result;
    await bench.run('restore', request).result;
    const other = await bench.sick(namespace, name, actor('another'));
    await bench.run('cut', other.request).result;
    await bench.run('restore', request, undefined, { attempt: 2 }).result;
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('off');
    expect(await bench.cluster.held(namespace, name)).toEqual(other.request.held);
  });

  test('removes the annotation with its last entry', async () => {
    const { namespace, name, request } = await sickPod();
    await bench.run('cut', request).result;
    await bench.run('restore', request).result;
    const pod = await bench.cluster.pod(namespace, name);
    expect(pod?.metadata?.annotations).not.toHaveProperty(HELD_ANNOTATION);
  });

  test('leaves what a person set meanwhile, says so, and lets go', async () => {
    for (const [value, words] of [
      ['canary', /stays canary, set by kubectl-edit/],
      ['on', /is on again already/],
    ] as const) {
      const { namespace, name, request } = await sickPod();
      await bench.run('cut', request).result;
      await bench.cluster.patchPod(namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: value } } });
      const changes = await bench.run('restore', request).result;
      expect(changes).toMatchObject([
        { field: `metadata.annotations[${HELD_ANNOTATION}]`, after: null, what: expect.stringMatching(words) },
      ]);
      expect(await bench.cluster.trafficLabel(namespace, name)).toBe(value);
      expect(await bench.cluster.held(namespace, name)).toEqual([]);
    }
  });

  test('touches neither a successor, nor a pod that it does not hold, and does not mind a pod that is gone', async () => {
    const { namespace, request, replace } = await replacedPod();
    expect(await bench.run('restore', request).result).toEqual([]);
    await bench.run('cut', request).result;
    await replace();
    await bench.cluster.patchPod(namespace, 'db-0', { metadata: { labels: { [TRAFFIC_LABEL]: 'off' } } });
    const before = await bench.mutations(namespace);
    expect(await bench.run('restore', request).result).toEqual([]);
    expect(await bench.cluster.trafficLabel(namespace, 'db-0')).toBe('off');
    await bench.cluster.delete(statefulSet({ namespace, name: 'db' }));
    await eventually('no pod', async () => (await bench.cluster.pod(namespace, 'db-0')) === undefined);
    expect(await bench.run('restore', request).result).toEqual([]);
    expect(await bench.mutations(namespace)).toHaveLength(before.length);
  });
});

describe('the readiness gate', () => {
  test('is set False after the note is written, and given back before the note goes', async () => {
    const { namespace, name, uid, request } = await sickPod(true);
    await bench.cluster.setUnready(namespace, name, false);
    await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uid));
    const changes = await bench.run('cut', request).result;
    expect(changes).toMatchObject([
      { field: GATE_FIELD, before: 'True', after: 'False', requestId: expect.any(String) },
    ]);
    await eventually('out of traffic', async () => !(await bench.cluster.isInTraffic(namespace, uid)));
    expect(await bench.cluster.held(namespace, name)).toEqual(request.held);
    expect(await bench.run('cut', request).result).toMatchObject([{ field: GATE_FIELD }]);

    const restored = await bench.run('restore', request).result;
    expect(restored).toMatchObject([{ field: GATE_FIELD, before: 'False', after: 'True' }]);
    await eventually('in traffic again', () => bench.cluster.isInTraffic(namespace, uid));
    expect(await bench.cluster.held(namespace, name)).toEqual([]);
    const written = (await bench.mutations(namespace)).filter(({ responseStatus }) => responseStatus?.code === 200);
    expect(written.map(({ objectRef }) => objectRef?.subresource ?? 'pod')).toEqual(['pod', 'status', 'status', 'pod']);
    const later = { since: Date.now() + 1_000 };
    expect(await bench.run('restore', request, undefined, later).result).toEqual([]);
  });

  test('is given back although somebody has removed the note', async () => {
    const { namespace, name, request } = await sickPod(true);
    await bench.run('cut', request).result;
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { [HELD_ANNOTATION]: null } } });
    expect(await bench.run('restore', request).result).toMatchObject([{ field: GATE_FIELD, after: 'True' }]);
    const pod = await bench.cluster.pod(namespace, name);
    expect(pod?.status?.conditions?.find(({ type }) => type === IN_SERVICE_GATE)?.status).toBe('True');
  });

  test('a cut that was broken off after the note is completed', async () => {
    const { namespace, name, request } = await sickPod(true);
    await bench.cluster.patchPod(namespace, name, {
      metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify(request.held) } },
    });
    await bench.run('cut', request).result;
    const events = await bench.mutations(namespace);
    expect(events.map(({ objectRef }) => objectRef?.subresource)).toEqual(['status']);
  });
});
