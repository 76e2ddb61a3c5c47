import { describe, expect, test } from 'vitest';
import { budget } from '../support/kubernetes.ts';
import { barePod, daemonSet, placed } from '../support/nodes.ts';
import { eventually } from '../support/wait.ts';
import { actor, OPTIONS, useBench } from './instance-support.ts';
import { assess, cordoned, mutations, nodeOptions, poolOf, sick } from './node-support.ts';

const bench = useBench();

/** A node on which two pods of `web` run, and which is sick. */
async function sickNode(...made: Parameters<typeof poolOf> extends [unknown, ...infer R] ? R : never) {
  const pool = await poolOf(bench, ...made);
  await pool.run('web', 2, placed({ namespace: pool.namespace, name: 'web' }));
  await pool.setUnready(true);
  return pool;
}

describe('what it finds', () => {
  test('a node that is Ready is healthy; nothing is touched', async () => {
    const pool = await poolOf(bench, 1);
    expect(await assess(bench, pool)).toMatchObject({ verdict: 'healthy', why: expect.stringMatching(/Ready/) });
    expect(await mutations(bench, pool.first)).toEqual([]);
  });

  test('a node that is not Ready: cordon, each pod by its key, and the pool as it stands', async () => {
    const pool = await poolOf(bench, 3);
    const { namespace } = pool;
    await pool.run('web', 2, placed({ namespace, name: 'web' }));
    await pool.run('agent', 3, daemonSet(namespace, 'agent', pool.name));
    await pool.setUnready(true);
    const found = (await sick(bench, pool)).found;
    const pods = await bench.cluster.pods(namespace, 'web');
    const targets = pods.map(({ metadata }) => ({
      key: bench.cluster.target(namespace, metadata!.name!),
      uid: metadata!.uid,
    }));
    expect(found).toMatchObject({
      why: expect.stringMatching(/Ready is False since .* \(KubeletNotReady/),
      instance: { key: pool.key() },
      traffic: { way: 'cordon' },
      held: [{ field: 'spec.unschedulable', before: null, set: true }],
      owner: { key: pool.workload, workload: pool.workload, desired: 3, ready: 2 },
    });
    const { changes, steps } = found.plan;
    expect(changes.map(({ field }) => field)).toEqual(['spec.unschedulable', 'eviction', 'eviction']);
    expect(changes.slice(1).map(({ object }) => object)).toEqual(expect.arrayContaining(targets));
    expect(steps.join('\n')).toMatch(/cordon it/);
    expect(await mutations(bench, pool.first)).toEqual([]);
  });

  test('the digest of the plan is that of the node and the rule, whatever runs on it', async () => {
    const pool = await sickNode();
    const before = (await sick(bench, pool)).found.plan.digest;
    await bench.cluster.patchDeployment(pool.namespace, 'web', { spec: { replicas: 0 } });
    await eventually('nothing runs on it', async () => (await pool.podsOn()).length === 0);
    const after = (await sick(bench, pool)).found.plan;
    expect(after.changes).toHaveLength(1);
    expect(after.digest).toBe(before);
    expect((await sick(bench, pool, nodeOptions({ emptyDir: true }))).found.plan.digest).not.toBe(before);
  });

  test('cordoned by a person: nothing is held, and who did it is said', async () => {
    const pool = await sickNode();
    await pool.patch({ spec: { unschedulable: true } });
    const { found, request } = await sick(bench, pool);
    expect(found).toMatchObject({ traffic: { way: 'none', why: expect.stringMatching(/kubectl-cordon/) }, held: [] });
    expect(await bench.run('cut', request).result).toEqual([]);
    expect(await bench.run('restore', request).result).toEqual([]);
    expect(await pool.isCordoned()).toBe(true);
    expect(await mutations(bench, pool.first)).toEqual([]);
  });

  test('gone, and replaced by another of its name', async () => {
    const pool = await sickNode();
    const { uid } = (await sick(bench, pool)).found.instance;
    expect(await assess(bench, pool, nodeOptions(), undefined, 'another')).toMatchObject({
      verdict: 'gone',
      why: expect.stringMatching(/replaced meanwhile: the node of this name/),
    });
    await bench.cluster.core.deleteNode({ name: pool.first });
    expect(await assess(bench, pool, nodeOptions(), undefined, uid)).toMatchObject({
      verdict: 'gone',
      why: 'there is no node of this name',
    });
  });

  test('cut by this remediation already: sick on the first look, with what it holds; healthy on a later one', async () => {
    const pool = await sickNode();
    const { found } = await cordoned(bench, pool);
    await pool.setUnready(false);
    expect(await assess(bench, pool)).toMatchObject({ verdict: 'sick', traffic: { way: 'cordon' }, held: found.held });
    expect(await assess(bench, pool, nodeOptions(), undefined, found.instance.uid)).toMatchObject({
      verdict: 'healthy',
      why: expect.stringMatching(/still keeps it cordoned/),
    });
  });
});

describe('what it leaves alone', () => {
  test('a node of the control plane, unless the rule says otherwise', async () => {
    const pool = await sickNode(2, { labels: { 'node-role.kubernetes.io/control-plane': '' } });
    expect(await assess(bench, pool)).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/control plane.*node\.controlPlane/),
    });
    const { found } = await sick(bench, pool, nodeOptions({ controlPlane: true }));
    expect(found.owner.key).toBe('k8s/sandbox/node-pool/control-plane');
  });

  test('a node that a person has excluded, and one that another remediation holds', async () => {
    const pool = await sickNode(2, { annotations: { 'salvor.dev/skip': 'mine' } });
    expect(await assess(bench, pool)).toMatchObject({ verdict: 'protected', why: expect.stringMatching(/skip/) });
    await pool.patch({ metadata: { annotations: { 'salvor.dev/skip': null }, labels: { 'salvor.dev/protect': '' } } });
    expect(await assess(bench, pool)).toMatchObject({
      verdict: 'protected',
      why: 'it carries the protected label salvor.dev/protect',
    });
    await pool.patch({ metadata: { labels: { 'salvor.dev/protect': null } } });
    await cordoned(bench, pool);
    expect(await assess(bench, pool, nodeOptions(), 'remediation-2')).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/spec\.unschedulable is held by remediation remediation-1/),
    });
  });

  test('a node with pods that could not be evicted, each named, with the option that allows it', async () => {
    const pool = await poolOf(bench);
    const { namespace } = pool;
    const volumes = [{ name: 'cache', emptyDir: {} }];
    await pool.run('cache', 1, placed({ namespace, name: 'cache', replicas: 1 }, { volumes }));
    await pool.run('alone', 1, barePod(namespace, 'alone'));
    await pool.run('agent', 2, daemonSet(namespace, 'agent', pool.name));
    await pool.setUnready(true);
    const found = await assess(bench, pool);
    expect(found).toMatchObject({ verdict: 'protected' });
    expect(found.why).toMatch(new RegExp(`${namespace}/cache-[^ ]+: it has an emptyDir volume.*node\\.emptyDir: true`));
    expect(found.why).toMatch(new RegExp(`${namespace}/alone: it has no controller.*node\\.bare: true`));
    expect(found.why).not.toContain('agent');
    expect(await assess(bench, pool, nodeOptions({ bare: true }))).toMatchObject({ verdict: 'protected' });
    const { plan } = (await sick(bench, pool, nodeOptions({ bare: true, emptyDir: true }))).found;
    expect(plan.changes.filter(({ field }) => field === 'eviction')).toHaveLength(2);
    // A rule that never evicts may cordon it all the same.
    expect((await sick(bench, pool, nodeOptions({}, { replace: false }))).found.plan.changes).toHaveLength(1);
  });

  test('a node with pods that a person has excluded, by themselves or by their namespace', async () => {
    const pool = await sickNode();
    const { namespace } = pool;
    const [one] = await bench.cluster.pods(namespace, 'web');
    const name = one!.metadata!.name!;
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { 'salvor.dev/skip': '' } } });
    expect(await assess(bench, pool)).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(new RegExp(`${namespace}/${name}: it carries the annotation salvor.dev/skip`)),
    });
  });

  test('a node with a pod that Salvor keeps in quarantine says so, and by which remediation', async () => {
    const pool = await poolOf(bench);
    const { namespace } = pool;
    const [pod] = await pool.run('web', 1, placed({ namespace, name: 'web', replicas: 1 }));
    const name = pod!.metadata!.name!;
    await bench.cluster.setUnready(namespace, name, true);
    const { request } = await bench.sick(namespace, name, actor('remediation-7'), {
      ...OPTIONS,
      quarantine: { keepFor: 60_000, afterwards: 'delete' },
    });
    await bench.run('cut', request).result;
    await eventually('its owner lets go of it', async () => {
      const { ownerReferences = [] } = (await bench.cluster.pod(namespace, name))?.metadata ?? {};
      return ownerReferences.length === 0;
    });
    await pool.setUnready(true);
    const until = request.held[0]?.until;
    expect(await assess(bench, pool)).toMatchObject({
      verdict: 'protected',
      why: expect.stringContaining(
        `${namespace}/${name}: remediation remediation-7 keeps it in quarantine until ${until} (`,
      ),
    });
    // A rule by which bare pods may go lets it go too.
    const { plan } = (await sick(bench, pool, nodeOptions({ bare: true }))).found;
    expect(plan.changes.map(({ object }) => object.uid)).toContain(pod!.metadata!.uid);
  });

  test("a node that runs Salvor's or Temporal's own pods, unless others of their owner are Ready elsewhere", async () => {
    const pool = await poolOf(bench);
    const labels = { 'app.kubernetes.io/part-of': 'temporal' };
    const made = placed({ namespace: pool.namespace, name: 'history', labels });
    await pool.run('history', 2, made, budget(pool.namespace, 'history', 1));
    await pool.setUnready(true);
    expect(await assess(bench, pool)).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/history-.* carries the protected label .*temporal.*no other pod of its owner/),
    });
    const [one] = await bench.cluster.pods(pool.namespace, 'history');
    await bench.cluster.core.deleteNamespacedPod({ namespace: pool.namespace, name: one!.metadata!.name! });
    await eventually('one runs elsewhere', async () => (await pool.podsOn(pool.names[1])).length === 1);
    await bench.cluster.readyPods(pool.namespace, 'history', 2);
    expect(await assess(bench, pool)).toMatchObject({ verdict: 'sick' });
    // What is elsewhere may be about to go as well.
    await pool.patch({ spec: { unschedulable: true } }, pool.names[1]);
    expect(await assess(bench, pool)).toMatchObject({
      verdict: 'protected',
      why: expect.stringMatching(/no other pod of its owner is Ready on another node that is not cordoned/),
    });
  });
});
