import type { KubernetesObject } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import { LOST } from '../../../providers/instance.ts';
import { readSize, type Sized } from '../../../providers/kubernetes/scale/objects.ts';
import { deployment } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';
import {
  attempt,
  autoscaler,
  back,
  crew,
  heldOf,
  scaledObject,
  toSize,
  useScaleBench,
  WORKLOADS,
} from './scale-support.ts';

/** On a real API server with its own controllers, as the user `salvor`; its audit log is the witness of what was done. */
const bench = useScaleBench();

/** What of an object Salvor may have touched. */
async function touched(object: KubernetesObject, field: string) {
  const { metadata, ...rest } = await bench.see(object);
  const size = readSize({ metadata, ...rest } as unknown as Sized, field);
  return { size, annotation: metadata?.annotations?.[HELD_ANNOTATION], labels: metadata?.labels };
}

/** Each is found, set in one write, set no second time, and given back exactly, once. */
async function thereAndBack(namespace: string, kind: string, object: KubernetesObject, to: number) {
  const provider = bench.provider(namespace, kind);
  const scale = await bench.found(namespace, kind);
  const { field, value } = scale.by;
  const before = await touched(object, field);
  expect(before).toMatchObject({ size: value, annotation: undefined });

  const request = toSize(scale, to);
  const first = attempt();
  const changes = await provider.scaleTo(request, first);
  expect(changes).toMatchObject([{ step: 'scale', object: scale.by.object, field, before: value, after: to }]);
  expect(first.state.asked).toBeGreaterThan(0);
  const [write, ...others] = await bench.made(namespace);
  expect(others).toEqual([]);
  expect(write).toMatchObject({ verb: 'patch', auditID: changes[0]!.requestId });
  expect(write!.requestURI).toContain('fieldManager=salvor-scale-on-backlog');
  expect(await touched(object, field)).toMatchObject({ size: to });
  expect(bench.notes(await bench.see(object))).toEqual(request.held);

  const again = attempt();
  const [told] = await provider.scaleTo(request, again);
  expect(told).toMatchObject({ before: value, after: to, what: expect.stringContaining(LOST) });
  expect(again.state.asked).toBe(0);
  expect(await bench.made(namespace)).toHaveLength(1);

  const given = await provider.giveBack(back(scale, to), attempt());
  expect(given).toMatchObject([{ step: 'give-back', field, before: to, after: value }]);
  expect(await touched(object, field)).toEqual(before);
  await provider.giveBack(back(scale, to), attempt());
  expect(await touched(object, field)).toEqual(before);
  return scale;
}

describe.each(Object.entries(WORKLOADS))('a %s', (kind, make) => {
  test('without an autoscaler is set itself, once, and given back exactly', async () => {
    const namespace = await bench.cluster.namespace('scale');
    const object = make(namespace);
    await bench.cluster.create(object);
    const scale = await thereAndBack(namespace, kind, object, 5);
    const key = `k8s/sandbox/${namespace}/${kind}/web`;
    expect(scale).toMatchObject({
      desired: 2,
      min: 0,
      workload: key,
      object: { key },
      by: { object: { key }, value: 2 },
    });
  });

  test('that another remediation holds is protected, and its own is not', async () => {
    const namespace = await bench.cluster.namespace('scale');
    await bench.cluster.create(make(namespace));
    const scale = await bench.found(namespace, kind);
    await bench.provider(namespace, kind).scaleTo(toSize(scale, 3), attempt());
    expect(await bench.found(namespace, kind)).toMatchObject({ desired: 3, by: { value: 3 } });
    expect(await bench.provider(namespace, kind).read('remediation-2')).toMatchObject({
      verdict: 'protected',
      why: expect.stringContaining('held by remediation remediation-1 (scale-on-backlog)'),
    });
  });
});

