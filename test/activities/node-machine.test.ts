import { randomUUID } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ReplaceResult, VerifyRequest } from '../../model/ports/instance.ts';
import { HeldBack } from '../../providers/instance.ts';
import { nodeName } from '../../providers/kubernetes/node/pool.ts';
import { Kubernetes } from '../../providers/kubernetes/provider.ts';
import type { Machine, Machines } from '../../providers/machines.ts';
import { nameOf } from '../support/kubernetes.ts';
import { addNode, placed } from '../support/nodes.ts';
import { eventually } from '../support/wait.ts';
import { type Bench, inMs, useBench } from './instance-support.ts';
import { assess, cordoned, nodeOptions, poolOf } from './node-support.ts';

const bench = useBench();

/** What the port of the machines was asked for, of one machine whose state a test sets. */
class Machinery implements Machines {
  readonly instanceId = `i-${randomUUID().replaceAll('-', '').slice(0, 17)}`;
  readonly calls: string[] = [];
  state: string | undefined = 'InService';
  refused: string | undefined;
  /** Comes to be when it is terminated. */
  after: string | undefined = 'Terminating';

  async find(instanceId: string): Promise<Machine | undefined> {
    if (instanceId !== this.instanceId || this.state === undefined) return undefined;
    const found = { instanceId, group: 'workers', state: this.state };
    // It comes to wait in its hooks a moment later.
    if (this.state === 'Terminating') this.state = this.after === 'Terminating' ? undefined : this.after;
    return found;
  }
  async refusal(): Promise<string | undefined> {
    return this.refused;
  }
  async terminate(): Promise<{ requestId?: string }> {
    this.calls.push('terminate');
    this.state = 'Terminating';
    return { requestId: 'request-1' };
  }
  async heartbeat(_machine: Machine, hooks: readonly string[]): Promise<void> {
    this.calls.push(`heartbeat ${hooks}`);
  }
  async complete(_machine: Machine, hooks: readonly string[]): Promise<void> {
    this.calls.push(`complete ${hooks}`);
    this.state = 'Terminating:Proceed';
  }
}

/** The bench, with these machines under the nodes of its cluster. */
function benchWith(machines?: Machines): Bench {
  const kubeconfig = bench.sandbox.kubernetes.users.salvor?.kubeconfig ?? '';
  const kubernetes = new Kubernetes({ name: 'sandbox', kubeconfig }, { machines });
  onTestFinished(() => kubernetes.close());
  const instance = (key: string) => kubernetes.node({ name: nodeName(key) });
  return Object.assign(Object.create(bench) as Bench, { registry: { ...bench.registry, instance } });
}

/** A sick, cordoned node on such a machine, with two pods, and the request for its drain. */
async function nodeOn(machines: Machinery, options = nodeOptions({ terminate: true }), finalizer?: string) {
  const pool = await poolOf(bench, 2, { providerID: `aws:///eu-west-1a/${machines.instanceId}` });
  const { namespace } = pool;
  await pool.run('web', 2, placed({ namespace, name: 'web', finalizer }));
  const pods = await pool.podsOn();
  await pool.setUnready(true);
  const { replace } = await cordoned(benchWith(machines), pool, options);
  return { pool, namespace, pods, replace, run: benchWith(machines) };
}

const fields = ({ changes }: ReplaceResult) => changes.map(({ field }) => field);

