import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { TRAFFIC_LABEL } from '../../model/names.ts';
import { UNREADY_ANNOTATION } from '../../sandbox/kubernetes.ts';
import { deployment, nameOf, service, statefulSet, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { actor, inMs, OPTIONS } from './instance-support.ts';
import { ALLOWED, labelField, replicaSet, selecting, useQuarantine } from './quarantine-support.ts';

const { bench, pods } = useQuarantine();

describe('the way', () => {
  const wayOf = async (namespace: string, name: string, options = ALLOWED) => {
    const found = await bench.assess(namespace, name, { options });
    if (found.verdict !== 'sick') throw new Error(`not sick but ${found.verdict}: ${found.why}`);
    return found;
  };

  test('one label that owner and Service share; with the course, the plan, and why not the ways before it', async () => {
    const { namespace, name, uid, found } = await pods.sick();
    const set = `quarantined-${uid}`;
    expect(set).toMatch(/^[A-Za-z0-9][-A-Za-z0-9_.]{0,61}[A-Za-z0-9]$/);
    expect(found).toMatchObject({
      traffic: {
        way: 'quarantine',
        why: expect.stringMatching(/ app .*Services \(web\).*no label .*no readiness gate/),
      },
      course: { kind: 'replacement', keepFor: 60_000, afterwards: 'delete' },
      held: [{ field: labelField('app'), before: 'web', set }],
    });
    const object = found.instance;
    expect(found.plan.changes).toEqual([
      { what: `label app: web → ${set}`, object, field: labelField('app'), before: 'web', after: set },
      { what: 'delete the pod', object, field: 'deletion', before: null, after: null },
    ]);
    expect(found.plan.steps).toEqual([
      `put it in quarantine: label app: web → ${set}`,
      expect.stringMatching(/^verify within 1m that .*replicaset.apps\/web-.* has its ready replicas again without it/),
      'keep it for 1m, then delete it, with its own grace period',
    ]);
    expect((await wayOf(namespace, name)).plan.digest).toBe(found.plan.digest);

    const back = await wayOf(namespace, name, { ...ALLOWED, quarantine: { keepFor: 1, afterwards: 'give-back' } });
    expect(back.course).toMatchObject({ keepFor: 1, afterwards: 'give-back' });
    expect(back.plan.changes).toHaveLength(1);
    expect(back.plan.steps.at(-1)).toMatch(/then give its labels back$/);
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  test('of several Services: one label for each that shares none, as few as do', async () => {
    const { namespace, name, found } = await pods.sick({ tier: true });
    expect(found.held.map(({ field }) => field)).toEqual([labelField('app'), labelField('tier')]);
    // A label that all of them share would do alone, but the owner does not select on it.
    await bench.cluster.create(selecting(namespace, 'both', { app: 'web', tier: 'front' }));
    const again = await wayOf(namespace, name);
    expect(again.held).toEqual(found.held);
    expect(again.traffic.why).toMatch(/Services \((?=.*web)(?=.*api)(?=.*both)/);
  });

  test('after the label and the gate, and only where the rule allows it', async () => {
    const labelled = await pods.sick({ trafficLabel: true });
    // The Service selects without the label, so that comes to nothing.
    expect(labelled.found.traffic.way).toBe('quarantine');
    const { namespace, name } = labelled;
    await bench.cluster.delete(service(namespace, 'web'));
    await bench.cluster.create(service(namespace, 'web', true));
    expect(await wayOf(namespace, name)).toMatchObject({ traffic: { way: 'label' } });
    expect((await wayOf(namespace, name)).course).toBeUndefined();
    expect(await wayOf(namespace, name, { ...ALLOWED, traffic: 'quarantine' })).toMatchObject({
      traffic: { way: 'quarantine', why: expect.not.stringMatching(/no readiness gate/) },
    });
    const { traffic, course } = await wayOf(namespace, name, { ...OPTIONS, traffic: 'none' });
    expect({ way: traffic.way, course }).toEqual({ way: 'none', course: undefined });
    const forbidden = await bench.assess(namespace, name, { options: { ...OPTIONS, traffic: 'quarantine' } });
    expect(forbidden).toMatchObject({ verdict: 'protected', why: expect.stringMatching(/quarantine.*does not allow/) });
  });

  test('not of a StatefulSet, whose next pod needs the name', async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(statefulSet({ namespace, name: 'db', replicas: 1 }), service(namespace, 'db'));
    await bench.cluster.readyPods(namespace, 'db', 1);
    await bench.cluster.setUnready(namespace, 'db-0', true);
    expect(await wayOf(namespace, 'db-0')).toMatchObject({
      traffic: { way: 'none', why: expect.stringMatching(/StatefulSet/) },
      held: [],
    });
    const demanded = await bench.assess(namespace, 'db-0', { options: { ...ALLOWED, traffic: 'quarantine' } });
    expect(demanded).toMatchObject({ verdict: 'protected', why: expect.stringMatching(/StatefulSet/) });
  });

  test('by expressions of the owner’s selector: only where the change leaves them', async () => {
    const expressions = [
      { key: 'app', operator: 'Exists' },
      { key: 'stage', operator: 'NotIn', values: ['test'] },
      { key: 'zone', operator: 'In', values: ['a', 'b'] },
    ];
    const { metadata, spec } = deployment({ namespace: '', name: 'web', labels: { zone: 'a' } }).spec!.template;
    for (const [given, way] of [
      [expressions, 'quarantine'],
      [expressions.slice(0, 2), 'none'],
    ] as const) {
      const namespace = await bench.cluster.namespace();
      const web = replicaSet(namespace, { matchExpressions: [...given] }, { metadata, spec });
      await bench.cluster.create(web, selecting(namespace, 'web', { zone: 'a' }));
      const [pod] = await bench.cluster.readyPods(namespace, 'web', 1);
      await bench.cluster.setUnready(namespace, nameOf(pod!), true);
      const found = await wayOf(namespace, nameOf(pod!));
      expect(found.traffic).toMatchObject({
        way,
        why: expect.stringMatching(way === 'none' ? /no change of a label/ : / zone /),
      });
      expect(found.held.map(({ field }) => field)).toEqual(way === 'none' ? [] : [labelField('zone')]);
    }
  });

  test('of a ReplicationController, whose selector is a plain map', async () => {
    const namespace = await bench.cluster.namespace();
    const { metadata, spec } = deployment({ namespace, name: 'old' }).spec!.template;
    await bench.cluster.create({
      ...{ apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'old', namespace } },
      spec: { replicas: 1, selector: { app: 'old' }, template: { metadata, spec } },
    } as object);
    const [pod] = await bench.cluster.readyPods(namespace, 'old', 1);
    await bench.cluster.setUnready(namespace, nameOf(pod!), true);
    const { found, request } = await bench.sick(namespace, nameOf(pod!), actor(), ALLOWED);
    expect(found).toMatchObject({ traffic: { way: 'quarantine' }, held: [{ field: labelField('app') }] });
    await bench.run('cut', request).result;
    await pods.released(namespace, nameOf(pod!));
    await bench.cluster.readyPods(namespace, 'old', 1);
  });
});

describe('cut', () => {
  test('one write: out of all Services and its owner’s hands, replaced at once; verified with the pod still there', async () => {
    const { namespace, name, uid, request, verify } = await pods.sick({ tier: true });
    // It works again for a moment, so that it is in traffic, and counted as ready, when it is cut.
    await bench.cluster.setUnready(namespace, name, false);
    await bench.cluster.readyPods(namespace, 'web', 2);
    await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uid));
    const early = await bench.run('verify', { ...verify, deadline: inMs(300) }).result;
    expect(early).toMatchObject({ verified: false, why: expect.stringMatching(/has not let go of the pod yet/) });

    const changes = await bench.run('cut', request).result;
    expect(changes).toMatchObject(request.held.map(({ field, before, set }) => ({ field, before, after: set })));
    expect(new Set(changes.map(({ requestId }) => requestId)).size).toBe(1);
    expect(await bench.run('verify', verify).result).toMatchObject({
      verified: true,
      why: expect.stringMatching(/has 2 of 2 replicas ready without the pod in quarantine, 2 needed/),
    });
    await eventually('out of traffic', async () => !(await bench.cluster.isInTraffic(namespace, uid)));
    const all = await pods.all(namespace);
    expect(all).toHaveLength(3);
    expect(all.filter(({ metadata }) => metadata?.ownerReferences?.length)).toHaveLength(2);
    expect(uidOf(await pods.get(namespace, name))).toBe(uid);

    const { owner } = verify;
    const held = await bench.cluster.held(namespace, name);
    expect(held).toMatchObject(request.held);
    expect(held[0]).toMatchObject({ controller: { kind: 'ReplicaSet', uid: owner.uid } });
    // Again, it changes nothing.
    const again = await bench.run('cut', request).result;
    expect(again).toMatchObject(request.held.map(({ field, before, set }) => ({ field, before, after: set })));
    expect(await bench.mutations(namespace)).toHaveLength(1);
  });

  test('touches nothing where one of the labels is no longer as diagnosed', async () => {
    const { namespace, name, request } = await pods.sick({ tier: true });
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { tier: 'back' } } });
    await expect(bench.run('cut', request).result).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringMatching(/tier was front .* is back now, set by kubectl-edit; nothing was touched/),
    });
    expect(await bench.mutations(namespace)).toEqual([]);
  });
});

