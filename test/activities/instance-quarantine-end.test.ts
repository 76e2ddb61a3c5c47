import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { CancelledFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { HELD_ANNOTATION } from '../../model/names.ts';
import { deployment, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { inMs } from './instance-support.ts';
import { labelField, useQuarantine } from './quarantine-support.ts';

/** How a quarantine ends: deleted, or given back. */
const { bench, pods } = useQuarantine();

describe('replace', () => {
  test('deletes it once it is time, with identity and version as preconditions and its own grace period', async () => {
    const { namespace, name, uid, request, replace, verify } = await pods.sick();
    await bench.run('cut', request).result;
    await bench.run('verify', verify).result;
    const serving = await bench.cluster.readyPods(namespace, 'web', 2);
    const notBefore = inMs(1_000);
    const result = await bench.run('replace', { ...replace, notBefore }).result;
    const [, event, ...more] = await bench.mutations(namespace);
    expect(more).toEqual([]);
    expect(result).toMatchObject({
      verdict: 'replaced',
      changes: [{ step: 'replace', what: 'deleted the pod', field: 'deletion', requestId: event!.auditID }],
    });
    expect(event).toMatchObject({ verb: 'delete', objectRef: { name } });
    expect(Date.parse(event!.requestReceivedTimestamp)).toBeGreaterThanOrEqual(Date.parse(notBefore));
    expect(event!.requestObject).toMatchObject({ preconditions: { uid, resourceVersion: expect.any(String) } });
    expect(event!.requestObject).not.toHaveProperty('gracePeriodSeconds');
    await eventually('it is gone', async () => (await bench.cluster.pod(namespace, name)) === undefined);
    expect((await bench.cluster.readyPods(namespace, 'web', 2)).map(uidOf)).toEqual(serving.map(uidOf));
  });

  test('killed after the request: the next attempt counts it as done; gone before it was asked: it was not Salvor', async () => {
    const { namespace, name, request, replace } = await pods.sick();
    await bench.run('cut', request).result;
    await pods.released(namespace, name);
    const first = bench.run('replace', replace);
    await first.result;
    await eventually('it is gone', async () => (await bench.cluster.pod(namespace, name)) === undefined);
    const lost = await bench.run('replace', replace, first.beats[0]).result;
    expect(lost).toMatchObject({
      verdict: 'replaced',
      changes: [{ field: 'deletion', what: expect.stringMatching(/deleted .*answer was lost/) }],
    });
    expect(await bench.run('replace', replace).result).toMatchObject({ verdict: 'gone', changes: [] });
    expect((await bench.mutations(namespace)).filter(({ verb }) => verb === 'delete')).toHaveLength(1);
  });

  test('what a person has taken out of quarantine, or protected, is not deleted', async () => {
    for (const [metadata, words] of [
      [{ labels: { tier: 'front' } }, /label tier is front now, set by kubectl-edit/],
      [{ annotations: { [HELD_ANNOTATION]: null } }, /note of its quarantine .* is gone/],
      [{ labels: { 'salvor.dev/protect': '' } }, /carries the protected label salvor.dev.protect/],
    ] as const) {
      const { namespace, name, uid, request, replace } = await pods.sick({ tier: true });
      await bench.run('cut', request).result;
      await pods.released(namespace, name);
      await bench.cluster.patchPod(namespace, name, { metadata });
      const result = await bench.run('replace', replace).result;
      expect(result).toMatchObject({ verdict: 'failed', why: expect.stringMatching(words), changes: [] });
      expect((await pods.get(namespace, name)).metadata).toMatchObject({ uid });
      expect(await bench.mutations(namespace)).toHaveLength(1);
    }
  });

  test('one that has ended meanwhile is cleared away too, for nobody else would', async () => {
    const { namespace, name, request, replace } = await pods.sick();
    await bench.run('cut', request).result;
    await pods.released(namespace, name);
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await bench.cluster.core.patchNamespacedPodStatus(
      { namespace, name, body: { status: { phase: 'Failed', reason: 'Evicted' } } },
      merge,
    );
    expect(await bench.run('replace', replace).result).toMatchObject({ verdict: 'replaced' });
    await eventually('it is gone', async () => (await bench.cluster.pod(namespace, name)) === undefined);
  });

  test('cancelled before its time: it stays', async () => {
    const { namespace, name, uid, request, replace } = await pods.sick();
    await bench.run('cut', request).result;
    const running = bench.run('replace', { ...replace, notBefore: inMs(60_000), deadline: inMs(120_000) });
    await eventually('a heartbeat', () => running.beats.length > 0);
    running.cancel();
    await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
    expect(uidOf(await pods.get(namespace, name))).toBe(uid);
  });
});

describe('restore', () => {
  /** In quarantine, replaced, healthy again, and dearer to its owner than the others, so that it stays when one must go. */
  async function quarantined() {
    const made = await pods.sick({ tier: true });
    const { namespace, name, request, verify } = made;
    const annotations = { 'controller.kubernetes.io/pod-deletion-cost': '100' };
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations } });
    await bench.cluster.setUnready(namespace, name, false);
    const before = await pods.state(namespace, name);
    await bench.run('cut', request).result;
    expect(await bench.run('verify', verify).result).toMatchObject({ verified: true });
    return { ...made, before };
  }

  test('its exact prior state: its labels, back in its owner’s hands and in all its Services; again it changes nothing', async () => {
    const { namespace, name, uid, restore, before } = await quarantined();
    const changes = await bench.run('restore', restore).result;
    expect(changes).toMatchObject(
      restore.held.map(({ field, before: was, set }) => ({ field, before: set, after: was })),
    );
    expect(new Set(changes.map(({ requestId }) => requestId)).size).toBe(1);
    expect(changes.map(({ what }) => what).join()).not.toMatch(/owner/);
    await pods.adopted(namespace, name);
    expect(await pods.state(namespace, name)).toEqual(before);
    await eventually('in traffic', () => bench.cluster.isInTraffic(namespace, uid));
    await eventually('two pods, as before', async () => (await pods.all(namespace)).length === 2);
    expect((await bench.cluster.readyPods(namespace, 'web', 2)).map(uidOf)).toContain(uid);
    const later = { since: Date.now() + 1_000 };
    expect(await bench.run('restore', restore, undefined, later).result).toEqual([]);
    expect(await pods.state(namespace, name)).toEqual(before);
  });

  test('its owner is gone: its labels are given back all the same, and it says so', async () => {
    const { namespace, name, found, restore, before } = await quarantined();
    await bench.cluster.delete(deployment({ namespace, name: 'web' }));
    await eventually('only the pod in quarantine is left', async () => (await pods.all(namespace)).length === 1);
    const changes = await bench.run('restore', restore).result;
    const set = found.owner.key.split('/').at(-1);
    expect(changes[0]!.what).toMatch(
      new RegExp(
        `^label app: .* → web; its owner ReplicaSet ${set} does not exist any more.* a person should delete it`,
      ),
    );
    expect(changes).toHaveLength(2);
    const { labels, annotations } = await pods.state(namespace, name);
    expect({ labels, annotations }).toEqual({ labels: before.labels, annotations: before.annotations });
  });

  test('a label that a person has changed meanwhile stays so, and it says so; the other is given back', async () => {
    const { namespace, name, restore, before } = await quarantined();
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { tier: 'spare' } } });
    const changes = await bench.run('restore', restore).result;
    expect(changes).toMatchObject([
      { field: labelField('app'), after: 'web' },
      {
        field: `metadata.annotations[${HELD_ANNOTATION}]`,
        what: expect.stringMatching(/tier, which stays spare, set by kubectl-edit/),
      },
    ]);
    const { labels, annotations } = await pods.state(namespace, name);
    expect(labels).toEqual({ ...before.labels, tier: 'spare' });
    expect(annotations).toEqual(before.annotations);
  });

  test('a person has put all of it back: nothing is overwritten, the note goes', async () => {
    const { namespace, name, restore, before } = await quarantined();
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { app: 'web', tier: 'front' } } });
    const changes = await bench.run('restore', restore).result;
    expect(changes).toHaveLength(2);
    for (const { what } of changes) expect(what).toMatch(/is (web|front) again already/);
    expect(await pods.state(namespace, name)).toMatchObject({ labels: before.labels, annotations: before.annotations });
  });

  test('the note is gone: what Salvor wrote last is given back all the same', async () => {
    const { namespace, name, restore, before } = await quarantined();
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { [HELD_ANNOTATION]: null } } });
    const changes = await bench.run('restore', restore).result;
    for (const { what } of changes) expect(what).toMatch(/although its note is not there/);
    expect((await pods.state(namespace, name)).labels).toEqual(before.labels);
  });

  test('by hand, one field after the other, as `salvor release` does', async () => {
    const { namespace, name, request, before } = await quarantined();
    for (const held of request.held) {
      expect(await bench.registry.release(held, true)).toMatchObject({ result: 'given-back' });
      expect(await bench.registry.release(held, false)).toMatchObject({ result: 'given-back' });
    }
    expect((await pods.state(namespace, name)).labels).toEqual(before.labels);
    expect(await bench.cluster.held(namespace, name)).toEqual([]);
  });

  test('gone meanwhile: nothing to give back', async () => {
    const { namespace, name, request, restore } = await pods.sick();
    await bench.run('cut', request).result;
    await bench.cluster.core.deleteNamespacedPod({ namespace, name });
    await eventually('it is gone', async () => (await bench.cluster.pod(namespace, name)) === undefined);
    expect(await bench.run('restore', restore).result).toEqual([]);
  });
});