describe('termination', () => {
  test('only when the node is empty: not while a pod is still ending', async () => {
    const machines = new Machinery();
    const { pool, namespace, pods, replace, run } = await nodeOn(machines, undefined, 'test/slow');
    const early = await run.run('replace', { ...replace, deadline: inMs(20_000) }).result;
    expect(early).toMatchObject({
      verdict: 'blocked',
      why: expect.stringMatching(/web-.*: evicted, but not gone yet/),
    });
    expect(fields(early)).toEqual(['eviction', 'eviction']);
    expect(machines.calls).toEqual([]);

    const running = run.run('replace', replace);
    await eventually('it waits', () => running.beats.length > 0);
    for (const pod of pods) await bench.cluster.patchPod(namespace, nameOf(pod), { metadata: { finalizers: null } });
    const result = await running.result;
    expect(result).toMatchObject({
      verdict: 'replaced',
      stays: false,
      changes: [{ field: 'termination', object: { key: pool.key() }, requestId: 'request-1' }],
    });
    expect(machines.calls).toEqual(['terminate']);
    expect((await pool.podsOn()).map(nameOf)).toEqual([]);
  });

  test('what keeps it from being terminated is said by the diagnosis, before anything is evicted', async () => {
    const options = nodeOptions({ terminate: true });
    const machines = new Machinery();
    const pool = await poolOf(bench, 1, { providerID: `aws:///eu-west-1a/${machines.instanceId}` });
    await pool.setUnready(true);
    const whyOf = async (own: Bench, of = pool) => {
      const found = await assess(own, of, options);
      return found.verdict === 'protected' ? found.why : found.verdict;
    };
    expect(await whyOf(benchWith(machines))).toBe('sick');
    machines.refused = 'an instance refresh runs';
    expect(await whyOf(benchWith(machines))).toMatch(/of workers must not be terminated: an instance refresh runs/);
    expect(await whyOf(benchWith(new Machinery()))).toMatch(/is in no Auto Scaling group/);
    expect(await whyOf(benchWith())).toMatch(/clusters\[\]\.aws/);
    const unknown = await poolOf(bench, 1);
    await unknown.setUnready(true);
    expect(await whyOf(benchWith(machines), unknown)).toMatch(/providerID is \(none\)/);
  });

  test('not of a node that has recovered meanwhile: it stays', async () => {
    const machines = new Machinery();
    const { pool, namespace, pods, replace, run } = await nodeOn(machines, undefined, 'test/slow');
    const running = run.run('replace', replace);
    await eventually('its pods are evicted', async () =>
      (await pool.podsOn()).every(({ metadata }) => metadata?.deletionTimestamp !== undefined),
    );
    await pool.setUnready(false);
    for (const pod of pods) await bench.cluster.patchPod(namespace, nameOf(pod), { metadata: { finalizers: null } });
    const result = await running.result;
    expect(result).toMatchObject({
      verdict: 'replaced',
      stays: true,
      why: expect.stringMatching(/not terminated, for it has recovered: the node is Ready/),
    });
    expect(fields(result)).toEqual(['eviction', 'eviction']);
    expect(machines.calls).toEqual([]);
  });

  test('refused by its group: failed with that reason, and the evictions are told', async () => {
    const machines = new Machinery();
    const { replace, run } = await nodeOn(machines);
    // It began since the diagnosis.
    machines.refused = 'an instance refresh runs';
    const result = await run.run('replace', replace).result;
    expect(result).toMatchObject({
      verdict: 'failed',
      why: expect.stringMatching(new RegExp(`${machines.instanceId} of workers .*an instance refresh runs`)),
    });
    expect(fields(result)).toEqual(['eviction', 'eviction']);
    expect(machines.calls).toEqual([]);
  });

  test('a machine that nobody knows, or that is no machine of AWS: failed, and what to do is said', async () => {
    const { replace, run } = await nodeOn(new Machinery());
    expect(await benchWith(new Machinery()).run('replace', replace).result).toMatchObject({
      verdict: 'failed',
      why: expect.stringMatching(/is in no Auto Scaling group/),
    });
    expect(await benchWith().run('replace', replace).result).toMatchObject({
      verdict: 'failed',
      why: expect.stringMatching(/clusters\[\]\.aws/),
    });
    const pool = await poolOf(bench, 1);
    await pool.setUnready(true);
    const other = await cordoned(bench, pool);
    const options = nodeOptions({ terminate: true });
    expect(await run.run('replace', { ...other.replace, options }).result).toMatchObject({
      verdict: 'failed',
      why: expect.stringMatching(/providerID is \(none\)/),
    });
  });

  test('killed after it asked: the next attempt does not ask again, and counts it as done', async () => {
    const machines = new Machinery();
    const { replace, run, pool } = await nodeOn(machines);
    let last: unknown;
    const fence = async (_: Uint8Array, details: unknown) => {
      last = structuredClone(details);
    };
    await run.run('replace', replace, undefined, { fence }).result;
    expect(last).toMatchObject({ terminating: true });
    expect(last).not.toHaveProperty('terminated');
    const result = await run.run('replace', replace, last).result;
    expect(fields(result)).toEqual(['eviction', 'eviction', 'termination']);
    expect(result.changes.at(-1)?.what).toMatch(/answer was lost/);
    // Also where the node is gone by then.
    await bench.cluster.core.deleteNode({ name: pool.first });
    expect(fields(await run.run('replace', replace, last).result)).toEqual(fields(result));
    expect(machines.calls).toEqual(['terminate']);
  });

  test('killed before it asked: the next attempt asks', async () => {
    const machines = new Machinery();
    const { replace, run } = await nodeOn(machines);
    const fence = async (_: Uint8Array, details: unknown) => {
      if ((details as { terminating?: true }).terminating) throw new Error('killed');
    };
    await expect(run.run('replace', replace, undefined, { fence }).result).rejects.toThrow(/killed/);
    expect(machines.calls).toEqual([]);
    const result = await run.run('replace', replace, { terminating: true }).result;
    expect(result).toMatchObject({ verdict: 'replaced', changes: [{ field: 'termination', requestId: 'request-1' }] });
    expect(machines.calls).toEqual(['terminate']);
  });

  test('paused after it was terminated: its hooks are left, and its new node is to be seen all the same', async () => {
    const machines = new Machinery();
    machines.after = 'Terminating:Wait';
    const options = nodeOptions({ terminate: true }, { lifecycleHooks: ['drain'] });
    const { pool, replace, run } = await nodeOn(machines, options);
    const result = await run.registry.instance(pool.key()).replace(replace, {
      ...{ since: Date.now(), aloneUntil: 0, last: undefined, signal: new AbortController().signal },
      beat: () => undefined,
      stillMine: async () => {
        if (machines.calls.length > 0) throw new HeldBack({ gate: 'paused', reason: 'paused by ada' });
      },
    });
    expect(result).toMatchObject({
      verdict: 'replaced',
      stays: false,
      why: expect.stringMatching(/paused by ada.*hooks were not completed/),
    });
    expect(fields(result)).toEqual(['eviction', 'eviction', 'termination']);
    expect(machines.calls).toEqual(['terminate']);
  });

  test('lifecycle hooks that the rule names: kept alive for the drain, completed after it; of no others', async () => {
    const machines = new Machinery();
    machines.state = 'Terminating:Wait';
    const options = nodeOptions({}, { lifecycleHooks: ['drain'] });
    const { replace, run } = await nodeOn(machines, options);
    expect(await run.run('replace', replace).result).toMatchObject({ verdict: 'replaced' });
    // A drain that takes its time has more than one heartbeat.
    expect([...new Set(machines.calls)]).toEqual(['heartbeat drain', 'complete drain']);

    const own = new Machinery();
    own.after = 'Terminating:Wait';
    const both = await nodeOn(own, { ...options, node: nodeOptions({ terminate: true }).node });
    expect(await both.run.run('replace', both.replace).result).toMatchObject({ verdict: 'replaced' });
    expect(own.calls).toEqual(['terminate', 'complete drain']);

    const none = new Machinery();
    none.state = 'Terminating:Wait';
    const without = await nodeOn(none);
    expect(await without.run.run('replace', without.replace).result).toMatchObject({ verdict: 'replaced' });
    expect(none.calls).toEqual([]);
  });
});

