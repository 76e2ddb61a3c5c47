import { CancelledFailure } from '@temporalio/common';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Held } from '../../model/change.ts';
import type { HoldRequest } from '../../model/ports/instance.ts';
import type { Check, Subject } from '../../providers/checks.ts';
import { Kubernetes } from '../../providers/kubernetes/provider.ts';
import type { HoldingRegistry } from '../../providers/registry.ts';
import { addNode } from '../support/nodes.ts';
import { eventually } from '../support/wait.ts';
import { type Bench, inMs, useBench } from './instance-support.ts';
import { cordoned, mutations, nodeOptions, poolOf, sick } from './node-support.ts';

const bench = useBench();

/** A sick node that Salvor has cordoned, and the request to hold it. */
async function heldNode(change: Partial<HoldRequest> = {}) {
  const pool = await poolOf(bench, 1);
  await pool.setUnready(true);
  const { request } = await cordoned(bench, pool);
  const hold: HoldRequest = { ...request, step: 'restore', deadline: inMs(600_000), stableFor: 500, ...change };
  return { pool, request, hold };
}

const HTTP = { scheme: 'http', port: 10_248, path: '/healthz', status: 200, within: 1_000 } as const;
const uncordon = { spec: { unschedulable: null } };

describe('cut', () => {
  test('cordons in one write, with the note, and the identity and version as preconditions; repeated it changes nothing', async () => {
    const pool = await poolOf(bench, 1);
    await pool.setUnready(true);
    const { found, request } = await sick(bench, pool);
    const [change] = await bench.run('cut', request).result;
    expect(change).toMatchObject({ field: 'spec.unschedulable', before: null, after: true, object: found.instance });
    expect(await pool.isCordoned()).toBe(true);
    expect(await pool.held()).toMatchObject([{ field: 'spec.unschedulable', remediation: 'remediation-1' }]);
    const [event, ...others] = await mutations(bench, pool.first);
    expect(others).toEqual([]);
    expect(event!.requestObject).toMatchObject({
      metadata: { uid: found.instance.uid, resourceVersion: expect.any(String) },
      spec: { unschedulable: true },
    });
    expect(change!.requestId).toBe(event!.auditID);
    expect(await bench.run('cut', request).result).toMatchObject([{ field: 'spec.unschedulable', after: true }]);
    expect(await mutations(bench, pool.first)).toHaveLength(1);
  });

  test('a person was faster: contested, nothing is touched', async () => {
    const pool = await poolOf(bench, 1);
    await pool.setUnready(true);
    const { request } = await sick(bench, pool);
    await pool.patch({ spec: { unschedulable: true } });
    await expect(bench.run('cut', request).result).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringMatching(/spec\.unschedulable was \(none\).*is true now, set by kubectl-cordon/),
    });
    expect(await mutations(bench, pool.first)).toEqual([]);
  });

  test('another node has its name by now: nothing is touched', async () => {
    const pool = await poolOf(bench, 1);
    await pool.setUnready(true);
    const { request } = await sick(bench, pool);
    await bench.cluster.core.deleteNode({ name: pool.first });
    await addNode(bench.cluster, pool.first, pool.name);
    await expect(bench.run('cut', request).result).rejects.toMatchObject({ type: 'Replaced' });
    expect(await pool.isCordoned()).toBe(false);
  });
});

