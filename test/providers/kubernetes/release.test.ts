import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Held } from '../../../model/change.ts';
import { HELD_ANNOTATION, IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../../model/names.ts';
import type { HoldResult } from '../../../model/ports/instance.ts';
import { createRegistry, type HoldingRegistry } from '../../../providers/registry.ts';
import { actor, inMs, useBench } from '../../activities/instance-support.ts';
import { deployment, nameOf, service, statefulSet, uidOf } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';

/** Against a real API server, as the user `salvor`; its audit log is the witness of what was done and what was not. */
const bench = useBench();
const LABEL_FIELD = `metadata.labels[${TRAFFIC_LABEL}]`;

let registry: HoldingRegistry;
beforeAll(() => {
  const { users } = bench.sandbox.kubernetes;
  registry = createRegistry({ clusters: [{ name: 'sandbox', kubeconfig: users['salvor']?.kubeconfig ?? '' }] });
});
afterAll(() => registry?.close());

const release = (held: Held, dryRun = false) => registry.release(held, dryRun);

/** A sick pod of a Deployment `web`, cut by its label or, with `gate`, by its gate. */
async function cutPod(gate = false) {
  const namespace = await bench.cluster.namespace('release');
  const web = deployment({ namespace, name: 'web', ...(gate ? { gates: [IN_SERVICE_GATE] } : { trafficLabel: true }) });
  await bench.cluster.create(web, service(namespace, 'web', !gate));
  const [pod] = await bench.cluster.readyPods(namespace, 'web', 2);
  const name = nameOf(pod!);
  await bench.cluster.setUnready(namespace, name, true);
  const before = await bench.cluster.pod(namespace, name);
  const { request } = await bench.sick(namespace, name);
  await bench.run('cut', request).result;
  return { namespace, name, uid: uidOf(pod!), before, request, held: request.held[0]! };
}

/** What of a pod Salvor may have touched. */
async function touched(namespace: string, name: string) {
  const pod = await bench.cluster.pod(namespace, name);
  const gate = pod?.status?.conditions?.find(({ type }) => type === IN_SERVICE_GATE)?.status;
  return { labels: pod?.metadata?.labels, annotations: pod?.metadata?.annotations, gate };
}

describe('release', () => {
  test.each(['label', 'gate'])(
    'gives a %s back exactly, as the undo of the remediation would; again it changes nothing',
    async (way) => {
      const { namespace, name, before, held } = await cutPod(way === 'gate');
      const { labels, annotations } = before!.metadata!;
      const [from, to] = way === 'gate' ? ['False', 'True'] : ['off', 'on'];
      expect(await release(held, true)).toMatchObject({ result: 'given-back', changes: [] });
      const cuts = await bench.mutations(namespace);

      const released = await release(held);
      expect(released).toMatchObject({ result: 'given-back', why: expect.stringContaining(`${from} → ${to}`) });
      expect(released.changes).toMatchObject([{ step: 'release', field: held.field, before: from, after: to }]);
      expect(await touched(namespace, name)).toEqual({
        labels,
        annotations,
        gate: way === 'gate' ? 'True' : undefined,
      });
      const asked = (await bench.mutations(namespace)).slice(cuts.length);
      // A gate's note goes after it, and may meet the kubelet, which writes what the gate means for the pod.
      const writes = asked.filter(({ responseStatus }) => responseStatus?.code !== 409);
      expect(writes).toHaveLength(way === 'gate' ? 2 : 1);
      expect(writes[0]).toMatchObject({ auditID: released.changes[0]!.requestId, objectRef: { name } });
      for (const { requestURI } of writes) expect(requestURI).toContain('fieldManager=salvor-drain-instance');

      expect(await release(held)).toMatchObject({ result: 'as-before', changes: [] });
      expect(await touched(namespace, name)).toMatchObject({ labels, annotations });
    },
  );

  test('keeps what others hold on the object', async () => {
    const { namespace, name, held } = await cutPod();
    const other = { ...held, field: 'spec.x', remediation: 'another', until: inMs(60_000) };
    await bench.cluster.patchPod(namespace, name, {
      metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify([other, held]) } },
    });
    expect(await release(held)).toMatchObject({ result: 'given-back' });
    expect(await bench.cluster.held(namespace, name)).toEqual([other]);
  });

  test("respects another's change: the note goes, the value stays", async () => {
    const { namespace, name, held } = await cutPod();
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: 'canary' } } });
    const said = { result: 'kept', why: expect.stringMatching(/canary by kubectl-edit/) };
    expect(await release(held, true)).toMatchObject(said);
    expect(await bench.cluster.held(namespace, name)).toHaveLength(1);
    expect(await release(held)).toMatchObject({
      ...said,
      changes: [{ field: expect.stringContaining('annotations') }],
    });
    expect(await bench.cluster.held(namespace, name)).toEqual([]);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('canary');
  });

  test('leaves to another remediation what that one holds now', async () => {
    const { namespace, name, held } = await cutPod();
    const theirs = [{ ...held, remediation: 'another' }];
    await bench.cluster.patchPod(namespace, name, {
      metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify(theirs) } },
    });
    expect(await release(held)).toMatchObject({ result: 'kept', why: expect.stringContaining('another') });
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('off');
    expect(await bench.cluster.held(namespace, name)).toEqual(theirs);
  });

  test('touches nothing where neither a note nor the last writer says that it was Salvor', async () => {
    const { namespace, name, held } = await cutPod();
    // Set to something else and back by somebody, who also removed the note.
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: 'x' } } }, 'stranger');
    await bench.cluster.patchPod(
      namespace,
      name,
      { metadata: { labels: { [TRAFFIC_LABEL]: 'off' }, annotations: { [HELD_ANNOTATION]: null } } },
      'stranger',
    );
    const writes = await bench.mutations(namespace);
    const said = { result: 'unclear', changes: [], why: expect.stringMatching(/stranger.*person must decide/i) };
    expect(await release(held, true)).toMatchObject(said);
    expect(await release(held)).toMatchObject(said);
    expect(await bench.mutations(namespace)).toEqual(writes);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('off');
  });

  test('counts an object that is gone as over, and does not touch its successor', async () => {
    const namespace = await bench.cluster.namespace('release');
    const db = statefulSet({ namespace, name: 'db', replicas: 1, trafficLabel: true });
    await bench.cluster.create(db, service(namespace, 'db', true));
    const [pod] = await bench.cluster.readyPods(namespace, 'db', 1);
    await bench.cluster.setUnready(namespace, 'db-0', true);
    const { request } = await bench.sick(namespace, 'db-0');
    await bench.run('cut', request).result;
    await bench.cluster.core.deleteNamespacedPod({ namespace, name: 'db-0' });
    await eventually('the successor', async () => {
      const successor = await bench.cluster.pod(namespace, 'db-0');
      return successor && uidOf(successor) !== uidOf(pod!);
    });
    // As if it were held: who goes by the name would give it back.
    await bench.cluster.patchPod(namespace, 'db-0', { metadata: { labels: { [TRAFFIC_LABEL]: 'off' } } });
    const writes = await bench.mutations(namespace);
    expect(await release(request.held[0]!)).toMatchObject({ result: 'gone', changes: [] });
    expect(await bench.mutations(namespace)).toEqual(writes);
    expect(await bench.cluster.trafficLabel(namespace, 'db-0')).toBe('off');
  });

  test('of a cut that is still on its way: nothing is altered, and the cut is refused when it arrives', async () => {
    const namespace = await bench.cluster.namespace('release');
    await bench.cluster.create(
      deployment({ namespace, name: 'web', trafficLabel: true }),
      service(namespace, 'web', true),
    );
    const [pod] = await bench.cluster.readyPods(namespace, 'web', 2);
    await bench.cluster.setUnready(namespace, nameOf(pod!), true);
    const { request } = await bench.sick(namespace, nameOf(pod!));
    const read = await bench.cluster.pod(namespace, nameOf(pod!));
    expect(await release(request.held[0]!)).toMatchObject({ result: 'as-before', changes: [] });
    // The write of an attempt that read before the release carries this version.
    const { resourceVersion } = read!.metadata!;
    const late = { metadata: { resourceVersion, labels: { [TRAFFIC_LABEL]: 'off' } } };
    await expect(bench.cluster.patchPod(namespace, nameOf(pod!), late)).rejects.toMatchObject({ code: 409 });
    expect(await bench.cluster.trafficLabel(namespace, nameOf(pod!))).toBe('on');
  });

  test.each(['is under way', 'begins after it'])('a wait that %s does not take it again', async (when) => {
    const { namespace, name, held, request } = await cutPod();
    const asked = { ...request, step: 'restore', deadline: inMs(60_000), stableFor: 500 };
    const early = when === 'is under way' ? bench.run('hold', asked) : undefined;
    if (early) await eventually('the wait has looked', () => early.beats.length > 0);
    await release(held);
    const { result } = early ?? bench.run('hold', asked);
    const said: HoldResult = await result;
    expect(said).toMatchObject({
      verdict: 'given-back',
      why: expect.stringContaining('Salvor itself gave its traffic back'),
    });
    expect(said.changes).toMatchObject([{ field: LABEL_FIELD, before: 'off', after: 'on' }]);
    expect(await bench.cluster.trafficLabel(namespace, name)).toBe('on');
    expect(await bench.cluster.held(namespace, name)).toEqual([]);
    const writes = await bench.mutations(namespace);
    expect(writes.map(({ requestObject }) => labelOf(requestObject))).toEqual(['off', 'on']);
  });
});