describe('verify', () => {
  test('not before the replacement is Ready, however many the owner’s status still counts', async () => {
    const namespace = await bench.cluster.namespace();
    const { metadata, spec } = deployment({ namespace, name: 'web' }).spec!.template;
    await bench.cluster.create(replicaSet(namespace, { matchLabels: { app: 'web' } }, { metadata, spec }));
    const [pod] = await bench.cluster.readyPods(namespace, 'web', 1);
    await bench.cluster.setUnready(namespace, nameOf(pod!), true);
    const { found, request } = await bench.sick(namespace, nameOf(pod!), actor(), ALLOWED);
    await bench.cluster.setUnready(namespace, nameOf(pod!), false);
    await bench.cluster.readyPods(namespace, 'web', 1);
    const body = { spec: { template: { metadata: { annotations: { [UNREADY_ANNOTATION]: 'true' } } } } };
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await bench.cluster.apps.patchNamespacedReplicaSet({ namespace, name: 'web', body }, merge);
    await bench.run('cut', request).result;
    const { instance, owner } = found;
    const verify = { actor: actor(), instance, owner: { ...owner, ready: 1 }, held: request.held };
    const result = await eventually('its owner has let go of it', async () => {
      const seen = await bench.run('verify', { ...verify, deadline: inMs(3_000) }).result;
      return (seen.verified || seen.why.includes('replicas ready')) && seen;
    });
    expect(result).toMatchObject({ verified: false, why: expect.stringMatching(/has 0 of 1 replicas ready/) });
  });

  test('its owner deleted meanwhile: nothing replaces it', async () => {
    const { namespace, name, request, verify } = await pods.sick();
    await bench.run('cut', request).result;
    await pods.released(namespace, name);
    await bench.cluster.delete(deployment({ namespace, name: 'web' }));
    const result = await bench.run('verify', verify).result;
    expect(result).toMatchObject({ verified: false, why: expect.stringMatching(/deleted meanwhile/) });
    expect(await pods.get(namespace, name)).toBeDefined();
  });
});

