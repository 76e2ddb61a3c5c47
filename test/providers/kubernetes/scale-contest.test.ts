import { describe, expect, test } from 'vitest';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import { HeldBack, LOST } from '../../../providers/instance.ts';
import { deployment } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';
import { attempt, autoscaler, back, crew, heldOf, toSize, useScaleBench } from './scale-support.ts';

/** A person, another remediation, or an attempt that was lost, at the same time. */
const bench = useScaleBench();

const web = (namespace: string) => deployment({ namespace, name: 'web' });
const size = async (namespace: string) => (await bench.see(web(namespace))).spec['replicas'];
const setBy = (namespace: string, replicas: number) =>
  bench.cluster.patch(web(namespace), { spec: { replicas } }, 'kubectl-scale');
const codes = async (namespace: string) =>
  (await bench.writes(namespace)).map(({ responseStatus }) => responseStatus?.code);

/** A Deployment of two, found so. */
async function found() {
  const namespace = await bench.web();
  // Its controller has written what it has to write.
  await bench.cluster.readyPods(namespace, 'web', 2);
  return { namespace, provider: bench.provider(namespace), scale: await bench.found(namespace) };
}

describe('a person who sets the size', () => {
  test('between read and write is seen and not overwritten', async () => {
    const { namespace, provider, scale } = await found();
    const late = attempt(() => setBy(namespace, 3));
    await expect(provider.scaleTo(toSize(scale, 5), late)).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining('was 2 when that was decided and is 3 now, set by kubectl-scale'),
    });
    expect(await size(namespace)).toBe(3);
    expect(await codes(namespace)).toEqual([409]);
    expect(bench.notes(await bench.see(web(namespace)))).toEqual([]);
  });

  test('to the very number that was to be set, has set it himself', async () => {
    const { namespace, provider, scale } = await found();
    await setBy(namespace, 5);
    await expect(provider.scaleTo(toSize(scale, 5), attempt())).rejects.toMatchObject({ type: 'Contested' });
    expect(await codes(namespace)).toEqual([]);
  });

  test('after Salvor is named, and respected: only the note goes', async () => {
    const { namespace, provider, scale } = await found();
    await provider.scaleTo(toSize(scale, 5), attempt());
    expect(await provider.whoSet(scale)).toBeUndefined();
    await setBy(namespace, 3);
    expect(await provider.whoSet(scale)).toMatch(/^kubectl-scale \(at \d{4}-.*Z\)$/);
    await expect(provider.scaleTo(toSize(scale, 6, 5), attempt())).rejects.toMatchObject({ type: 'Contested' });
    const changes = await provider.giveBack(back(scale, 5), attempt());
    expect(changes).toMatchObject([{ field: `metadata.annotations[${HELD_ANNOTATION}]`, after: null }]);
    expect(changes[0]!.what).toContain('which stays 3, set by kubectl-scale meanwhile');
    expect(await size(namespace)).toBe(3);
  });

  test('and is let go: the size stays, though Salvor was the last to set it', async () => {
    const { namespace, provider, scale } = await found();
    await provider.scaleTo(toSize(scale, 5), attempt());
    const changes = await provider.giveBack({ ...back(scale, 5), letGo: true }, attempt());
    expect(changes).toMatchObject([{ field: `metadata.annotations[${HELD_ANNOTATION}]`, after: null }]);
    expect(await provider.giveBack({ ...back(scale, 5), letGo: true }, attempt())).toEqual([]);
    expect(await size(namespace)).toBe(5);
  });

  test('back, before the answer to the first attempt could be told, is not overruled', async () => {
    const { namespace, provider, scale } = await found();
    const first = attempt();
    await provider.scaleTo(toSize(scale, 5), first);
    await setBy(namespace, 2);
    await expect(provider.scaleTo(toSize(scale, 5), { ...attempt(), since: first.since })).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining('has set it back to 2 meanwhile'),
    });
    expect(await size(namespace)).toBe(2);
  });

  test('to the same number after it was given back, keeps it', async () => {
    const { namespace, provider, scale } = await found();
    await provider.scaleTo(toSize(scale, 5), attempt());
    await provider.giveBack(back(scale, 5), attempt());
    await setBy(namespace, 5);
    expect(await provider.giveBack(back(scale, 5), attempt())).toEqual([]);
    expect(await size(namespace)).toBe(5);
  });
});