describe('verify', () => {
  test('the pool has as many nodes that serve as before, and the old one is gone', async () => {
    const machines = new Machinery();
    const { pool, replace, run } = await nodeOn(machines);
    await run.run('replace', replace).result;
    machines.state = 'Terminating';
    machines.after = 'Terminating:Proceed';
    const { actor, instance, owner, options } = replace;
    const verify: VerifyRequest = { actor, instance, owner, options, moved: [], deadline: inMs(600_000) };
    expect(await run.run('verify', { ...verify, deadline: inMs(500) }).result).toMatchObject({
      verified: false,
      why: expect.stringMatching(/machine is not gone yet/),
    });
    const running = run.run('verify', verify);
    await bench.cluster.core.deleteNode({ name: pool.first });
    const early = await eventually('its node is seen to be gone', async () => {
      const seen = await run.run('verify', { ...verify, deadline: inMs(500) }).result;
      return (seen.verified || seen.why.includes('needed')) && seen;
    });
    expect(early).toMatchObject({ verified: false, why: expect.stringMatching(/has 1 nodes that serve, 2 needed/) });
    await addNode(bench.cluster, `${pool.name}-new`, pool.name);
    expect(await running.result).toMatchObject({ verified: true, why: expect.stringMatching(/2 nodes that serve/) });
  });

  test('what was unready elsewhere before is not asked for; what has gone is neither', async () => {
    const pool = await poolOf(bench, 2);
    const { namespace } = pool;
    await pool.run('web', 3, placed({ namespace, name: 'web', replicas: 3 }));
    const [here, elsewhere] = await pool.podsOn();
    await pool.patch({ spec: { unschedulable: true } });
    await bench.cluster.core.deleteNamespacedPod({ namespace, name: nameOf(elsewhere!) });
    const [other] = await eventually('one runs elsewhere', async () => {
      const found = await pool.podsOn(pool.names[1]);
      return found.length === 1 && found;
    });
    await bench.cluster.readyPods(namespace, 'web', 3);
    for (const pod of [here, other]) await bench.cluster.setUnready(namespace, nameOf(pod!), true);
    await pool.setUnready(true);
    await eventually('its controller knows', async () => {
      const { items } = await bench.cluster.apps.listNamespacedReplicaSet({ namespace });
      return items[0]?.status?.readyReplicas === 1;
    });
    const { replace } = await cordoned(bench, pool);
    const result = await bench.run('replace', replace).result;
    // Of two that are unready, the one on this node is to be ready again.
    expect(result).toMatchObject({ verdict: 'replaced', moved: [{ desired: 3, ready: 2 }] });
    const moved = 'moved' in result ? result.moved : [];
    const { actor, instance, owner, options } = replace;
    const verify: VerifyRequest = { actor, instance, owner, options, moved, deadline: inMs(60_000) };
    expect(await bench.run('verify', verify).result).toMatchObject({
      verified: true,
      why: expect.stringMatching(/has 2 of 3 replicas ready, 2 needed/),
    });
    await bench.cluster.apps.deleteNamespacedDeployment({ namespace, name: 'web' });
    expect(await bench.run('verify', verify).result).toMatchObject({ verified: true });
  });
});
