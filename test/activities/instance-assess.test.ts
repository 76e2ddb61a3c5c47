import { randomUUID } from 'node:crypto';
import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { HELD_ANNOTATION, IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../model/names.ts';
import {
  deployment,
  isReady,
  nameOf,
  service,
  statefulSet,
  uidOf,
  type WorkloadOptions,
} from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { actor, inMs, OPTIONS, useBench } from './instance-support.ts';

const bench = useBench();

/** A Deployment `web` of two pods, the first of which is made unready. */
async function sickDeployment(options: Partial<WorkloadOptions> = {}, labelled = options.trafficLabel ?? false) {
  const namespace = await bench.cluster.namespace();
  await bench.cluster.create(deployment({ namespace, name: 'web', ...options }), service(namespace, 'web', labelled));
  const [pod] = await bench.cluster.readyPods(namespace, 'web', options.replicas ?? 2);
  const name = nameOf(pod!);
  await bench.cluster.setUnready(namespace, name, true);
  return { namespace, name, uid: uidOf(pod!) };
}

describe('sick', () => {
  test('with a traffic label on which every Service selects: the label, the workload, the plan; nothing is written', async () => {
    const { namespace, name, uid } = await sickDeployment({ trafficLabel: true });
    const set = await eventually('the ReplicaSet counts one ready', async () => {
      const { items } = await bench.cluster.apps.listNamespacedReplicaSet({ namespace });
      return items[0]?.status?.readyReplicas === 1 && items[0];
    });
    const found = await bench.assess(namespace, name);
    expect(found).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/^ContainersReady is False since .*ContainersNotReady/),
      instance: { key: `k8s/sandbox/${namespace}/pod/${name}`, uid },
      traffic: { way: 'label' },
      held: [{ field: `metadata.labels[${TRAFFIC_LABEL}]`, before: 'on', set: 'off' }],
      owner: {
        key: `k8s/sandbox/${namespace}/replicaset.apps/${set.metadata?.name}`,
        ...{ desired: 2, ready: 1, workload: `k8s/sandbox/${namespace}/deployment.apps/web` },
      },
    });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  test('with its readiness gate in service: the gate', async () => {
    const { namespace, name } = await sickDeployment({ gates: [IN_SERVICE_GATE] });
    expect(await bench.assess(namespace, name)).toMatchObject({
      traffic: { way: 'gate' },
      held: [{ field: `status.conditions[${IN_SERVICE_GATE}]`, before: 'True', set: 'False' }],
    });
  });

  test('with neither: nothing to cut, and the reason for each way', async () => {
    const { namespace, name } = await sickDeployment();
    const found = await bench.assess(namespace, name);
    expect(found).toMatchObject({ traffic: { way: 'none' }, held: [] });
    expect(found.verdict === 'sick' && found.traffic.why).toMatch(/no label salvor.dev\/traffic; .* no readiness gate/);
  });

  test('a Service that selects without the label makes the label useless, and is named', async () => {
    const { namespace, name } = await sickDeployment({ trafficLabel: true });
    await bench.cluster.create(service(namespace, 'web', false, 'blind'));
    const found = await bench.assess(namespace, name);
    expect(found.verdict === 'sick' && found.traffic).toMatchObject({
      way: 'none',
      why: expect.stringMatching(/blind/),
    });
  });

  test('a label that the owner selects on is never flipped', async () => {
    const namespace = await bench.cluster.namespace();
    const web = deployment({ namespace, name: 'web', trafficLabel: true });
    web.spec!.selector.matchLabels = { app: 'web', [TRAFFIC_LABEL]: 'on' };
    await bench.cluster.create(web, service(namespace, 'web', true));
    const [pod] = await bench.cluster.readyPods(namespace, 'web', 2);
    await bench.cluster.setUnready(namespace, nameOf(pod!), true);
    expect(await bench.assess(namespace, nameOf(pod!))).toMatchObject({
      traffic: { way: 'none', why: expect.stringMatching(/orphan/) },
    });
  });

  test('a way that the rule demands and that cannot work: not touched, with the reason', async () => {
    const { namespace, name } = await sickDeployment();
    for (const traffic of ['label', 'gate'] as const) {
      const found = await bench.assess(namespace, name, { options: { ...OPTIONS, traffic } });
      expect(found).toMatchObject({ verdict: 'protected', why: expect.stringMatching(`demands .* ${traffic}`) });
    }
    const found = await bench.assess(namespace, name, { options: { ...OPTIONS, traffic: 'none' } });
    expect(found).toMatchObject({ verdict: 'sick', traffic: { way: 'none' } });
  });

  test("a readiness gate of somebody else's that is not True", async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(deployment({ namespace, name: 'web', gates: ['example.com/warm'] }));
    const [pod] = await eventually('pods', async () => {
      const pods = await bench.cluster.pods(namespace, 'web');
      return pods.length === 2 && pods.every((one) => one.status?.conditions) && pods;
    });
    expect(await bench.assess(namespace, nameOf(pod!))).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching('example.com/warm'),
    });
  });

  test('in a StatefulSet, and under a controller that only discovery knows', async () => {
    const namespace = await bench.cluster.namespace();
    const { metadata, spec } = deployment({ namespace, name: 'old', replicas: 1 }).spec!.template;
    await bench.cluster.create(statefulSet({ namespace, name: 'db', replicas: 1 }), {
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: { name: 'old', namespace },
      spec: { replicas: 1, selector: { app: 'old' }, template: { metadata, spec } },
    } as object);
    await bench.cluster.readyPods(namespace, 'db', 1);
    await bench.cluster.setUnready(namespace, 'db-0', true);
    expect(await bench.assess(namespace, 'db-0')).toMatchObject({
      owner: {
        key: `k8s/sandbox/${namespace}/statefulset.apps/db`,
        ...{ desired: 1, workload: `k8s/sandbox/${namespace}/statefulset.apps/db` },
      },
    });
    const [pod] = await bench.cluster.readyPods(namespace, 'old', 1);
    await bench.cluster.setUnready(namespace, nameOf(pod!), true);
    await bench.cluster.allow('salvor', [{ apiGroups: [''], resources: ['replicationcontrollers'], verbs: ['get'] }]);
    const found = await eventually('the new right', () => bench.assess(namespace, nameOf(pod!)));
    expect(found).toMatchObject({ owner: { key: `k8s/sandbox/${namespace}/replicationcontroller/old`, desired: 1 } });
  });
});