describe('hold', () => {
  test('recovered: healthy long enough, then uncordoned, once', async () => {
    const { pool, hold } = await heldNode();
    const running = bench.run('hold', hold);
    await eventually('a heartbeat with the time since which it is cordoned', () =>
      running.beats.some((beat) => (beat as { outSince?: string }).outSince),
    );
    await pool.setUnready(false);
    expect(await running.result).toMatchObject({
      verdict: 'recovered',
      changes: [{ step: 'restore', field: 'spec.unschedulable', before: true, after: null }],
    });
    expect(await pool.isCordoned()).toBe(false);
    expect(await pool.held()).toEqual([]);
    expect(await mutations(bench, pool.first)).toHaveLength(2);
  });

  test('a node that a person has cordoned stays so when it recovers', async () => {
    const pool = await poolOf(bench, 1);
    await pool.setUnready(true);
    await pool.patch({ spec: { unschedulable: true } });
    const { request } = await sick(bench, pool);
    const running = bench.run('hold', { ...request, step: 'restore', deadline: inMs(600_000), stableFor: 500 });
    await pool.setUnready(false);
    expect(await running.result).toMatchObject({ verdict: 'recovered', changes: [] });
    expect(await pool.isCordoned()).toBe(true);
    expect(await mutations(bench, pool.first)).toEqual([]);
  });

  test('still sick at the deadline: it stays cordoned, and since when is told', async () => {
    const { pool, hold } = await heldNode({ deadline: inMs(1_000) });
    expect(await bench.run('hold', hold).result).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/did not recover in time: Ready is False/),
      outSince: expect.any(String),
      changes: [],
    });
    expect(await pool.isCordoned()).toBe(true);
  });

  test('a person uncordons it: asserted again once; the second time contested, and left alone', async () => {
    const { pool, hold } = await heldNode();
    const running = bench.run('hold', hold);
    await pool.patch(uncordon, pool.first, 'kubectl-uncordon');
    await eventually('cordoned again', () => pool.isCordoned());
    await pool.patch(uncordon, pool.first, 'kubectl-uncordon');
    expect(await running.result).toMatchObject({
      verdict: 'contested',
      changes: [{ field: 'spec.unschedulable', before: null, after: true, what: expect.stringMatching(/again/) }],
    });
    expect(await pool.isCordoned()).toBe(false);
  });

  test('a check of the rule finds it sick though it is Ready: held until the check is met too', async () => {
    const pool = await poolOf(bench, 1);
    const asked: Subject[] = [];
    let healthy = false;
    const check: Check = async (_health, subject) => {
      asked.push(subject);
      return { healthy, why: `the disk is ${healthy ? 'well' : 'ill'}` };
    };
    const kubernetes = new Kubernetes(
      { name: 'sandbox', kubeconfig: bench.sandbox.kubernetes.users.salvor?.kubeconfig ?? '' },
      { check },
    );
    onTestFinished(() => kubernetes.close());
    const registry = { ...bench.registry, instance: () => kubernetes.node({ name: pool.first }) };
    const own = Object.assign(Object.create(bench) as Bench, { registry });
    const options = nodeOptions({}, { health: { http: HTTP } });
    const { request, found } = await cordoned(own, pool, options);
    expect(found).toMatchObject({ why: 'the node is Ready, but the disk is ill', traffic: { way: 'cordon' } });
    const address = (await pool.node())?.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
    expect(asked[0]).toEqual({ values: { cluster: 'sandbox', node: pool.first }, address, local: true });
    const running = own.run('hold', { ...request, step: 'restore', deadline: inMs(600_000), stableFor: 500 });
    const before = asked.length;
    await eventually('it was asked again', () => asked.length > before);
    expect(await pool.isCordoned()).toBe(true);
    healthy = true;
    expect(await running.result).toMatchObject({ verdict: 'recovered', changes: [{ after: null }] });
    expect(await pool.isCordoned()).toBe(false);
  });

  test('released by hand meanwhile: given back, and not taken again', async () => {
    const { pool, hold } = await heldNode();
    const running = bench.run('hold', hold);
    await eventually('it waits', () => running.beats.length > 0);
    const [held] = hold.held;
    expect(await release(held!, true)).toMatchObject({ result: 'given-back', changes: [] });
    expect(await pool.isCordoned()).toBe(true);
    expect(await release(held!, false)).toMatchObject({ result: 'given-back', changes: [{ after: null }] });
    expect(await running.result).toMatchObject({ verdict: 'given-back' });
    expect(await pool.isCordoned()).toBe(false);
    expect(await pool.held()).toEqual([]);
    expect(await release(held!, false)).toMatchObject({ result: 'as-before' });
  });

  test('gone while it is held', async () => {
    const { pool, hold } = await heldNode();
    const running = bench.run('hold', hold);
    await eventually('it waits', () => running.beats.length > 0);
    await bench.cluster.core.deleteNode({ name: pool.first });
    expect(await running.result).toMatchObject({ verdict: 'gone', why: 'there is no node of this name' });
  });

  test('cancelled: the waits end at once, and what they held stays cordoned for the undo', async () => {
    const all = await Promise.all([heldNode(), heldNode(), heldNode()]);
    const running = all.map(({ hold }) => bench.run('hold', hold));
    await eventually('all wait', () => running.every(({ beats }) => beats.length > 0));
    for (const one of running) one.cancel();
    for (const one of running) await expect(one.result).rejects.toBeInstanceOf(CancelledFailure);
    for (const { pool } of all) expect(await pool.isCordoned()).toBe(true);
  });
});

describe('restore', () => {
  test('uncordons its own cordon, once, and says so', async () => {
    const { pool, request } = await heldNode();
    expect(await bench.run('restore', { ...request, step: 'restore' }).result).toMatchObject([
      { step: 'restore', field: 'spec.unschedulable', before: true, after: null },
    ]);
    expect(await pool.isCordoned()).toBe(false);
    expect(await pool.held()).toEqual([]);
    expect(await bench.run('restore', { ...request, step: 'restore' }).result).toEqual([]);
    expect(await pool.isCordoned()).toBe(false);
  });

  test('a cordon without the note, which a person set, is not taken away', async () => {
    const { pool, request } = await heldNode();
    await bench.run('restore', { ...request, step: 'restore' }).result;
    await pool.patch({ spec: { unschedulable: true } });
    await expect(bench.run('restore', { ...request, step: 'restore' }).result).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringMatching(/last written by kubectl-cordon/),
    });
    expect(await pool.isCordoned()).toBe(true);
  });

  test('what is held is found on the node itself', async () => {
    const { pool, request } = await heldNode();
    const places = holding().places();
    const found = (await Promise.all(places.map((place) => place.find()))).flat();
    expect(found).toContainEqual({ object: request.instance, holds: request.held });
    expect(request.instance.key).toBe(pool.key());
  });
});

const holding = () => bench.registry as HoldingRegistry;
const release = (held: Held, dryRun: boolean) => holding().release(held, dryRun);
