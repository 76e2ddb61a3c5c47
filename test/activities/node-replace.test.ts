import { PatchStrategy, setHeaderOptions, type V1Pod } from '@kubernetes/client-node';
import { CancelledFailure } from '@temporalio/common';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ReplaceResult } from '../../model/ports/instance.ts';
import { HeldBack, type Pulse } from '../../providers/instance.ts';
import type { Memory } from '../../providers/kubernetes/node/drain.ts';
import { Kubernetes } from '../../providers/kubernetes/provider.ts';
import { budget, nameOf, uidOf, type WorkloadOptions } from '../support/kubernetes.ts';
import { barePod, daemonSet, type Pool, placed } from '../support/nodes.ts';
import { door, eventually } from '../support/wait.ts';
import { inMs, useBench } from './instance-support.ts';
import { cordoned, nodeOptions, poolOf } from './node-support.ts';

const bench = useBench();

/** A sick, cordoned node with so many pods of each app, and the request for its drain. */
async function nodeWith(
  apps: Record<string, number>,
  { options = nodeOptions(), more = {} as Partial<WorkloadOptions> } = {},
) {
  const pool = await poolOf(bench, 2);
  const { namespace } = pool;
  for (const [name, replicas] of Object.entries(apps))
    await pool.run(name, replicas, placed({ namespace, name, replicas, ...more }));
  const pods = await pool.podsOn();
  await pool.setUnready(true);
  const { replace, found } = await cordoned(bench, pool, options);
  return { pool, namespace, pods, replace, found };
}

const evictions = (namespace: string) => bench.mutations(namespace, { subresource: 'eviction' });

/** Names of the pods whose eviction was granted, as the API server's audit log has them. */
async function granted(namespace: string): Promise<string[]> {
  const events = await evictions(namespace);
  return events
    .filter(({ responseStatus }) => responseStatus?.code === 201)
    .map(({ objectRef }) => objectRef?.name ?? '');
}
const codes = async (namespace: string) => (await evictions(namespace)).map((event) => event.responseStatus?.code);

const sorted = (names: Iterable<string>) => [...names].sort();
const changed = ({ changes }: ReplaceResult) => sorted(changes.map(({ object }) => object.uid));
const ofApp = (pods: readonly V1Pod[], app: string) => pods.filter((pod) => nameOf(pod).startsWith(`${app}-`));

async function untilGone(pool: Pool, pods: readonly V1Pod[]): Promise<void> {
  const uids = new Set(pods.map(uidOf));
  await eventually('they are gone', async () => (await pool.podsOn()).every((pod) => !uids.has(uidOf(pod))));
}