test('what an attempt has set whose answer was lost is seen as its own, and told without another write', async () => {
  const { namespace, provider, scale } = await found();
  expect(await provider.read('remediation-1')).not.toHaveProperty('noted');
  await provider.scaleTo(toSize(scale, 5), attempt());
  expect(await provider.read('remediation-1')).toMatchObject({ verdict: 'found', noted: 5 });
  const adopting = { ...toSize(scale, 5), adopt: true as const };
  expect(await provider.scaleTo(adopting, attempt())).toMatchObject([
    { before: 2, after: 5, what: `spec.replicas: 2 → 5${LOST}` },
  ]);
  await setBy(namespace, 2);
  await expect(provider.scaleTo(adopting, attempt())).rejects.toMatchObject({ type: 'Contested' });
  expect(await size(namespace), 'it is not set again').toBe(2);
  expect(await codes(namespace)).toEqual([200]);
});

test('any other write in between is waited out, and each time it is asked whether the attempt still counts', async () => {
  const { namespace, provider, scale } = await found();
  let times = 0;
  const one = attempt(async () => {
    times += 1;
    if (times === 1) await bench.cluster.patch(web(namespace), { metadata: { annotations: { touched: 'yes' } } });
  });
  expect(await provider.scaleTo(toSize(scale, 5), one)).toMatchObject([{ before: 2, after: 5 }]);
  expect(one.state.asked).toBe(2);
  expect(await codes(namespace)).toEqual([409, 200]);
  expect(await size(namespace)).toBe(5);
});

test('steps follow each other, and all are given back at once', async () => {
  const { namespace, provider, scale } = await found();
  await provider.scaleTo(toSize(scale, 5), attempt());
  // The second has set it, and nobody was told: the third is decided on what was known before.
  await provider.scaleTo(toSize(scale, 7, 5), attempt());
  expect(await provider.scaleTo(toSize(scale, 4, 5), attempt())).toMatchObject([{ before: 7, after: 4 }]);
  // Nor was that told: the note knows what was set last.
  expect(await provider.giveBack(back(scale, 7), attempt())).toMatchObject([{ before: 4, after: 2 }]);
  expect(await size(namespace)).toBe(2);
  expect((await bench.see(web(namespace))).metadata?.annotations?.[HELD_ANNOTATION]).toBeUndefined();
});

describe('another remediation', () => {
  test('that holds the size keeps it', async () => {
    const { namespace, provider, scale } = await found();
    await provider.scaleTo(toSize(scale, 5, 2, 'other'), attempt());
    await expect(provider.scaleTo(toSize(scale, 6), attempt())).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining('held by remediation other'),
    });
    expect(await provider.giveBack(back(scale, 5), attempt())).toEqual([]);
    expect(await size(namespace)).toBe(5);
    expect(bench.notes(await bench.see(web(namespace)))).toMatchObject([{ remediation: 'other' }]);
  });

  test('whose time ran out is told of, and its note kept', async () => {
    const { namespace, provider, scale } = await found();
    const over = { ...heldOf(scale, 5, 'other'), until: new Date(0).toISOString() };
    await provider.scaleTo({ ...toSize(scale, 5, 2, 'other'), held: [over] }, attempt());
    const now = await bench.found(namespace);
    expect(now.why).toContain('its spec.replicas is still 5, as remediation other set it');
    await provider.scaleTo(toSize(now, 6), attempt());
    await provider.giveBack(back(now, 6), attempt());
    expect(await size(namespace)).toBe(5);
    expect(bench.notes(await bench.see(web(namespace)))).toEqual([over]);
  });
});

describe('an attempt', () => {
  const NOT_MINE = new Error('another attempt has taken its place');

  test('that is held back sets nothing', async () => {
    const { namespace, provider, scale } = await found();
    const held = new HeldBack({ gate: 'paused', reason: 'paused by ada' } as never);
    await expect(
      provider.scaleTo(
        toSize(scale, 5),
        attempt(() => Promise.reject(held)),
      ),
    ).rejects.toBe(held);
    expect(await codes(namespace)).toEqual([]);
  });

  test('whose write arrives after the undo is refused, and not tried again', async () => {
    const { namespace, provider, scale } = await found();
    let asked = 0;
    const lost = attempt(async () => {
      asked += 1;
      if (asked > 1) throw NOT_MINE;
      expect(await provider.giveBack(back(scale, 5), attempt())).toEqual([]);
    });
    await expect(provider.scaleTo(toSize(scale, 5), lost)).rejects.toBe(NOT_MINE);
    expect(await codes(namespace)).toEqual([200, 200, 409]);
    expect(await size(namespace)).toBe(2);
    const { labels, annotations } = (await bench.see(web(namespace))).metadata!;
    expect(labels).toBeUndefined();
    expect(Object.keys(annotations ?? {})).toEqual(['deployment.kubernetes.io/revision']);
  });

  test('whose undo was made, and the answer lost, is told by the next', async () => {
    const { provider, scale } = await found();
    await provider.scaleTo(toSize(scale, 5), attempt());
    const first = attempt();
    await provider.giveBack(back(scale, 5), first);
    const [told] = await provider.giveBack(back(scale, 5), { ...attempt(), since: first.since });
    expect(told).toMatchObject({ before: 5, after: 2, what: expect.stringContaining(LOST) });
  });
});

