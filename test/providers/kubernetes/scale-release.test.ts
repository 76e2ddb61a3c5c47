import type { KubernetesObject } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import type { Held } from '../../../model/change.ts';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import { objectOf } from '../../../providers/kubernetes/scale/objects.ts';
import { deployment, statefulSet } from '../../support/kubernetes.ts';
import { attempt, autoscaler, crew, scaledObject, toSize, useScaleBench } from './scale-support.ts';

/** `salvor held` and `salvor release` for sizes, as the user `salvor`. */
const bench = useScaleBench();

const release = (held: Held, dryRun = false) => bench.kubernetes.release(objectOf(held.object.key), held, dryRun);
const find = async (namespace: string) =>
  (await bench.kubernetes.find()).filter(({ object }) => object.key.includes(`/${namespace}/`));

type Make = (namespace: string) => KubernetesObject;
/** What is there, and which of it is written. */
const CASES: Record<string, { kind: string; make: Make[]; written: Make; to: number }> = {
  'a Deployment': {
    kind: 'deployment.apps',
    make: [(namespace) => deployment({ namespace, name: 'web' })],
    written: (namespace) => deployment({ namespace, name: 'web' }),
    to: 5,
  },
  'a StatefulSet': {
    kind: 'statefulset.apps',
    make: [(namespace) => statefulSet({ namespace, name: 'web' })],
    written: (namespace) => statefulSet({ namespace, name: 'web' }),
    to: 5,
  },
  'a custom resource': {
    kind: 'crew.test.salvor.dev',
    make: [(namespace) => crew(namespace, 2)],
    written: (namespace) => crew(namespace, 2),
    to: 5,
  },
  'a HorizontalPodAutoscaler': {
    kind: 'deployment.apps',
    make: [(namespace) => deployment({ namespace, name: 'web' }), (namespace) => autoscaler(namespace, 2)],
    written: (namespace) => autoscaler(namespace, 2),
    to: 5,
  },
  'a ScaledObject': {
    kind: 'deployment.apps',
    make: [(namespace) => deployment({ namespace, name: 'web' }), (namespace) => scaledObject(namespace)],
    written: (namespace) => scaledObject(namespace),
    to: 5,
  },
};

/** Made, and scaled. */
async function scaled(name = 'a Deployment') {
  const { kind, make, written, to } = CASES[name]!;
  const namespace = await bench.cluster.namespace('release');
  await bench.cluster.create(...make.map((one) => one(namespace)));
  const scale = await bench.found(namespace, kind);
  const object = written(namespace);
  const before = (await bench.see(object)).spec;
  const request = toSize(scale, to);
  await bench.provider(namespace, kind).scaleTo(request, attempt());
  return { namespace, object, before, held: request.held[0]!, scale };
}

describe.each(Object.keys(CASES))('what is held on %s', (name) => {
  test('is found, and given back exactly; again it changes nothing', async () => {
    const { namespace, object, before, held } = await scaled(name);
    expect(await find(namespace)).toEqual([{ object: held.object, holds: [held] }]);
    const writes = await bench.writes(namespace);
    expect(await release(held, true)).toMatchObject({ result: 'given-back', changes: [] });
    expect(await bench.writes(namespace)).toEqual(writes);

    const released = await release(held);
    expect(released).toMatchObject({
      result: 'given-back',
      why: expect.stringContaining(held.field),
      changes: [{ step: 'release', field: held.field, before: 5, after: held.before }],
    });
    const after = await bench.see(object);
    expect(after.spec).toEqual(before);
    expect(after.metadata?.annotations?.[HELD_ANNOTATION]).toBeUndefined();
    expect(await find(namespace)).toEqual([]);
    expect(await release(held)).toMatchObject({ result: 'as-before', changes: [] });
    expect((await bench.see(object)).spec).toEqual(before);
  });
});

describe('a release', () => {
  const patch = (namespace: string, body: object) =>
    bench.cluster.patch(deployment({ namespace, name: 'web' }), body, 'kubectl-scale');
  const size = async (namespace: string) => (await bench.see(deployment({ namespace, name: 'web' }))).spec['replicas'];

  test("keeps a person's size, and takes the note away", async () => {
    const { namespace, held } = await scaled();
    await patch(namespace, { spec: { replicas: 3 } });
    const kept = { result: 'kept', why: expect.stringContaining('was changed to 3 by kubectl-scale meanwhile') };
    expect(await release(held, true)).toMatchObject({ ...kept, changes: [] });
    const released = await release(held);
    expect(released).toMatchObject(kept);
    expect(released.changes).toHaveLength(1);
    expect(await size(namespace)).toBe(3);
    expect(await find(namespace)).toEqual([]);
  });

  test('finds it as before where a person has set it back, and takes the note away', async () => {
    const { namespace, held } = await scaled();
    await patch(namespace, { spec: { replicas: 2 } });
    expect(await release(held)).toMatchObject({ result: 'as-before', why: 'its spec.replicas is 2 already' });
    expect(await find(namespace)).toEqual([]);
  });

  test('touches nothing where it is not clear whose size it is', async () => {
    const { namespace, held } = await scaled();
    await patch(namespace, { spec: { replicas: 4 }, metadata: { annotations: { [HELD_ANNOTATION]: null } } });
    await patch(namespace, { spec: { replicas: 5 } });
    const writes = await bench.writes(namespace);
    expect(await release(held)).toMatchObject({
      result: 'unclear',
      changes: [],
      why: expect.stringContaining('kubectl-scale'),
    });
    expect(await bench.writes(namespace)).toEqual(writes);
    expect(await size(namespace)).toBe(5);
  });

  test('has nothing to do where the object is gone, or another one', async () => {
    const { namespace, held } = await scaled();
    await bench.cluster.delete(deployment({ namespace, name: 'web' }));
    expect(await release(held)).toMatchObject({ result: 'gone', changes: [] });
    await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 5 }));
    expect(await release(held)).toMatchObject({ result: 'gone', why: expect.stringContaining('replaced meanwhile') });
    expect(await size(namespace)).toBe(5);
  });
});

test('a note that cannot be read is told as a problem, and its object is protected', async () => {
  const { namespace } = await scaled();
  const annotations = { [HELD_ANNOTATION]: 'what?' };
  await bench.cluster.patch(deployment({ namespace, name: 'web' }), { metadata: { annotations } });
  expect(await find(namespace)).toMatchObject([{ problem: expect.stringContaining('written by kubectl-edit') }]);
  expect(await bench.provider(namespace).read('r')).toMatchObject({ verdict: 'protected' });
});

test('who may look only finds it as well', async () => {
  const { held } = await scaled('a ScaledObject');
  expect(await bench.onlooker.find()).toContainEqual({ object: held.object, holds: [held] });
});