describe('drain', () => {
  test('30 pods under budgets, so many at once; each once, and nothing else', async () => {
    const parallel = 5;
    const { pool, namespace, pods, replace } = await nodeWith(
      { one: 10, two: 10, free: 10 },
      { options: nodeOptions({ parallel }) },
    );
    await bench.cluster.create(budget(namespace, 'one', 7), budget(namespace, 'two', '80%'));
    // The first ask only when as many are under way as may be: were it one after the other, none would ever go on.
    const full = door();
    let [waiting, most] = [0, 0];
    const fence = async () => {
      waiting += 1;
      most = Math.max(most, waiting);
      if (waiting === parallel) full.open();
      await full.opened;
      waiting -= 1;
    };
    const result = await bench.run('replace', replace, undefined, { fence }).result;
    expect(result).toMatchObject({ verdict: 'replaced', stays: true });
    expect(most).toBe(parallel);
    expect(changed(result)).toEqual(sorted(pods.map(uidOf)));
    expect(sorted(await granted(namespace))).toEqual(sorted(pods.map(nameOf)));
    for (const { requestObject } of await evictions(namespace))
      expect(requestObject).toMatchObject({ deleteOptions: { preconditions: { uid: expect.any(String) } } });
    expect('moved' in result && result.moved?.map(({ desired, ready }) => [desired, ready])).toEqual([
      [10, 10],
      [10, 10],
      [10, 10],
    ]);
    await untilGone(pool, pods);
    const verified = await bench.run('verify', {
      ...{ actor: replace.actor, instance: replace.instance, owner: replace.owner, options: replace.options },
      ...{ deadline: inMs(60_000), moved: 'moved' in result ? result.moved : [] },
    }).result;
    expect(verified).toMatchObject({ verified: true, why: expect.stringMatching(/10 of 10 replicas ready/) });
    for (const app of ['one', 'two', 'free'])
      for (const pod of await bench.cluster.readyPods(namespace, app, 10))
        expect(pod.spec?.nodeName).toBe(pool.names[1]);
  });

  test('pods of DaemonSets and static pods stay; bare ones and emptyDir as the rule says', async () => {
    const options = nodeOptions({ bare: true, emptyDir: true });
    const pool = await poolOf(bench, 2);
    const { namespace } = pool;
    const volumes = [{ name: 'cache', emptyDir: {} }];
    await pool.run('agent', 2, daemonSet(namespace, 'agent', pool.name));
    const mirror = barePod(namespace, 'static', { nodeName: pool.first });
    mirror.metadata!.annotations = { 'kubernetes.io/config.mirror': 'x' };
    await pool.run('static', 1, mirror);
    await pool.run('alone', 1, barePod(namespace, 'alone', { volumes }));
    await pool.run('web', 2, placed({ namespace, name: 'web' }, { volumes }));
    const pods = await pool.podsOn();
    await pool.setUnready(true);
    const { replace } = await cordoned(bench, pool, options);
    expect(await bench.run('replace', replace).result).toMatchObject({ verdict: 'replaced' });
    const going = pods.filter((pod) => /^(alone|web)/.test(nameOf(pod)));
    expect(going).toHaveLength(3);
    expect(sorted(await granted(namespace))).toEqual(sorted(going.map(nameOf)));
    await untilGone(pool, going);
    expect(sorted((await pool.podsOn()).map(nameOf))).toEqual(
      sorted(pods.filter((pod) => !going.includes(pod)).map(nameOf)),
    );
  });

  test('a budget that forbids one keeps no place from the others; it goes when it may', async () => {
    const { namespace, pods, replace } = await nodeWith(
      { tight: 3, loose: 5 },
      { options: nodeOptions({ parallel: 1 }) },
    );
    await bench.cluster.create(budget(namespace, 'tight', 3));
    const running = bench.run('replace', replace);
    await eventually('all others are evicted', async () => (await granted(namespace)).length === 5);
    expect(sorted(await granted(namespace))).toEqual(sorted(ofApp(pods, 'loose').map(nameOf)));
    await eventually('refused at least once', async () => (await codes(namespace)).includes(429));
    await bench.cluster.delete(budget(namespace, 'tight', 3));
    const result = await running.result;
    expect(result).toMatchObject({ verdict: 'replaced' });
    expect(changed(result)).toEqual(sorted(pods.map(uidOf)));
    expect(sorted(await granted(namespace))).toEqual(sorted(pods.map(nameOf)));
  });

  test('a budget that stands until the deadline: blocked, with what is left and why, and what was done', async () => {
    const { namespace, pods, replace } = await nodeWith({ tight: 1, loose: 1 });
    await bench.cluster.create(budget(namespace, 'tight', 1, 'strict'));
    const result = await bench.run('replace', { ...replace, deadline: inMs(20_000) }).result;
    expect(result).toMatchObject({
      verdict: 'blocked',
      why: expect.stringMatching(new RegExp(`not empty before .*${namespace}/tight-[^ ]+: .*strict`)),
    });
    expect(changed(result)).toEqual(ofApp(pods, 'loose').map(uidOf));
    expect(await granted(namespace)).toEqual(ofApp(pods, 'loose').map(nameOf));
  });

  test('several budgets for one pod: it is asked for once, the others go, and it is named at the end', async () => {
    const { namespace, pods, replace } = await nodeWith({ torn: 1, loose: 3 });
    await bench.cluster.create(budget(namespace, 'torn', 0, 'first'), budget(namespace, 'torn', 0, 'second'));
    const result = await bench.run('replace', replace).result;
    expect(result).toMatchObject({
      verdict: 'failed',
      why: expect.stringMatching(new RegExp(`${namespace}/torn-[^ ]+ cannot be evicted: .*several disruption budgets`)),
    });
    expect(changed(result)).toEqual(sorted(ofApp(pods, 'loose').map(uidOf)));
    expect((await codes(namespace)).filter((code) => code === 500)).toHaveLength(1);
  });

  test('a pod that comes while it is drained goes too', async () => {
    const { pool, namespace, replace } = await nodeWith({ tight: 1 }, { options: nodeOptions({ bare: true }) });
    await bench.cluster.create(budget(namespace, 'tight', 1));
    const running = bench.run('replace', replace);
    await eventually('refused at least once', async () => (await codes(namespace)).includes(429));
    // It may be evicted before it is Ready.
    await bench.cluster.create(barePod(namespace, 'late', { nodeName: pool.first }));
    await eventually('it is evicted', async () => (await granted(namespace)).includes('late'));
    await bench.cluster.delete(budget(namespace, 'tight', 1));
    const result = await running.result;
    expect(result).toMatchObject({ verdict: 'replaced' });
    expect(result.changes).toHaveLength(2);
  });

  test('somebody uncordons it: no more of its pods go', async () => {
    const { pool, namespace, pods, replace } = await nodeWith({ tight: 2, loose: 1 });
    await bench.cluster.create(budget(namespace, 'tight', 2));
    const running = bench.run('replace', replace);
    await eventually('all others are evicted', async () => (await granted(namespace)).length === 1);
    await pool.patch({ spec: { unschedulable: null } }, pool.first, 'kubectl-uncordon');
    const result = await running.result;
    expect(result).toMatchObject({ verdict: 'failed', why: expect.stringMatching(/not cordoned any more/) });
    expect(changed(result)).toEqual(ofApp(pods, 'loose').map(uidOf));
    await bench.cluster.delete(budget(namespace, 'tight', 2));
    expect(await granted(namespace)).toEqual(ofApp(pods, 'loose').map(nameOf));
  });

  test.for([
    [
      'their namespace is excluded',
      /tight-.* cannot be evicted: its namespace .* carries the annotation salvor\.dev\/skip/,
    ],
    ['the node is protected', /it carries the protected label salvor\.dev\/protect by now/],
  ] as const)('%s in the midst: no more of its pods go', async ([what, why]) => {
    const { pool, namespace, pods, replace } = await nodeWith({ tight: 2, loose: 1 });
    await bench.cluster.create(budget(namespace, 'tight', 2));
    const running = bench.run('replace', replace);
    await eventually('all others are evicted', async () => (await granted(namespace)).length === 1);
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    const body = { metadata: { annotations: { 'salvor.dev/skip': '' } } };
    if (what === 'the node is protected') await pool.patch({ metadata: { labels: { 'salvor.dev/protect': '' } } });
    else await bench.cluster.core.patchNamespace({ name: namespace, body }, merge);
    const result = await running.result;
    expect(result).toMatchObject({ verdict: 'failed', why: expect.stringMatching(why) });
    expect(changed(result)).toEqual(ofApp(pods, 'loose').map(uidOf));
    // What the budget has put off until now is not asked for any more.
    await bench.cluster.delete(budget(namespace, 'tight', 2));
    expect(await granted(namespace)).toEqual(ofApp(pods, 'loose').map(nameOf));
  });

  test("Salvor's and Temporal's own pods go one after the other, as others are Ready elsewhere", async () => {
    const more = { labels: { 'app.kubernetes.io/part-of': 'salvor' } };
    const pool = await poolOf(bench, 2);
    const { namespace } = pool;
    await pool.run('worker', 3, placed({ namespace, name: 'worker', replicas: 3, ...more }));
    const [one] = await pool.podsOn();
    await pool.setUnready(true);
    await bench.cluster.core.deleteNamespacedPod({ namespace, name: nameOf(one!) });
    await eventually('one is Ready elsewhere', async () => (await pool.podsOn(pool.names[1])).length === 1);
    await bench.cluster.readyPods(namespace, 'worker', 3);
    const { replace } = await cordoned(bench, pool);
    expect(await bench.run('replace', replace).result).toMatchObject({ verdict: 'replaced' });
    expect(await granted(namespace)).toHaveLength(2);
  });

  test("two nodes that are drained at once do not count on each other's", async () => {
    const more = { labels: { 'app.kubernetes.io/part-of': 'salvor' } };
    const pool = await poolOf(bench, 2);
    const { namespace } = pool;
    await pool.run('worker', 2, placed({ namespace, name: 'worker', replicas: 2, ...more }));
    const [one] = await pool.podsOn();
    await pool.setUnready(true);
    await bench.cluster.core.deleteNamespacedPod({ namespace, name: nameOf(one!) });
    await eventually('one is elsewhere', async () => (await pool.podsOn(pool.names[1])).length === 1);
    await bench.cluster.readyPods(namespace, 'worker', 2);
    const { replace } = await cordoned(bench, pool);
    // The other one is drained by somebody.
    await pool.patch({ spec: { unschedulable: true } }, pool.names[1]);
    const running = bench.run('replace', { ...replace, deadline: inMs(5_000) });
    expect(await running.result).toMatchObject({
      verdict: 'blocked',
      why: expect.stringMatching(/worker-.*no other pod of its owner is Ready on another node that is not cordoned/),
    });
    expect(await granted(namespace)).toEqual([]);
    await pool.patch({ spec: { unschedulable: null } }, pool.names[1]);
    expect(await bench.run('replace', { ...replace, deadline: inMs(600_000) }).result).toMatchObject({
      verdict: 'replaced',
    });
    expect(await granted(namespace)).toHaveLength(1);
  });

  test('the node is gone, or replaced, before it asked: nothing is touched', async () => {
    const { pool, namespace, replace } = await nodeWith({ web: 1 });
    const instance = { ...replace.instance, uid: 'another' };
    expect(await bench.run('replace', { ...replace, instance }).result).toMatchObject({ verdict: 'gone', changes: [] });
    await bench.cluster.core.deleteNode({ name: pool.first });
    expect(await bench.run('replace', replace).result).toMatchObject({ verdict: 'gone', changes: [] });
    expect(await evictions(namespace)).toEqual([]);
  });
});