describe('the plan', () => {
  const planOf = async (namespace: string, name: string, options = OPTIONS) => {
    const found = await bench.assess(namespace, name, { options });
    if (found.verdict !== 'sick') throw new Error(`not sick but ${found.verdict}: ${found.why}`);
    return found.plan;
  };

  test('has every change that would be made, with before and after, and the steps for people', async () => {
    const { namespace, name, uid } = await sickDeployment({ trafficLabel: true });
    const object = { key: bench.cluster.target(namespace, name), uid };
    const plan = await planOf(namespace, name);
    expect(plan.changes).toEqual([
      {
        ...{ what: 'label salvor.dev/traffic: on → off', object },
        ...{ field: `metadata.labels[${TRAFFIC_LABEL}]`, before: 'on', after: 'off' },
      },
      { what: 'evict the pod', object, field: 'eviction', before: null, after: null },
    ]);
    expect(plan.steps).toEqual([
      'cut its traffic: label salvor.dev/traffic: on → off',
      'wait up to 1m until it has been healthy for 500ms; then give its traffic back',
      'else, once it has been out of traffic for 0s, evict it within its disruption budgets, for up to 1m',
      expect.stringMatching(/^verify within 1m that .*replicaset.apps\/web-.* has its ready replicas again$/),
    ]);
    const kept = await planOf(namespace, name, { ...OPTIONS, replace: false });
    expect(kept.changes).toEqual(plan.changes.slice(0, 1));
    expect(kept.steps.at(-1)).toBe('else give its traffic back and escalate');
  });

  test('has the same digest as long as nothing that it is about changes', async () => {
    const { namespace, name } = await sickDeployment({ trafficLabel: true, replicas: 3 });
    const { digest } = await planOf(namespace, name);
    expect(digest).toMatch(/^[0-9a-f]{16}$/);
    // Other replicas come and go, the pod's conditions are written anew, it is annotated.
    await bench.cluster.patchDeployment(namespace, 'web', { spec: { replicas: 4 } });
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { 'example.com/note': 'x' } } });
    await bench.cluster.setUnready(namespace, name, false);
    await bench.cluster.readyPods(namespace, 'web', 4);
    await bench.cluster.setUnready(namespace, name, true);
    expect((await planOf(namespace, name)).digest).toBe(digest);
    // What would be changed, and what the rule allows, are what it is about.
    expect((await planOf(namespace, name, { ...OPTIONS, replace: false })).digest).not.toBe(digest);
    expect((await planOf(namespace, name, { ...OPTIONS, recoverWithin: 1 })).digest).not.toBe(digest);
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: 'off' } } });
    expect((await planOf(namespace, name)).digest).not.toBe(digest);
  });

  test('of two pods is never the same, though they would be changed in the same way', async () => {
    const { namespace, name } = await sickDeployment();
    const other = (await bench.cluster.pods(namespace, 'web')).map(nameOf).find((one) => one !== name);
    await bench.cluster.setUnready(namespace, other!, true);
    expect((await planOf(namespace, other!)).digest).not.toBe((await planOf(namespace, name)).digest);
  });
});

