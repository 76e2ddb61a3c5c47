import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import type { AuditRecord } from '../../audit/store.ts';
import type { AuditPage } from '../../model/audit.ts';
import type { Held } from '../../model/change.ts';
import { fieldManager, HELD_ANNOTATION, remediationId, TRAFFIC_LABEL, WORKFLOW } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from '../support/connection.ts';
import { deployment, nameOf, service, TestCluster, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { drained } from './records.ts';
import { type Ended, salvor as invoke } from './salvor.ts';

/** What remediations have altered in a real cluster, given back by hand; Temporal is gone but where it says otherwise. */
let sandbox: Sandbox<'kubernetes' | 'temporal'>;
let cluster: TestCluster;
let folder: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['kubernetes', 'temporal'], kubernetes: { users: [{ name: 'salvor' }] } });
  cluster = new TestCluster(sandbox.kubernetes);
  await cluster.allow('salvor');
});
afterAll(() => sandbox?.stop());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-held-'));
  configure();
});
afterEach(async () => {
  // What a test has left held, another one would find; a namespace takes its time to go.
  for (const { metadata } of (await cluster.core.listPodForAllNamespaces()).items)
    if (metadata?.annotations?.[HELD_ANNOTATION])
      await cluster.patchPod(metadata.namespace ?? '', metadata.name ?? '', {
        metadata: { annotations: { [HELD_ANNOTATION]: null } },
      });
  rmSync(folder, { recursive: true, force: true });
});

/** @param clusters more, by the server that each has */
function configure({ temporal = '127.0.0.1:9', clusters = {} as Record<string, string> } = {}): void {
  const kubeconfig = sandbox.kubernetes.users['salvor']?.kubeconfig;
  for (const [name, server] of Object.entries(clusters)) {
    const config = {
      clusters: [{ name, cluster: { server } }],
      users: [{ name: 'me', user: { token: 'none' } }],
      contexts: [{ name, context: { cluster: name, user: 'me' } }],
      'current-context': name,
    };
    writeFileSync(join(folder, name), JSON.stringify({ apiVersion: 'v1', kind: 'Config', ...config }));
  }
  const more = Object.keys(clusters).map((name) => ({ name, kubeconfig: `./${name}` }));
  const config = {
    temporal: { address: temporal },
    audit: { url: 'file:./audit.db' },
    clusters: [{ name: 'sandbox', kubeconfig }, ...more],
  };
  writeFileSync(join(folder, 'salvor.yaml'), JSON.stringify(config));
}

const salvor = (...args: string[]): Promise<Ended> => invoke(args, { cwd: folder });