describe('durability', () => {
  test('cut off in the midst, twice: the next attempt goes on, and each pod is evicted once', async () => {
    const { namespace, pods, replace } = await nodeWith(
      { one: 10, two: 10 },
      { options: nodeOptions({ parallel: 4 }) },
    );
    await bench.cluster.create(budget(namespace, 'one', 8));
    let last: Memory | undefined;
    for (const at of [5, 4]) {
      let asked = 0;
      let dead = false;
      // What the server knew last, and no answer after it: as of a worker that is killed right after it asked for one that no
      // budget keeps.
      const fence = async (_: Uint8Array, details: unknown) => {
        if (dead) throw new Error('killed');
        asked += 1;
        last = structuredClone(details as Memory);
        dead = asked >= at && Object.values(last.asked).some((one) => one.key.includes('/pod/two-') && !one.at);
      };
      await expect(bench.run('replace', replace, last, { fence }).result).rejects.toThrow(/killed/);
    }
    const before = (await granted(namespace)).length;
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(20);
    const result = await bench.run('replace', replace, last).result;
    expect(result).toMatchObject({ verdict: 'replaced' });
    expect(changed(result)).toEqual(sorted(pods.map(uidOf)));
    expect(sorted(await granted(namespace))).toEqual(sorted(pods.map(nameOf)));
    expect(result.changes.some(({ what }) => what.includes('answer was lost'))).toBe(true);
  });

  test('not the time for it any more: it stops, and tells what it did until then', async () => {
    const { pool, namespace, replace } = await nodeWith({ web: 4 }, { options: nodeOptions({ parallel: 1 }) });
    let asked = 0;
    const objection = { gate: 'paused', reason: 'paused by ada' } as const;
    const result = await provider()
      .node({ name: pool.first })
      .replace(
        replace,
        pulse(() => {
          asked += 1;
          if (asked > 2) throw new HeldBack(objection);
        }),
      );
    expect(result).toMatchObject({ verdict: 'held-back', why: 'paused by ada', objection });
    expect(result.changes).toHaveLength(2);
    expect(await granted(namespace)).toHaveLength(2);
  });

  test('cancelled in the midst: it ends at once, and tells what it did until then', async () => {
    const { namespace, pods, replace } = await nodeWith({ tight: 2, loose: 2 });
    await bench.cluster.create(budget(namespace, 'tight', 2));
    const running = bench.run('replace', replace);
    await eventually('all others are evicted', async () => (await granted(namespace)).length === 2);
    await eventually('refused at least once', async () => (await codes(namespace)).includes(429));
    running.cancel();
    const result = await running.result;
    expect(result).toMatchObject({ verdict: 'failed', why: 'stopped after 2 of its changes' });
    expect(changed(result)).toEqual(sorted(ofApp(pods, 'loose').map(uidOf)));
  });

  test('cancelled before it did anything: it ends at once and asks for nothing more', async () => {
    const { namespace, pods, replace } = await nodeWith({ tight: 2 });
    await bench.cluster.create(budget(namespace, 'tight', 2));
    const running = bench.run('replace', replace);
    await eventually('refused at least once', async () => (await codes(namespace)).includes(429));
    running.cancel();
    await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
    await bench.cluster.delete(budget(namespace, 'tight', 2));
    expect(await granted(namespace)).toEqual([]);
    expect(await bench.cluster.readyPods(namespace, 'tight', pods.length)).toHaveLength(2);
  });
});

function provider(): Kubernetes {
  const kubeconfig = bench.sandbox.kubernetes.users.salvor?.kubeconfig ?? '';
  const kubernetes = new Kubernetes({ name: 'sandbox', kubeconfig });
  onTestFinished(() => kubernetes.close());
  return kubernetes;
}

function pulse(stillMine: () => void): Pulse {
  return {
    ...{ since: Date.now(), aloneUntil: 0, last: undefined, signal: new AbortController().signal },
    beat: () => undefined,
    stillMine: async () => stillMine(),
  };
}