describe('under an operator', () => {
  /** An object that stands above a controller, as that refers to it. */
  const above = (apiVersion: string, kind: string, uid: string = randomUUID()) => ({
    ownerReferences: [{ apiVersion, kind, name: 'main', uid, controller: true }],
  });

  test('a StatefulSet stands for itself, whatever is above it', async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(statefulSet({ namespace, name: 'db', replicas: 1 }));
    const database = await bench.cluster.core.createNamespacedConfigMap({
      namespace,
      body: { metadata: { name: 'main' } },
    });
    await bench.cluster.patchStatefulSet(namespace, 'db', { metadata: above('v1', 'ConfigMap', uidOf(database)) });
    await bench.cluster.readyPods(namespace, 'db', 1);
    await bench.cluster.setUnready(namespace, 'db-0', true);
    expect(await bench.assess(namespace, 'db-0')).toMatchObject({
      verdict: 'sick',
      owner: { key: `k8s/sandbox/${namespace}/statefulset.apps/db`, desired: 1 },
    });
  });
});

describe('healthy', () => {
  test('a pod that is Ready', async () => {
    const { namespace, name } = await sickDeployment();
    await bench.cluster.setUnready(namespace, name, false);
    await bench.cluster.readyPods(namespace, 'web', 2);
    expect(await bench.assess(namespace, name)).toMatchObject({ verdict: 'healthy' });
  });

  test("a pod that only Salvor's own gate keeps from being Ready", async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(deployment({ namespace, name: 'web', gates: [IN_SERVICE_GATE] }));
    const [pod] = await bench.cluster.readyPods(namespace, 'web', 2);
    await bench.cluster.setCondition(namespace, nameOf(pod!), IN_SERVICE_GATE, 'False');
    await eventually('unready', async () => !isReady((await bench.cluster.pod(namespace, nameOf(pod!)))!));
    expect(await bench.assess(namespace, nameOf(pod!))).toMatchObject({
      verdict: 'healthy',
      why: expect.stringMatching(IN_SERVICE_GATE),
    });
  });
});