test('what is ready is told apart from what is wanted', async () => {
  const namespace = await bench.web();
  await bench.cluster.readyPods(namespace, 'web', 2);
  await eventually('two ready replicas', async () => (await bench.found(namespace)).ready === 2);
  await bench.cluster.patchDeployment(namespace, 'web', { spec: { replicas: 3, paused: true } });
  expect(await bench.found(namespace)).toMatchObject({ desired: 3 });
});

test('a custom resource that leaves its size out has it left out again', async () => {
  const namespace = await bench.cluster.namespace('scale');
  const object = crew(namespace, undefined);
  await bench.cluster.create(object);
  const scale = await thereAndBack(namespace, 'crew.test.salvor.dev', object, 4);
  expect(scale.by).toMatchObject({ field: 'spec.size.sailors', value: null });
  expect((await bench.see(object)).spec).toEqual({ size: {} });
});

describe('with a HorizontalPodAutoscaler', () => {
  test('its minimum is raised, the workload follows, and it is given back', async () => {
    const namespace = await bench.web((at) => autoscaler(at, 2));
    const scale = await bench.found(namespace);
    const key = `k8s/sandbox/${namespace}/horizontalpodautoscaler.autoscaling/web`;
    expect(scale).toMatchObject({ min: 2, max: 6, by: { object: { key }, field: 'spec.minReplicas', value: 2 } });
    const provider = bench.provider(namespace);
    await provider.scaleTo(toSize(scale, 4), attempt());
    await bench.cluster.readyPods(namespace, 'web', 4);
    expect(await provider.read('remediation-2')).toMatchObject({ verdict: 'protected' });
    const web = await bench.see(deployment({ namespace, name: 'web' }));
    expect(web.metadata?.annotations?.[HELD_ANNOTATION], 'the workload itself is left alone').toBeUndefined();
    expect(await provider.giveBack(back(scale, 4), attempt())).toMatchObject([{ before: 4, after: 2 }]);
    const after = await bench.see(autoscaler(namespace));
    expect(after.spec).toMatchObject({ minReplicas: 2, maxReplicas: 6 });
    expect(after.metadata?.annotations?.[HELD_ANNOTATION]).toBeUndefined();
  });

  test('that leaves its minimum out, it is 1 again as the API has it', async () => {
    const namespace = await bench.web((at) => autoscaler(at));
    const scale = await thereAndBack(namespace, 'deployment.apps', autoscaler(namespace), 3);
    expect(scale).toMatchObject({ min: 1, by: { value: 1 } });
  });

  test('more than its maximum is contested, and nothing is touched', async () => {
    const namespace = await bench.web((at) => autoscaler(at, 2));
    const scale = await bench.found(namespace);
    await bench.cluster.patch(autoscaler(namespace), { spec: { maxReplicas: 3 } });
    await expect(bench.provider(namespace).scaleTo(toSize(scale, 5), attempt())).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining('its spec.maxReplicas is 3 now'),
    });
    expect(await bench.writes(namespace)).toEqual([]);
  });

  test('of another workload, it counts nothing', async () => {
    const namespace = await bench.web((at) => autoscaler(at, 2, 'other', { name: 'other' }));
    expect((await bench.found(namespace)).by.field).toBe('spec.replicas');
  });

  test('and a second one, nobody can tell which counts', async () => {
    const namespace = await bench.web(
      (at) => autoscaler(at, 2),
      (at) => autoscaler(at, 2, 'twin'),
    );
    expect(await bench.provider(namespace).read('r')).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/^2 autoscalers set its size .*twin.*web/),
    });
  });

  test('that belongs to something else, it is left to that', async () => {
    const namespace = await bench.web();
    const { uid } = (await bench.see(deployment({ namespace, name: 'web' }))).metadata!;
    const made = autoscaler(namespace, 2);
    const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid, controller: true };
    await bench.cluster.create({
      ...made,
      metadata: { ...made.metadata, ownerReferences: [owner] },
    } as KubernetesObject);
    expect(await bench.provider(namespace).read('r')).toMatchObject({
      verdict: 'protected',
      why: expect.stringContaining('belongs to the Deployment web'),
    });
  });
});