test('a note that is gone, as by a rollback, does not keep the size from being given back', async () => {
  const { namespace, provider, scale } = await found();
  await provider.scaleTo(toSize(scale, 5), attempt());
  await bench.cluster.patch(web(namespace), { metadata: { annotations: { [HELD_ANNOTATION]: null } } });
  expect(await provider.giveBack(back(scale, 5), attempt())).toMatchObject([{ before: 5, after: 2 }]);
  expect(await size(namespace)).toBe(2);
});

test('a note on a Deployment is copied to its ReplicaSet, and counts for the Deployment only', async () => {
  const { namespace, provider, scale } = await found();
  await provider.scaleTo(toSize(scale, 3), attempt());
  await eventually('the copy', async () => {
    const { items } = await bench.cluster.apps.listNamespacedReplicaSet({ namespace });
    return items[0]?.metadata?.annotations?.[HELD_ANNOTATION] !== undefined;
  });
  const mine = async () =>
    (await bench.kubernetes.find()).filter(({ object }) => object.key.includes(`/${namespace}/`));
  expect((await mine()).map(({ object }) => object)).toEqual([scale.object]);
  await provider.giveBack(back(scale, 3), attempt());
  expect(await mine()).toEqual([]);
});

test('an autoscaler whose controller writes to it meanwhile gets its minimum all the same', async () => {
  const namespace = await bench.web((at) => autoscaler(at, 2));
  const scale = await bench.found(namespace);
  const provider = bench.provider(namespace);
  for (const [from, to] of [
    [2, 3],
    [3, 4],
    [4, 5],
  ] as const)
    await provider.scaleTo(toSize(scale, to, from), attempt());
  await bench.cluster.readyPods(namespace, 'web', 5);
  await provider.giveBack(back(scale, 5), attempt());
  expect((await bench.see(autoscaler(namespace))).spec['minReplicas']).toBe(2);
});

describe('how many are unhealthy', () => {
  const keyOf = (namespace: string, name: string) => `k8s/sandbox/${namespace}/deployment.apps/${name}`;
  const look = async (namespace: string, suspects: string[] = []) =>
    (await bench.kubernetes.scaleEvidence.look([keyOf(namespace, 'web')], suspects)).population;

  test('those that serve nothing, and those that are suspected: not one of which some replicas are not ready yet', async () => {
    const namespace = await bench.web((at) => deployment({ namespace: at, name: 'api' }));
    const [one, two] = await bench.cluster.readyPods(namespace, 'web', 2);
    await bench.cluster.readyPods(namespace, 'api', 2);
    const seen = (suspects?: string[]) => async () => {
      const population = await look(namespace, suspects);
      return population?.live === 2 && population.unhealthy;
    };
    await eventually('both are well', async () => (await seen()()) === 0);
    await bench.cluster.setUnready(namespace, one!.metadata!.name!, true);
    await eventually(
      'one of two is ready',
      async () => (await bench.see(web(namespace))).status?.['readyReplicas'] === 1,
    );
    expect(await look(namespace)).toEqual({ live: 2, unhealthy: 0 });
    await eventually('one is suspected', async () => (await seen([keyOf(namespace, 'api')])()) === 1);
    await bench.cluster.setUnready(namespace, two!.metadata!.name!, true);
    await eventually('one serves nothing', async () => (await seen()()) === 1);
  });

  test('of a custom resource that says nothing of readiness, those that are suspected', async () => {
    const namespace = await bench.web((at) => crew(at, 2));
    const key = `k8s/sandbox/${namespace}/crew.test.salvor.dev/web`;
    const { scaleEvidence } = bench.kubernetes;
    expect((await scaleEvidence.look([key], [])).population).toEqual({ live: 1, unhealthy: 0 });
    expect((await scaleEvidence.look([key], [key])).population).toEqual({ live: 1, unhealthy: 1 });
  });
});