const labelOf = (body: unknown): string | undefined =>
  (body as { metadata?: { labels?: Record<string, string> } }).metadata?.labels?.[TRAFFIC_LABEL];

describe('what objects say is held on them', () => {
  const find = async (namespace: string) => {
    const [place] = registry.places();
    expect(place).toMatchObject({ name: 'cluster sandbox', prefix: 'k8s/sandbox/' });
    return (await place!.find()).filter(({ object }) => object.key.includes(`/${namespace}/`));
  };

  test('is found in the whole cluster, with the object as it is now', async () => {
    const { namespace, name, uid, held } = await cutPod();
    const object = { key: bench.cluster.target(namespace, name), uid };
    expect(await find(namespace)).toEqual([{ object, holds: [held] }]);
    await release(held);
    expect(await find(namespace)).toEqual([]);
  });

  test('is told as a problem where the note cannot be read', async () => {
    const { namespace, name } = await cutPod();
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { [HELD_ANNOTATION]: 'what?' } } });
    expect(await find(namespace)).toMatchObject([{ problem: expect.stringContaining('written by kubectl-edit') }]);
  });
});

test('a cluster that is not configured is named', async () => {
  const object = { key: 'k8s/elsewhere/shop/pod/web-0', uid: 'u' };
  const held = { ...actor(), object, field: LABEL_FIELD, before: 'on', set: 'off', until: inMs(60_000) };
  await expect(release(held)).rejects.toThrow('no cluster "elsewhere" is configured (clusters: sandbox)');
});