describe('in quarantine', () => {
  test('later looks know it, healthy or not; other remediations are told whose it is', async () => {
    const { namespace, name, uid, found, request } = await pods.sick();
    await bench.run('cut', request).result;
    await pods.released(namespace, name);
    const options = ALLOWED;
    for (const unready of [true, false]) {
      await bench.cluster.setUnready(namespace, name, unready);
      for (const known of [{ uid }, {}]) {
        const look = await bench.assess(namespace, name, { options, ...known });
        expect(look).toMatchObject({
          verdict: 'sick',
          why: expect.stringMatching(/this remediation keeps it in quarantine by its label app/),
          traffic: { way: 'quarantine' },
          course: found.course,
          held: found.held,
          owner: { key: found.owner.key, uid: found.owner.uid, workload: found.owner.workload },
          plan: { digest: found.plan.digest },
        });
      }
    }
    const other = await bench.assess(namespace, name, { options, actor: actor('another') });
    expect(other).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/held by remediation remediation-1/),
    });
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { 'salvor.dev/skip': '' } } });
    expect(await bench.assess(namespace, name, { uid, options })).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/salvor.dev\/skip/),
    });
  });

  test('taken out by hand and back with its owner: it is a pod like any other, and what is held of it is told', async () => {
    const { namespace, name, uid, request } = await pods.sick({ tier: true, replicas: 1 });
    await bench.cluster.setUnready(namespace, name, false);
    const annotations = { 'controller.kubernetes.io/pod-deletion-cost': '100' };
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations } });
    await bench.run('cut', request).result;
    await pods.released(namespace, name);
    await bench.cluster.readyPods(namespace, 'web', 1);
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { app: 'web' } } });
    await pods.adopted(namespace, name);
    const look = () => bench.assess(namespace, name, { uid, options: ALLOWED });
    expect(await look()).toMatchObject({ verdict: 'healthy', why: expect.stringMatching(/still holds its label app/) });
    await bench.cluster.patchDeployment(namespace, 'web', { spec: { replicas: 2 } });
    await bench.cluster.readyPods(namespace, 'web', 2);
    await bench.cluster.setUnready(namespace, name, true);
    const sick = await look();
    expect(sick.verdict).toBe('sick');
    expect(sick).not.toHaveProperty('course');
  });

  test('a hold that has run out is told to whoever looks, and what a person must do', async () => {
    const { namespace, name, request } = await pods.sick();
    const held = request.held.map((one) => ({ ...one, until: inMs(-1) }));
    await bench.run('cut', { ...request, held }).result;
    await pods.released(namespace, name);
    expect(await bench.assess(namespace, name, { options: ALLOWED, actor: actor('another') })).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/no controller.*still out of traffic by remediation remediation-1.*was web/),
    });
  });

  test('it does not come back by itself, however healthy it is', async () => {
    const { namespace, name, request } = await pods.sick();
    await bench.run('cut', request).result;
    await bench.cluster.setUnready(namespace, name, false);
    const hold = { ...request, step: 'restore', deadline: inMs(2_000), stableFor: 100 };
    expect(await bench.run('hold', hold).result).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/in quarantine, and does not come back by itself/),
      changes: [],
    });
    expect(await bench.mutations(namespace)).toHaveLength(1);
  });

  test('its owner is gone: it is still known, and nothing is wanted of the owner any more', async () => {
    const { namespace, name, uid, found, request } = await pods.sick();
    await bench.run('cut', request).result;
    await pods.released(namespace, name);
    await bench.cluster.delete(deployment({ namespace, name: 'web' }));
    await eventually('its ReplicaSet is gone', async () => {
      const { items } = await bench.cluster.apps.listNamespacedReplicaSet({ namespace });
      return items.length === 0;
    });
    const { key } = found.owner;
    expect(await bench.assess(namespace, name, { uid, options: ALLOWED })).toMatchObject({
      verdict: 'sick',
      owner: { key, uid: found.owner.uid, desired: 0, ready: 0 },
    });
  });
});

test('a traffic label that owner and Services share is a label like another', async () => {
  const namespace = await bench.cluster.namespace();
  const web = deployment({ namespace, name: 'web', trafficLabel: true });
  web.spec!.selector.matchLabels = { app: 'web', [TRAFFIC_LABEL]: 'on' };
  await bench.cluster.create(web, selecting(namespace, 'web', { [TRAFFIC_LABEL]: 'on' }));
  const [pod] = await bench.cluster.readyPods(namespace, 'web', 2);
  const name = nameOf(pod!);
  await bench.cluster.setUnready(namespace, name, true);
  const { found, request } = await bench.sick(namespace, name, actor(), ALLOWED);
  expect(found.held.map(({ field }) => field)).toEqual([labelField(TRAFFIC_LABEL)]);
  await bench.run('cut', request).result;
  await pods.released(namespace, name);
  expect(await bench.assess(namespace, name, { options: ALLOWED })).toMatchObject({ traffic: { way: 'quarantine' } });
});