describe('with a ScaledObject of KEDA', () => {
  /** As KEDA makes it. */
  async function generated(namespace: string) {
    const { metadata } = await bench.see(scaledObject(namespace));
    const owner = { apiVersion: 'keda.sh/v1alpha1', kind: 'ScaledObject', name: 'web', uid: metadata?.uid };
    const made = autoscaler(namespace, 1, 'keda-hpa-web');
    const annotations = metadata?.annotations;
    const ownerReferences = [{ ...owner, controller: true }];
    return { ...made, metadata: { ...made.metadata, annotations, ownerReferences } } as KubernetesObject;
  }

  test('its minimum is raised, not that of the autoscaler it made, and left out again', async () => {
    const namespace = await bench.web((at) => scaledObject(at, { maxReplicaCount: 9 }));
    const before = (await bench.see(scaledObject(namespace))).spec;
    await bench.cluster.create(await generated(namespace));
    const scale = await thereAndBack(namespace, 'deployment.apps', scaledObject(namespace), 4);
    const key = `k8s/sandbox/${namespace}/scaledobject.keda.sh/web`;
    const by = { object: { key }, field: 'spec.minReplicaCount', value: null };
    expect(scale).toMatchObject({ desired: 2, min: 0, max: 9, by });
    expect((await bench.see(scaledObject(namespace))).spec).toEqual(before);
    expect((await bench.see(autoscaler(namespace, 1, 'keda-hpa-web'))).spec['minReplicas']).toBe(1);
  });

  test('that has a minimum, it is as it was', async () => {
    const namespace = await bench.web((at) => scaledObject(at, { minReplicaCount: 1 }));
    const scale = await thereAndBack(namespace, 'deployment.apps', scaledObject(namespace), 4);
    expect(scale).toMatchObject({ min: 1, max: 100, by: { value: 1 } });
  });

  test('whose autoscaler carries a copy of the note, it is held once', async () => {
    const namespace = await bench.web((at) => scaledObject(at));
    const scale = await bench.found(namespace);
    await bench.provider(namespace).scaleTo(toSize(scale, 4), attempt());
    await bench.cluster.create(await generated(namespace));
    const found = (await bench.kubernetes.find()).filter(({ object }) => object.key.includes(`/${namespace}/`));
    expect(found.map(({ object }) => object)).toEqual([scale.by.object]);
  });

  test('that is paused, it is left alone; one that KEDA has scaled to 0 is not', async () => {
    const namespace = await bench.web((at) => scaledObject(at));
    await bench.cluster.patchDeployment(namespace, 'web', { spec: { replicas: 0 } });
    expect(await bench.found(namespace)).toMatchObject({ desired: 0, by: { value: null } });
    const annotations = { 'autoscaling.keda.sh/paused-replicas': '0' };
    await bench.cluster.patch(scaledObject(namespace), { metadata: { annotations } });
    expect(await bench.provider(namespace).read('r')).toMatchObject({
      verdict: 'protected',
      why: expect.stringContaining('is paused'),
    });
  });
});