async function inStore<T>(use: (store: Awaited<ReturnType<typeof openAuditStore>>) => Promise<T>): Promise<T> {
  const store = await openAuditStore({ url: `file:${join(folder, 'audit.db')}` });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

interface Cut {
  namespace: string;
  name: string;
  target: string;
  held: Held;
  page: AuditPage;
}

/** A pod whose traffic is cut as a remediation cuts it, and the record of that. */
async function cutPod(remediation: string = randomUUID(), until = Date.now() + 3_600_000): Promise<Cut> {
  const namespace = await cluster.namespace('held');
  await cluster.create(service(namespace, 'web', true), deployment({ namespace, name: 'web', trafficLabel: true }));
  const [pod] = await cluster.readyPods(namespace, 'web', 2);
  const name = nameOf(pod!);
  const target = cluster.target(namespace, name);
  const held: Held = {
    object: { key: target, uid: uidOf(pod!) },
    field: `metadata.labels[${TRAFFIC_LABEL}]`,
    before: 'on',
    set: 'off',
    remediation,
    runbook: 'drain-instance',
    until: new Date(until).toISOString(),
  };
  const labels = { [TRAFFIC_LABEL]: 'off' };
  const annotations = { [HELD_ANNOTATION]: JSON.stringify([held]) };
  await cluster.patchPod(namespace, name, { metadata: { labels, annotations } }, fieldManager('drain-instance'));
  const { stream, notes } = drained().remediation;
  const page: AuditPage = {
    stream: { ...stream, id: remediation, target, workflowId: remediationId(target) },
    notes: [notes[0]!, { key: '2', at: new Date().toISOString(), entry: { kind: 'held', held } }],
  };
  return { namespace, name, target, held, page };
}

async function recorded(...given: Parameters<typeof cutPod>): Promise<Cut> {
  const cut = await cutPod(...given);
  await inStore((store) => store.append(cut.page));
  return cut;
}

/** Deletes the pod, and waits until it is gone: on its node a pod ends some time after it was asked to. */
async function remove({ namespace, name }: Cut): Promise<void> {
  await cluster.core.deleteNamespacedPod({ namespace, name });
  await eventually(`${name} is gone`, async () => (await cluster.pod(namespace, name)) === undefined);
}

const traffic = ({ namespace, name }: Cut) => cluster.trafficLabel(namespace, name);
const noteOn = ({ namespace, name }: Cut) => cluster.held(namespace, name);
const recordsOf = ({ held }: Cut): Promise<AuditRecord[]> => inStore((store) => store.records(held.remediation));
/** What Salvor itself wrote, or tried to: the audit log of the API is the witness. */
const writes = ({ namespace }: Cut) => sandbox.kubernetes.readAudit({ user: 'salvor', namespace });

interface Line {
  held: Held;
  recorded: boolean;
  noted?: boolean;
  overdue: boolean;
}
const heldNow = async (): Promise<Line[]> => JSON.parse((await salvor('held', '--json')).stdout) as Line[];

describe('salvor held', () => {
  it('tells what is altered, from the store and the objects: what only one of them knows, too', async () => {
    const [both, overdue, alone] = [await recorded(), await recorded(randomUUID(), Date.now() - 1), await cutPod()];
    const gone = await recorded();
    await remove(gone);
    const lines = await heldNow();
    expect(lines.map(({ held }) => held.remediation)).toEqual(
      [both, overdue, gone, alone].map(({ held }) => held.remediation),
    );
    expect(lines).toMatchObject([
      { held: both.held, recorded: true, noted: true, overdue: false, rule: 'pod-unready', target: both.target },
      { held: overdue.held, recorded: true, noted: true, overdue: true },
      { held: gone.held, recorded: true, noted: false },
      { held: alone.held, recorded: false, noted: true },
    ]);
    const { stdout, status } = await salvor('held');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      new RegExp(`^${both.target} .* "on" → "off" .* pod-unready +${both.held.remediation.slice(0, 18)}$`, 'm'),
    );
    expect(stdout).toMatch(new RegExp(`^${overdue.target} .* overdue$`, 'm'));
    expect(stdout).toMatch(new RegExp(`^${alone.target} .* not in the audit store$`, 'm'));
  });

  it('says what could not be asked, and exits with 4 where nobody can tell', async () => {
    const only = await cutPod();
    const unasked = await salvor('held');
    expect(unasked).toMatchObject({ status: 0, stderr: expect.stringContaining('does not exist') });
    expect(unasked.stdout).toContain(only.target);

    configure({ clusters: { gone: 'https://127.0.0.1:9' } });
    const gaps = await salvor('held');
    expect(gaps).toMatchObject({ status: 4, stderr: expect.stringContaining('cluster gone did not say') });
    expect(gaps.stdout).toContain(only.target);
    writeFileSync(join(folder, 'salvor.yaml'), 'audit: { url: file:./audit.db }');
    expect(await salvor('held')).toMatchObject({ status: 4, stdout: '' });
  });
});