describe('gone', () => {
  test('no such pod, another pod of the name, a pod on its way out', async () => {
    const namespace = await bench.cluster.namespace();
    expect(await bench.assess(namespace, 'nobody')).toMatchObject({ verdict: 'gone' });
    await bench.cluster.create(statefulSet({ namespace, name: 'db', replicas: 1, finalizer: 'example.com/wait' }));
    await bench.cluster.readyPods(namespace, 'db', 1);
    await bench.cluster.setUnready(namespace, 'db-0', true);
    const other = await bench.assess(namespace, 'db-0', { uid: randomUUID() });
    expect(other).toMatchObject({ verdict: 'gone', why: expect.stringMatching(/replaced meanwhile/) });
    await bench.cluster.core.deleteNamespacedPod({ namespace, name: 'db-0' });
    const leaving = await bench.assess(namespace, 'db-0');
    expect(leaving).toMatchObject({ verdict: 'gone', why: expect.stringMatching(/being deleted/) });
    await bench.cluster.patchPod(namespace, 'db-0', { metadata: { finalizers: null } });
  });
});

describe('never a target', () => {
  const template = (name: string) => deployment({ namespace: '', name }).spec!.template;

  test('a pod without a controller, of a Job, of a DaemonSet', async () => {
    const namespace = await bench.cluster.namespace();
    const { metadata, spec } = template('alone');
    const owned = (kind: string, apiVersion: string, name: string, more: object) =>
      ({ apiVersion, kind, metadata: { name, namespace }, spec: { ...more } }) as object;
    const job = template('job');
    const agent = template('agent');
    await bench.cluster.create(
      { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name: 'alone', namespace }, spec } as object,
      owned('Job', 'batch/v1', 'job', { template: { ...job, spec: { ...job.spec, restartPolicy: 'Never' } } }),
      owned('DaemonSet', 'apps/v1', 'agent', {
        selector: { matchLabels: { app: 'agent' } },
        template: { ...agent, spec: { containers: agent.spec!.containers } },
      }),
    );
    for (const [app, reason] of [
      ['alone', /no controller/],
      ['job', /the Job job/],
      ['agent', /the DaemonSet agent/],
    ] as const) {
      const [pod] = await eventually(`a pod of ${app}`, async () => {
        const pods = await bench.cluster.pods(namespace, app);
        return pods.length > 0 && pods;
      });
      expect(await bench.assess(namespace, nameOf(pod!))).toMatchObject({
        verdict: 'protected',
        why: expect.stringMatching(reason),
      });
    }
  });

  test('a pod that is Pending: it does not run yet', async () => {
    const namespace = await bench.cluster.namespace();
    const web = deployment({ namespace, name: 'web', replicas: 1 });
    delete web.spec?.template.spec?.nodeName; // nothing schedules it
    await bench.cluster.create(web);
    const [pod] = await eventually('the pod', async () => {
      const pods = await bench.cluster.pods(namespace, 'web');
      return pods[0]?.status?.phase === 'Pending' && pods;
    });
    expect(await bench.assess(namespace, nameOf(pod!))).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/it is Pending/),
    });
  });

  test('static pods, pods with a protected label, pods that a person has excluded', async () => {
    for (const [metadata, reason] of [
      [{ annotations: { 'kubernetes.io/config.mirror': 'x' } }, /static pod/],
      [{ annotations: { 'salvor.dev/skip': 'true' } }, /salvor.dev\/skip/],
      [{ labels: { 'salvor.dev/protect': '' } }, /salvor.dev\/protect/],
      [{ labels: { 'app.kubernetes.io/part-of': 'temporal' } }, /part-of=temporal/],
    ] as const) {
      const namespace = await bench.cluster.namespace();
      const web = deployment({ namespace, name: 'web', replicas: 1 });
      const template = web.spec!.template.metadata!;
      Object.assign(template, {
        ...metadata,
        labels: { ...template.labels, ...('labels' in metadata && metadata.labels) },
      });
      await bench.cluster.create(web);
      const [pod] = await eventually('the pod', async () => {
        const pods = await bench.cluster.pods(namespace, 'web');
        return pods.length > 0 && pods;
      });
      const found = await bench.assess(namespace, nameOf(pod!));
      expect(found).toMatchObject({ verdict: 'protected', why: expect.stringMatching(reason) });
    }
  });

  test('pods of a namespace that a person has excluded', async () => {
    const { namespace, name } = await sickDeployment();
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    const body = { metadata: { annotations: { 'salvor.dev/skip': 'until Monday' } } };
    await bench.cluster.core.patchNamespace({ name: namespace, body }, merge);
    expect(await bench.assess(namespace, name)).toEqual({
      verdict: 'protected',
      why: `its namespace ${namespace} carries the annotation salvor.dev/skip`,
    });
  });

  test('pods of kube-system', async () => {
    const name = `web-${randomUUID().slice(0, 8)}`;
    await bench.cluster.create(deployment({ namespace: 'kube-system', name, replicas: 1 }));
    const [pod] = await bench.cluster.readyPods('kube-system', name, 1);
    expect(await bench.assess('kube-system', nameOf(pod!))).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/kube-system/),
    });
  });
});

