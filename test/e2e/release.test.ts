import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import type { AuditStore } from '../../audit/store.ts';
import type { Held } from '../../model/change.ts';
import { type Ended, salvor as invoke } from '../cli/salvor.ts';
import { deployment, nameOf, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import type { Complaint } from './exporter.ts';
import { PATIENCE, useStack } from './support.ts';

/** The whole way, up to the middle of a drain; then Temporal is gone, and a person gives back what is held. */
const stack = useStack({
  replaces: { with: { recoverWithin: '10m', stableFor: '1s', replace: true, quietFor: '0s' } },
  recovers: { with: { recoverWithin: '10m', stableFor: '1s' } },
});
beforeEach(async () => {
  if (stack.sandbox.temporal.pid === undefined) await stack.sandbox.temporal.start();
  if (!stack.worker) await stack.startWorker();
});

const salvor = (...args: string[]): Promise<Ended> => invoke(['--config', stack.configFile, ...args]);

async function inStore<T>(use: (store: AuditStore) => Promise<T>): Promise<T> {
  const store = await openAuditStore({ url: `file:${join(stack.sandbox.folder, 'audit.db')}`, mustExist: true });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** A pod whose traffic is cut and held, and what was to be seen of it before. */
async function inMidDrain(rule: string) {
  const namespace = await stack.cluster.namespace('release');
  const web = deployment({ namespace, name: 'web', trafficLabel: true });
  await stack.cluster.create(stack.exposed(namespace, 'web'), web);
  const [pod] = await stack.cluster.readyPods(namespace, 'web', 2);
  const it: Complaint = { namespace, pod: nameOf(pod!), rule };
  await stack.breakPod(it);
  await stack.untilTraffic(it, 'off');
  await stack.untilAt(it, 'hold');
  const uid = uidOf(pod!);
  // The record is written beside the drain: it may still be on its way.
  const isRecorded = () => inStore(async (store) => (await store.held()).some(({ held }) => held.object.uid === uid));
  await eventually('what is held is on record', isRecorded, PATIENCE);
  return { it, namespace, uid, labels: pod!.metadata?.labels };
}

const trafficChanges = async (namespace: string): Promise<string[]> =>
  (await stack.changes(namespace)).filter((change) => change.startsWith('traffic '));

/** Gives all back while Temporal is gone, and looks that all is exactly as it was. */
async function releaseAll({ it, namespace, uid, labels }: Awaited<ReturnType<typeof inMidDrain>>): Promise<Held> {
  const shown = await salvor('held', '--json');
  expect(shown.status).toBe(0);
  const [line, ...others] = JSON.parse(shown.stdout) as { held: Held; recorded: boolean; noted: boolean }[];
  expect(others).toEqual([]);
  expect(line).toMatchObject({ held: { object: { uid }, before: 'on', set: 'off' }, recorded: true, noted: true });

  const released = await salvor('release', '--all', '--yes');
  expect(released).toMatchObject({ status: 0, stdout: expect.stringMatching(/^given back .* off → on\n$/) });
  expect(released.stderr).toContain('cannot be reached');
  expect(released.stderr).not.toContain('missing from the audit');
  const pod = await stack.cluster.pod(namespace, it.pod);
  expect(pod?.metadata?.labels).toEqual(labels);
  expect(await stack.cluster.held(namespace, it.pod)).toEqual([]);
  await eventually('in traffic', () => stack.cluster.isInTraffic(namespace, uid), PATIENCE);
  expect(JSON.parse((await salvor('held', '--json')).stdout)).toEqual([]);
  return line!.held;
}

/** What the record has of it in the end: who gave it back, and how it ended. */
async function recordOf({ remediation, object, field }: Held) {
  const records = await inStore((store) => store.records(remediation));
  const releases = records.flatMap(({ entry }) => (entry.kind === 'released' ? [entry] : []));
  expect(releases[0]).toMatchObject({ object, field, by: expect.stringMatching(/^person:./) });
  expect(await inStore((store) => store.held())).toEqual([]);
  return records.flatMap(({ entry }) => (entry.kind === 'ended' ? [entry] : []));
}

test('what a person gave back while Temporal was gone is neither cut again nor replaced when it is back, sick as it is', async () => {
  const drain = await inMidDrain('replaces');
  await stack.sandbox.temporal.kill();
  const held = await releaseAll(drain);

  await stack.sandbox.temporal.start();
  const why = expect.stringContaining('Salvor itself gave its traffic back at');
  const result = stack.remediation(drain.it).result();
  await expect(result).rejects.toMatchObject({ cause: { type: 'RemediationFailed', message: why } });
  expect(await trafficChanges(drain.namespace)).toEqual([`traffic off ${drain.uid}`, `traffic on ${drain.uid}`]);
  const pod = await stack.cluster.pod(drain.namespace, drain.it.pod);
  expect(pod?.metadata).toMatchObject({ uid: drain.uid, labels: { 'salvor.dev/traffic': 'on' } });
  expect(pod?.metadata?.deletionTimestamp).toBeUndefined();
  expect(await stack.cluster.held(drain.namespace, drain.it.pod)).toEqual([]);
  expect(await recordOf(held)).toMatchObject([{ outcome: 'failed', reason: why }]);
});

test('the worker is gone too, and the pod recovers meanwhile: the next worker leaves it as it is', async () => {
  const drain = await inMidDrain('recovers');
  await stack.killWorker();
  await stack.sandbox.temporal.kill();
  const held = await releaseAll(drain);
  await stack.mendPod(drain.it);

  await stack.sandbox.temporal.start();
  await stack.startWorker();
  expect(await stack.ending(drain.it)).toMatchObject({
    outcome: 'recovered',
    changes: [{ after: 'off' }, { after: 'on' }],
  });
  expect(await trafficChanges(drain.namespace)).toEqual([`traffic off ${drain.uid}`, `traffic on ${drain.uid}`]);
  expect(await stack.cluster.held(drain.namespace, drain.it.pod)).toEqual([]);
  expect(await recordOf(held)).toMatchObject([{ outcome: 'recovered' }]);
});