describe('protected is', () => {
  const whyNot = async (namespace: string, kind?: string, name?: string) => {
    const reading = await bench.provider(namespace, kind, name).read('r');
    return `${reading.verdict}: ${reading.verdict === 'found' ? '' : reading.why}`;
  };
  const skip = { metadata: { annotations: { 'salvor.dev/skip': 'please' } } };

  test('what a person has excluded: itself, its namespace, its autoscaler', async () => {
    const web = await bench.web();
    await bench.cluster.patchDeployment(web, 'web', skip);
    expect(await whyNot(web)).toMatch(/^protected: it carries the annotation salvor.dev\/skip/);
    const around = await bench.web();
    await bench.cluster.patch({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: around } }, skip);
    expect(await whyNot(around)).toMatch(/^protected: its namespace scale-.* carries the annotation/);
    const scaled = await bench.web((at) => autoscaler(at, 2));
    await bench.cluster.patch(autoscaler(scaled), skip);
    expect(await whyNot(scaled)).toMatch(/^protected: it carries the annotation salvor.dev\/skip/);
  });

  test('what Salvor and Temporal run on, by the label of it or of its pods', async () => {
    const namespace = await bench.web();
    const labels = { 'salvor.dev/protect': '' };
    await bench.cluster.patchDeployment(namespace, 'web', { metadata: { labels } });
    expect(await whyNot(namespace)).toBe('protected: it carries the protected label salvor.dev/protect');
    const temporal = { 'app.kubernetes.io/part-of': 'temporal' };
    await bench.cluster.create(deployment({ namespace, name: 'frontend', labels: temporal }));
    expect(await whyNot(namespace, 'deployment.apps', 'frontend')).toContain('app.kubernetes.io/part-of=temporal');
  });

  test('what is in kube-system, what belongs to another workload, and what a person has turned off', async () => {
    await bench.cluster.create(deployment({ namespace: 'kube-system', name: 'web' }));
    expect(await whyNot('kube-system')).toContain('protected: what is in the namespace kube-system');
    const namespace = await bench.web();
    await bench.cluster.readyPods(namespace, 'web', 2);
    const { items } = await bench.cluster.apps.listNamespacedReplicaSet({ namespace });
    const set = await whyNot(namespace, 'replicaset.apps', items[0]?.metadata?.name);
    expect(set).toContain('protected: its size is set by the Deployment web');
    await bench.cluster.patchDeployment(namespace, 'web', { spec: { replicas: 0 } });
    expect(await whyNot(namespace)).toBe('protected: it is scaled to 0, which is how a person turns it off');
  });

  test.each(['daemonset.apps', 'configmap', 'flag.test.salvor.dev', 'crew.nowhere.dev', 'job.batch'])(
    'no %s: that has no size',
    async (kind) => {
      const reading = bench.provider('default', kind).read('r');
      await expect(reading).rejects.toMatchObject({ type: 'UnknownTarget' });
      await expect(reading).rejects.toThrow('have no size that could be set');
    },
  );
});

describe('gone is', () => {
  test('what does not exist, and another object of its name', async () => {
    const namespace = await bench.web();
    expect(await bench.provider(namespace, 'deployment.apps', 'nobody').read('r')).toMatchObject({ verdict: 'gone' });
    expect(await bench.provider(namespace).read('r', 'another')).toMatchObject({
      verdict: 'gone',
      why: expect.stringContaining('it was replaced meanwhile'),
    });
  });

  test('what was deleted: no size is set, and nothing given back', async () => {
    const namespace = await bench.web();
    const scale = await bench.found(namespace);
    await bench.cluster.delete(deployment({ namespace, name: 'web' }));
    await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 5 }));
    const provider = bench.provider(namespace);
    await expect(provider.scaleTo(toSize(scale, 5), attempt())).rejects.toMatchObject({ type: 'Replaced' });
    expect(await provider.giveBack(back(scale, 5), attempt())).toEqual([]);
    expect(await bench.writes(namespace)).toEqual([]);
  });
});

describe('the rights to look alone', () => {
  test('suffice to look, and not to set a size: the right that is missing is named', async () => {
    const namespace = await bench.web((at) => autoscaler(at, 2));
    const provider = bench.onlooker.scalable(bench.target(namespace));
    const scale = await bench.found(namespace);
    // How many are ready goes on changing meanwhile.
    const { object, by } = scale;
    expect(await provider.read('r')).toMatchObject({ verdict: 'found', scale: { object, by } });
    await expect(provider.scaleTo(toSize(scale, 3), attempt())).rejects.toMatchObject({ status: 403 });
    expect(bench.notes(await bench.see(autoscaler(namespace)))).toEqual([]);
    // There is nothing to give back, and what it would write so that a late write is refused, is refused too.
    expect(await provider.giveBack({ ...back(scale, 3), held: [heldOf(scale, 3)] }, attempt())).toEqual([]);
  });
});