describe('salvor release', () => {
  it('gives one remediation back, exactly, and puts it on record with the person; the others stay', async () => {
    const [one, other] = [await recorded(), await recorded()];
    const { status, stdout } = await salvor('release', one.held.remediation.slice(0, 18));
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^given back +k8s.* label salvor.dev\/traffic: off → on\n$/),
    });
    expect(await traffic(one)).toBe('on');
    expect(await noteOn(one)).toEqual([]);
    expect(await traffic(other)).toBe('off');
    expect(await writes(other)).toEqual([]);
    const [write, ...more] = await writes(one);
    expect(more).toEqual([]);

    const { object, field } = one.held;
    const records = await recordsOf(one);
    expect(records.slice(2)).toMatchObject([
      { entry: { kind: 'change', change: { step: 'release', before: 'off', after: 'on', requestId: write?.auditID } } },
      { entry: { kind: 'released', object, field, by: expect.stringMatching(/^person:./) } },
    ]);
    expect((await heldNow()).map(({ held }) => held.remediation)).toEqual([other.held.remediation]);

    const again = await salvor('release', one.held.remediation);
    expect(again).toMatchObject({
      status: 0,
      stdout: '',
      stderr: expect.stringContaining('nothing is known to be held by'),
    });
    expect(await recordsOf(one)).toHaveLength(records.length);
    expect(await salvor('release', other.target)).toMatchObject({ status: 0 });
    expect(await traffic(other)).toBe('on');
  });

  it('gives all back, also what the store knows nothing of; a dry run only says so', async () => {
    const [both, alone] = [await recorded(), await cutPod()];
    const dry = await salvor('release', '--all', '--dry-run');
    expect(dry.status).toBe(0);
    expect(dry.stdout.match(/would be given back/g)).toHaveLength(2);
    expect([...(await writes(both)), ...(await writes(alone))]).toEqual([]);
    expect(await recordsOf(both)).toHaveLength(2);

    const { status, stderr } = await salvor('release', '--all', '--yes');
    expect(status).toBe(0);
    expect(stderr).toContain('Temporal at 127.0.0.1:9 cannot be reached');
    expect(stderr).toContain('One of these is missing from the audit');
    expect([await traffic(both), await traffic(alone)]).toEqual(['on', 'on']);
    expect([await noteOn(both), await noteOn(alone)]).toEqual([[], []]);
    expect(await heldNow()).toEqual([]);
  });

  it('gives all back where the store is lost, from the objects alone, and says that the record is missing', async () => {
    const cuts = [await cutPod(), await cutPod()];
    const { status, stderr, stdout } = await salvor('release', '--all');
    expect(status).toBe(0);
    expect(stderr).toMatch(/does not exist.*: going on with what the objects themselves say/);
    expect(stderr).toContain('2 of these are missing from the audit');
    expect(stdout.match(/^given back/gm)).toHaveLength(2);
    for (const cut of cuts) expect(await traffic(cut)).toBe('on');
    expect(existsSync(join(folder, 'audit.db'))).toBe(false);
  });

  it("respects another's change, and counts what is gone as given back", async () => {
    const [kept, gone] = [await recorded(), await recorded()];
    await cluster.patchPod(kept.namespace, kept.name, { metadata: { labels: { [TRAFFIC_LABEL]: 'canary' } } });
    await remove(gone);
    const { status, stdout } = await salvor('release', '--all');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^kept .* changed to canary by kubectl-edit meanwhile, and stays so$/m);
    expect(stdout).toMatch(/^gone .* there is no pod of this name$/m);
    expect(await traffic(kept)).toBe('canary');
    expect(await noteOn(kept)).toEqual([]);
    expect(await heldNow()).toEqual([]);
    for (const cut of [kept, gone])
      expect((await recordsOf(cut)).at(-1)).toMatchObject({ entry: { kind: 'released' } });
  });

  it('goes on where one cannot be given back, and says by its exit status why not', async () => {
    const [unclear, fine] = [await recorded(), await recorded()];
    const metadata = { labels: { [TRAFFIC_LABEL]: 'x' } };
    await cluster.patchPod(unclear.namespace, unclear.name, { metadata });
    await cluster.patchPod(unclear.namespace, unclear.name, {
      metadata: { labels: { [TRAFFIC_LABEL]: 'off' }, annotations: { [HELD_ANNOTATION]: null } },
    });
    const first = await salvor('release', '--all');
    expect(first.status).toBe(1);
    expect(first.stdout).toMatch(/^unclear .*A person must decide/m);
    expect([await traffic(unclear), await traffic(fine)]).toEqual(['off', 'on']);
    expect((await recordsOf(unclear)).at(-1)).toMatchObject({ entry: { kind: 'held' } });
    expect(await heldNow()).toMatchObject([{ held: unclear.held, noted: false }]);
  });

  it('exits with 4 where a cluster does not answer, after it gave back what it could', async () => {
    const fine = await recorded();
    const elsewhere = structuredClone(fine.page);
    const entry = elsewhere.notes[1]!.entry as { held: Held };
    Object.assign(entry.held, { object: { key: 'k8s/gone/shop/pod/web-0', uid: 'u' }, remediation: randomUUID() });
    elsewhere.stream.id = entry.held.remediation;
    await inStore((store) => store.append(elsewhere));
    configure({ clusters: { gone: 'https://127.0.0.1:9' } });
    const { status, stdout } = await salvor('release', '--all');
    expect(status).toBe(4);
    expect(stdout).toMatch(/^unreached +k8s\/gone\/shop\/pod\/web-0 .*127\.0\.0\.1:9/m);
    expect(await traffic(fine)).toBe('on');
  });

  it('leaves a remediation that still runs to `salvor cancel`, unless it is forced', async () => {
    const client = new Client({ connection: await connectTo(sandbox.temporal.address) });
    const cut = await cutPod();
    const handle = await client.workflow.start(WORKFLOW.remediation, {
      workflowId: remediationId(cut.target),
      taskQueue: `nobody-${randomUUID()}`,
    });
    const id = handle.firstExecutionRunId;
    const held = { ...cut.held, remediation: id };
    const annotations = { [HELD_ANNOTATION]: JSON.stringify([held]) };
    await cluster.patchPod(cut.namespace, cut.name, { metadata: { annotations } }, fieldManager('drain-instance'));
    await inStore((store) =>
      store.append({
        stream: { ...cut.page.stream, id },
        notes: [cut.page.notes[0]!, { ...cut.page.notes[1]!, entry: { kind: 'held', held } }],
      }),
    );
    configure({ temporal: sandbox.temporal.address });

    const refused = await salvor('release', id);
    expect(refused).toMatchObject({ status: 3, stdout: expect.stringMatching(/^running .*`salvor cancel` stops it/) });
    expect(await traffic(cut)).toBe('off');
    expect(await writes(cut)).toEqual([]);
    expect(await salvor('release', '--all', '--force')).toMatchObject({ status: 0 });
    expect(await traffic(cut)).toBe('on');
    await handle.terminate('a test');
    await client.connection.close();
  });

  it('says how it is used', async () => {
    for (const args of [[], ['--all', 'abcdef01'], ['abc']]) {
      const { status, stderr } = await salvor('release', ...args);
      expect(status).toBe(2);
      expect(stderr).toContain('salvor held');
    }
  });
});