describe('held already', () => {
  test('by another remediation: not touched, and it says by whom, until its hold has run out', async () => {
    const { namespace, name, uid } = await sickDeployment({ trafficLabel: true });
    const other = (until: string) => ({
      object: { key: bench.cluster.target(namespace, name), uid },
      ...{ field: 'spec.x', before: 1, set: 2, remediation: 'another', runbook: 'drain-node', until },
    });
    const note = (value: string) =>
      bench.cluster.patchPod(namespace, name, { metadata: { annotations: { [HELD_ANNOTATION]: value } } });
    await note(JSON.stringify([other(inMs(60_000))]));
    const found = await bench.assess(namespace, name);
    expect(found).toMatchObject({ verdict: 'protected', why: expect.stringMatching(/another \(drain-node\)/) });
    await note(JSON.stringify([other(inMs(-1))]));
    expect(await bench.assess(namespace, name)).toMatchObject({ verdict: 'sick', traffic: { way: 'label' } });
    await note('what?');
    const unreadable = await bench.assess(namespace, name);
    expect(unreadable).toMatchObject({ verdict: 'protected', why: expect.stringMatching(/cannot be read/) });
  });

  test('by another whose time has run out while the pod is still out of traffic: it says so', async () => {
    for (const options of [{ trafficLabel: true }, { gates: [IN_SERVICE_GATE] }]) {
      const { namespace, name } = await sickDeployment(options);
      const { request } = await bench.sick(namespace, name, actor('another'));
      const held = request.held.map((one) => ({ ...one, until: inMs(-1) }));
      await bench.run('cut', { ...request, held }).result;
      const words = /still out of traffic by remediation another, whose hold ran out at .* A person must give it back/;
      const sick = await bench.assess(namespace, name, { options: { ...OPTIONS, traffic: 'none' } });
      expect(sick).toMatchObject({ verdict: 'sick', why: expect.stringMatching(words) });
      await bench.cluster.setUnready(namespace, name, false);
      const found = await bench.assess(namespace, name);
      expect(found).toMatchObject({ verdict: 'healthy', why: expect.stringMatching(words) });
    }
  });

  test('by this very remediation: the first look finds the cut to resume, a later look finds it healthy', async () => {
    const { namespace, name, uid } = await sickDeployment({ trafficLabel: true });
    const { request, found } = await bench.sick(namespace, name);
    await bench.run('cut', request).result;
    expect(await bench.assess(namespace, name, { uid })).toMatchObject({ verdict: 'sick', traffic: { way: 'label' } });
    await bench.cluster.setUnready(namespace, name, false);
    await bench.cluster.readyPods(namespace, 'web', 2);
    expect(await bench.assess(namespace, name)).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/still holds/),
      traffic: { way: 'label' },
      held: found.held,
    });
    const later = await bench.assess(namespace, name, { uid });
    expect(later).toMatchObject({ verdict: 'healthy', why: expect.stringMatching(/still holds its label/) });
    const stranger = await bench.assess(namespace, name, { actor: actor('another') });
    expect(stranger).toMatchObject({ verdict: 'protected', why: expect.stringMatching(/remediation-1/) });
  });
});
