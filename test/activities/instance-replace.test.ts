import { randomUUID } from 'node:crypto';
import { CancelledFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import type { ReplaceRequest, VerifyRequest } from '../../model/ports/instance.ts';
import { UNREADY_ANNOTATION } from '../../sandbox/kubernetes.ts';
import { budget, deployment, nameOf, statefulSet, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { actor, inMs, useBench } from './instance-support.ts';

const bench = useBench();

/** An unready pod of a Deployment `web` or a StatefulSet `db`, assessed, and the requests for the later steps. */
async function sickPod(kind: 'Deployment' | 'StatefulSet' = 'Deployment', replicas = 2) {
  const namespace = await bench.cluster.namespace();
  const app = kind === 'Deployment' ? 'web' : 'db';
  const make = kind === 'Deployment' ? deployment : statefulSet;
  await bench.cluster.create(make({ namespace, name: app, replicas }));
  const [pod] = await bench.cluster.readyPods(namespace, app, replicas);
  const name = nameOf(pod!);
  await bench.cluster.setUnready(namespace, name, true);
  await eventually('its owner sees it', async () => {
    const { readyReplicas = 0 } = await ownerStatus(namespace, app);
    return readyReplicas === replicas - 1;
  });
  const { found } = await bench.sick(namespace, name);
  const common = { actor: actor(), instance: found.instance, owner: found.owner };
  const replace: ReplaceRequest = { ...common, step: 'replace', notBefore: inMs(0), deadline: inMs(60_000) };
  const verify: VerifyRequest = { ...common, deadline: inMs(60_000) };
  return { namespace, app, name, uid: uidOf(pod!), replace, verify };
}

async function ownerStatus(namespace: string, app: string): Promise<{ readyReplicas?: number }> {
  const { apps } = bench.cluster;
  const request = { namespace, name: app };
  const owner =
    app === 'web' ? await apps.readNamespacedDeployment(request) : await apps.readNamespacedStatefulSet(request);
  return owner.status ?? {};
}

const evictions = (namespace: string) => bench.mutations(namespace, { subresource: 'eviction' });
const codes = async (namespace: string) => (await evictions(namespace)).map((event) => event.responseStatus?.code);

/** Deletes a pod of a StatefulSet, as a person would, and waits for its successor. */
async function succeed(namespace: string, name: string, uid: string): Promise<string> {
  await bench.cluster.core.deleteNamespacedPod({ namespace, name }).catch((error: { code?: number }) => {
    if (error.code !== 404) throw error; // its controller was faster
  });
  return eventually('the successor', async () => {
    const pod = await bench.cluster.pod(namespace, name);
    return pod && uidOf(pod) !== uid && uidOf(pod);
  });
}

describe('replace', () => {
  test('evicts once it is time, with the identity as precondition and nothing forced', async () => {
    const { namespace, name, uid, replace } = await sickPod();
    const notBefore = inMs(1_000);
    const result = await bench.run('replace', { ...replace, notBefore }).result;
    const [event] = await evictions(namespace);
    expect(result).toMatchObject({
      verdict: 'replaced',
      changes: [{ step: 'replace', field: 'eviction', object: replace.instance, requestId: event!.auditID }],
    });
    expect(Date.parse(event!.requestReceivedTimestamp)).toBeGreaterThanOrEqual(Date.parse(notBefore));
    expect(event!.requestObject).toMatchObject({ deleteOptions: { preconditions: { uid } } });
    expect(event!.requestObject).not.toHaveProperty('deleteOptions.gracePeriodSeconds');
    expect(await bench.mutations(namespace)).toHaveLength(1);
    await eventually('it is gone', async () => (await bench.cluster.pod(namespace, name)) === undefined);
  });

  test('waits while a disruption budget forbids it, and evicts when the budget allows', async () => {
    const { namespace, replace } = await sickPod();
    await bench.cluster.create(budget(namespace, 'web', 2));
    const running = bench.run('replace', replace);
    await eventually('refused at least once', async () => (await codes(namespace)).includes(429));
    await bench.cluster.delete(budget(namespace, 'web', 2));
    expect(await running.result).toMatchObject({ verdict: 'replaced', changes: [{ field: 'eviction' }] });
    expect((await codes(namespace)).filter((code) => code === 201)).toHaveLength(1);
    expect((await codes(namespace)).at(-1)).toBe(201);
  });

  test('blocked: the budget stands until the deadline; it is named, the pod stays', async () => {
    const { namespace, name, uid, replace } = await sickPod();
    await bench.cluster.create(budget(namespace, 'web', 2, 'strict'));
    const result = await bench.run('replace', { ...replace, deadline: inMs(5_000) }).result;
    expect(result).toMatchObject({ verdict: 'blocked', why: expect.stringMatching(/strict/), changes: [] });
    expect(uidOf((await bench.cluster.pod(namespace, name))!)).toBe(uid);
    expect(new Set(await codes(namespace))).toEqual(new Set([429]));
  });

  test('several budgets for one pod: final, for a person must mend them', async () => {
    const { namespace, replace } = await sickPod();
    await bench.cluster.create(budget(namespace, 'web', 1, 'one'), budget(namespace, 'web', 1, 'two'));
    await expect(bench.run('replace', replace).result).rejects.toMatchObject({
      type: 'MisconfiguredBudget',
      nonRetryable: true,
      message: expect.stringMatching(/several disruption budgets/),
    });
    expect(await codes(namespace)).toEqual([500]);
  });

  test('a successor of the same name is not touched', async () => {
    const { namespace, name, uid, replace } = await sickPod('StatefulSet', 1);
    const successor = await succeed(namespace, name, uid);
    expect(await bench.run('replace', replace).result).toMatchObject({ verdict: 'gone', changes: [] });
    expect(await bench.mutations(namespace)).toEqual([]);
    expect(uidOf((await bench.cluster.pod(namespace, name))!)).toBe(successor);
  });

  test('a successor that comes while it waits for a budget is not touched', async () => {
    const { namespace, name, uid, replace } = await sickPod('StatefulSet', 1);
    await bench.cluster.create(budget(namespace, 'db', 1));
    const running = bench.run('replace', replace);
    await eventually('refused at least once', async () => (await codes(namespace)).includes(429));
    const successor = await succeed(namespace, name, uid);
    expect(await running.result).toMatchObject({ verdict: 'gone', changes: [] });
    expect(uidOf((await bench.cluster.pod(namespace, name))!)).toBe(successor);
    expect(await codes(namespace)).not.toContain(201);
  });

  test('killed after the request: the next attempt counts it as done and asks for nothing', async () => {
    const { namespace, name, uid, replace } = await sickPod('StatefulSet', 1);
    const first = bench.run('replace', replace);
    await first.result;
    expect(first.beats[0]).toEqual({ evicting: true });
    await eventually('the successor', async () => {
      const pod = await bench.cluster.pod(namespace, name);
      return pod && uidOf(pod) !== uid;
    });
    expect(await bench.run('replace', replace, first.beats[0]).result).toMatchObject({
      verdict: 'replaced',
      changes: [{ field: 'eviction', object: replace.instance, what: expect.stringMatching(/answer was lost/) }],
    });
    expect(await codes(namespace)).toEqual([201]);
  });

  test('killed long before the request: a pod that is gone then was not Salvor’s doing', async () => {
    const { namespace, name, replace } = await sickPod();
    const first = bench.run('replace', { ...replace, notBefore: inMs(60_000), deadline: inMs(120_000) });
    const last = await eventually('a heartbeat', () => first.beats[0]);
    expect(last).toEqual({ evicting: false });
    first.cancel();
    await expect(first.result).rejects.toBeInstanceOf(CancelledFailure);
    await bench.cluster.core.deleteNamespacedPod({ namespace, name });
    expect(await bench.run('replace', replace, last).result).toMatchObject({ verdict: 'gone', changes: [] });
  });

  test('cancelled while a budget forbids it: ends at once, the pod stays', async () => {
    const { namespace, name, uid, replace } = await sickPod();
    await bench.cluster.create(budget(namespace, 'web', 2));
    const running = bench.run('replace', replace);
    await eventually('refused at least once', async () => (await codes(namespace)).includes(429));
    running.cancel();
    await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
    await bench.cluster.delete(budget(namespace, 'web', 2));
    expect(uidOf((await bench.cluster.pod(namespace, name))!)).toBe(uid);
  });
});

describe('verify', () => {
  test('a Deployment has its ready replicas again', async () => {
    const { replace, verify } = await sickPod();
    const early = await bench.run('verify', { ...verify, deadline: inMs(300) }).result;
    expect(early).toMatchObject({ verified: false, why: expect.stringMatching(/old pod is not gone/) });
    await bench.run('replace', replace).result;
    expect(await bench.run('verify', verify).result).toMatchObject({
      verified: true,
      why: expect.stringMatching(/2 of 2 replicas ready/),
    });
  });

  test('what was unready before beside the sick pod is not asked for; the sick pod itself is', async () => {
    const { namespace, app, name, replace, verify } = await sickPod('Deployment', 3);
    const other = (await bench.cluster.pods(namespace, app)).find((pod) => nameOf(pod) !== name);
    await bench.cluster.setUnready(namespace, nameOf(other!), true);
    await eventually('one ready', async () => (await ownerStatus(namespace, app)).readyReplicas === 1);
    const { found } = await bench.sick(namespace, name);
    expect(found.owner).toMatchObject({ desired: 3, ready: 1 });
    await bench.run('replace', replace).result;
    const result = await bench.run('verify', { ...verify, owner: found.owner }).result;
    expect(result).toMatchObject({ verified: true, why: expect.stringMatching(/2 needed/) });
  });

  test('the new pod of a StatefulSet is Ready under the old name', async () => {
    const { name, replace, verify } = await sickPod('StatefulSet', 2);
    await bench.run('replace', replace).result;
    const result = await bench.run('verify', verify).result;
    expect(result).toMatchObject({ verified: true, why: expect.stringMatching(`${name} is Ready`) });
  });

  test('not verified when the replacement does not become ready in time, with what was seen', async () => {
    const { namespace, name, uid, verify } = await sickPod('StatefulSet', 1);
    const body = { spec: { template: { metadata: { annotations: { [UNREADY_ANNOTATION]: 'true' } } } } };
    await bench.cluster.patchStatefulSet(namespace, 'db', body);
    await succeed(namespace, name, uid);
    // The first one may still be of the old template, if the controller had not heard of the new one, or be deleted with it.
    await eventually('a successor that stays unready', async () => {
      const { metadata, status } = (await bench.cluster.pod(namespace, name)) ?? {};
      const isUnready = metadata?.annotations?.[UNREADY_ANNOTATION] === 'true' && status?.phase === 'Running';
      return isUnready && metadata.uid !== uid && metadata.deletionTimestamp === undefined;
    });
    const result = await bench.run('verify', { ...verify, deadline: inMs(1_500) }).result;
    expect(result).toMatchObject({ verified: false, why: expect.stringMatching(/not Ready yet/) });
  });

  test('scaled down meanwhile: nothing is missing; its owner deleted: nothing replaces it', async () => {
    const { namespace, name, verify } = await sickPod('StatefulSet', 1);
    await bench.cluster.patchStatefulSet(namespace, 'db', { spec: { replicas: 0 } });
    expect(await bench.run('verify', verify).result).toMatchObject({ verified: true });
    await bench.cluster.delete(statefulSet({ namespace, name: 'db' }));
    await eventually('no pod', async () => (await bench.cluster.pod(namespace, name)) === undefined);
    const result = await bench.run('verify', verify).result;
    expect(result).toMatchObject({ verified: false, why: expect.stringMatching(/deleted meanwhile/) });
  });

  test('a pod of a rollout that cannot become ready: the old ReplicaSet serves all that is wanted, and it is not verified', async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(deployment({ namespace, name: 'web' }));
    const old = (await bench.cluster.readyPods(namespace, 'web', 2)).map(uidOf);
    const template = { metadata: { annotations: { [UNREADY_ANNOTATION]: 'true' } } };
    await bench.cluster.patchDeployment(namespace, 'web', { spec: { template } });
    const surge = await eventually('the surge pod', async () => {
      const pods = await bench.cluster.pods(namespace, 'web');
      return pods.find((pod) => !old.includes(uidOf(pod)) && pod.status?.conditions);
    });
    const { found } = await bench.sick(namespace, nameOf(surge));
    await eventually('both old ones count', async () => (await ownerStatus(namespace, 'web')).readyReplicas === 2);
    const common = { actor: actor(), instance: found.instance, owner: found.owner };
    await bench.run('replace', { ...common, step: 'replace', notBefore: inMs(0), deadline: inMs(60_000) }).result;
    await eventually('it is replaced', async () => (await bench.cluster.pod(namespace, nameOf(surge))) === undefined);
    expect(await bench.run('verify', { ...common, deadline: inMs(2_000) }).result).toMatchObject({
      verified: false,
      why: expect.stringMatching(/replicaset.apps.* has 0 of 1 replicas ready/),
    });
  });

  test('an owner that is no kind of this cluster is a final error', async () => {
    const { verify } = await sickPod();
    const key = verify.owner.key.replace('replicaset.apps', 'rollout.example.com');
    const running = bench.run('verify', { ...verify, owner: { ...verify.owner, key, uid: randomUUID() } });
    await expect(running.result).rejects.toMatchObject({ type: 'UnknownTarget', nonRetryable: true });
  });
});
