import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type EvidenceOptions, evidenceActivities } from '../../activities/evidence.ts';
import type { Evidence, LookRequest } from '../../model/evidence.ts';
import { HELD_ANNOTATION, IN_SERVICE_GATE } from '../../model/names.ts';
import type { Pause } from '../../model/pause.ts';
import { Cluster } from '../../providers/kubernetes/cluster.ts';
import { PodEvidence } from '../../providers/kubernetes/evidence.ts';
import type { KubeObject, Ref } from '../../providers/kubernetes/objects.ts';
import { createRegistry, type Registry } from '../../providers/registry.ts';
import { deployment, nameOf, statefulSet, type WorkloadOptions } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { rule } from '../support/workflows.ts';
import { inMs, useBench } from './instance-support.ts';

const bench = useBench();

const registries: Registry[] = [];
afterEach(async () => {
  await Promise.all(registries.splice(0).map((registry) => registry.close()));
});

/** Nothing of what others have read: what was changed a moment ago is seen. */
function fresh(kubeconfig = bench.sandbox.kubernetes.users['salvor']?.kubeconfig ?? ''): Registry {
  const registry = createRegistry({ clusters: [{ name: 'sandbox', kubeconfig }] });
  registries.push(registry);
  return registry;
}

/** The way to the API server, which can be shut. */
class Gate {
  /** Connections that found it shut. */
  turnedAway = 0;
  #shut = false;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => {
    if (this.#shut) {
      this.turnedAway += 1;
      client.destroy();
      return;
    }
    const upstream = connect(Number(new URL(bench.sandbox.kubernetes.server).port), '127.0.0.1');
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });

  /** A kubeconfig of Salvor's that leads through it. */
  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const { kubernetes, folder } = bench.sandbox;
    const { port } = this.#server.address() as AddressInfo;
    const text = await readFile(kubernetes.users['salvor']?.kubeconfig ?? '', 'utf8');
    const file = join(folder, `gate-${port}.yaml`);
    await writeFile(file, text.replaceAll(kubernetes.server, `https://127.0.0.1:${port}`));
    return file;
  }

  shut(): void {
    this.#shut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  open(): void {
    this.#shut = false;
  }

  async stop(): Promise<void> {
    this.shut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const asking = (targets: string[], change: Partial<LookRequest> = {}): LookRequest => ({
  ...{ responder: 'responder/r/s', scope: 's', rule: rule('r'), targets, suspects: targets, leases: {} },
  ...{ question: randomUUID(), ...change },
});

const look = (
  targets: string[],
  change: Partial<LookRequest> = {},
  options: Partial<EvidenceOptions> = {},
): Promise<Evidence> => {
  const nobody = async () => ({ granted: 0 });
  const free = async () => undefined;
  const { look: ask } = evidenceActivities({
    registry: fresh(),
    pauses: async () => [],
    lease: nobody,
    busy: free,
    ...options,
  });
  return ask(asking(targets, change));
};

/** A workload `web` whose pods are Ready, and their target keys. */
async function ready(options: Partial<WorkloadOptions> = {}) {
  const namespace = await bench.cluster.namespace();
  await bench.cluster.create(deployment({ namespace, name: 'web', ...options }));
  const pods = await bench.cluster.readyPods(namespace, 'web', options.replicas ?? 2);
  const names = pods.map(nameOf);
  const keys = names.map((name) => bench.cluster.target(namespace, name));
  return { namespace, pods, names, keys, workload: `k8s/sandbox/${namespace}/deployment.apps/web` };
}

describe('the population of a namespace', () => {
  test('is what lives there: unhealthy is what is not Ready, or suspect, each once, and only if it exists', async () => {
    const { namespace, names, keys, workload } = await ready({ replicas: 5 });
    await bench.cluster.setUnready(namespace, names[0]!, true);
    const gone = bench.cluster.target(namespace, 'gone');
    const found = await look([keys[0]!, gone], { suspects: [keys[0]!, keys[1]!, gone] });
    expect(found).toMatchObject({
      targets: { [keys[0]!]: { workload } },
      workloads: { [workload]: { desired: 5, unready: [keys[0]] } },
      population: { live: 5, unhealthy: 2 },
    });
    expect(found.targets[gone]).toEqual({});
    expect(found).not.toHaveProperty('error');
    expect(Math.abs(Date.now() - found.at)).toBeLessThan(60_000);
  });

  test('has no pods that have ended, that are on their way out, of Jobs, of DaemonSets or static', async () => {
    const { namespace, names, keys } = await ready({ replicas: 3, finalizer: 'example.com/wait' });
    const { metadata, spec } = deployment({ namespace, name: 'x' }).spec!.template;
    const bare = (name: string, annotations?: Record<string, string>) =>
      ({ apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name, namespace, annotations }, spec }) as object;
    const restarts = { ...spec, restartPolicy: 'Never' };
    await bench.cluster.create(
      bare('alone'),
      bare('ended'),
      bare('static', { 'kubernetes.io/config.mirror': 'x' }),
      {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name: 'job', namespace },
        spec: { template: { spec: restarts } },
      } as object,
      {
        apiVersion: 'apps/v1',
        kind: 'DaemonSet',
        metadata: { name: 'agent', namespace },
        spec: {
          selector: { matchLabels: { app: 'agent' } },
          template: { metadata: { labels: { app: 'agent' } }, spec: { containers: spec!.containers } },
        },
      } as object,
    );
    const all = await eventually('the pods', async () => {
      const { items } = await bench.cluster.core.listNamespacedPod({ namespace });
      const kinds = items.map((pod) => pod.metadata?.ownerReferences?.[0]?.kind);
      return kinds.includes('Job') && kinds.includes('DaemonSet') && items;
    });
    await bench.cluster.readyPods(namespace, 'x', 3);
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    const failed = { status: { phase: 'Failed' } };
    await bench.cluster.core.patchNamespacedPodStatus({ namespace, name: 'ended', body: failed }, merge);
    const job = all.find((pod) => pod.metadata?.ownerReferences?.[0]?.kind === 'Job');
    await bench.cluster.core.deleteNamespacedPod({ namespace, name: names[0]! });
    const scaled = await eventually('the replacement is Ready', async () => {
      const pods = await bench.cluster.pods(namespace, 'web');
      const serving = pods.filter((pod) => !pod.metadata?.deletionTimestamp);
      const conditions = serving.map((pod) => pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status);
      return pods.length === 4 && conditions.length === 3 && conditions.every((one) => one === 'True');
    });
    expect(scaled).toBe(true);
    const none = [nameOf(job!), 'static', 'ended'].map((name) => bench.cluster.target(namespace, name));
    const suspects = [keys[0]!, ...none];
    const found = await look([keys[0]!], { suspects });
    expect(found.population).toEqual({ live: 4, unhealthy: 0 });
    expect(found.targets[keys[0]!]).toEqual({});
    // The one that is being deleted is still there minutes later: it is stuck, and counts.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 300_000 });
    const later = await look([keys[0]!], { suspects }).finally(() => vi.useRealTimers());
    expect(later.population).toEqual({ live: 5, unhealthy: 1 });
    await bench.cluster.patchPod(namespace, names[0]!, { metadata: { finalizers: null } });
  });

  test('has no pod that is kept in quarantine, whose place is taken; one that was taken out by hand is back', async () => {
    const { namespace, names, keys } = await ready({ replicas: 2 });
    const [name, key] = [names[0]!, keys[0]!];
    const uid = (await bench.cluster.pod(namespace, name))?.metadata?.uid;
    const note = {
      ...{ field: 'metadata.labels[app]', before: 'web', set: `quarantined-${uid}` },
      remediation: 'other',
    };
    const annotations = { [HELD_ANNOTATION]: JSON.stringify([{ ...note, until: inMs(60_000) }]) };
    await bench.cluster.setUnready(namespace, name, true);
    await bench.cluster.patchPod(namespace, name, { metadata: { annotations, labels: { app: note.set } } });
    await bench.cluster.readyPods(namespace, 'web', 2);
    expect((await look([key])).population).toEqual({ live: 2, unhealthy: 0 });
    await bench.cluster.patchPod(namespace, name, { metadata: { labels: { app: 'by-hand' } } });
    expect((await look([key])).population).toEqual({ live: 3, unhealthy: 1 });
  });

  test('is that of all namespaces of the targets and the suspects together', async () => {
    const [one, two] = [await ready(), await ready({ replicas: 3 })];
    const found = await look([one.keys[0]!], { suspects: [one.keys[0]!, two.keys[0]!] });
    expect(found.population).toEqual({ live: 5, unhealthy: 2 });
    expect(Object.keys(found.targets)).toEqual([one.keys[0]]);
    expect(Object.keys(found.workloads)).toEqual([one.workload]);
  });

  test('has pods that still start, and they are not Ready', async () => {
    const { namespace, keys } = await ready();
    const starting = deployment({ namespace, name: 'slow', replicas: 3, gates: ['example.com/warm'] });
    await bench.cluster.create(starting);
    await eventually('three more pods', async () => (await bench.cluster.pods(namespace, 'slow')).length === 3);
    expect((await look([keys[0]!], { suspects: [] })).population).toEqual({ live: 5, unhealthy: 3 });
  });
});

describe('a workload', () => {
  test('in a rollout is the Deployment above both of its ReplicaSets', async () => {
    const { namespace, keys, workload } = await ready({ replicas: 4 });
    // The new pods never become Ready: nobody sets their gate.
    const next = deployment({ namespace, name: 'web', replicas: 4, gates: ['example.com/warm'] });
    await bench.cluster.patchDeployment(namespace, 'web', { spec: { template: next.spec!.template } });
    const fresher = await eventually('pods of the new ReplicaSet', async () => {
      const pods = await bench.cluster.pods(namespace, 'web');
      const keysNow = pods.map((pod) => bench.cluster.target(namespace, nameOf(pod)));
      const added = keysNow.filter((key) => !keys.includes(key));
      return pods.length === 5 && added.length === 2 && added;
    });
    const old = (await bench.cluster.pods(namespace, 'web'))
      .map((pod) => bench.cluster.target(namespace, nameOf(pod)))
      .filter((key) => keys.includes(key));
    const found = await look([old[0]!, fresher[0]!]);
    expect(found.targets).toEqual({ [old[0]!]: { workload }, [fresher[0]!]: { workload } });
    expect(Object.keys(found.workloads)).toEqual([workload]);
    expect(found.workloads[workload]?.desired).toBe(4);
    expect(new Set(found.workloads[workload]?.unready)).toEqual(new Set(fresher));
  });

  test('counts what it should have and has not', async () => {
    const { namespace, keys, workload } = await ready({ replicas: 2 });
    // Nobody may make more pods here.
    await bench.cluster.core.createNamespacedResourceQuota({
      namespace,
      body: { metadata: { name: 'full' }, spec: { hard: { pods: '2' } } },
    });
    await eventually('the quota holds', async () => {
      const quota = await bench.cluster.core.readNamespacedResourceQuota({ namespace, name: 'full' });
      return quota.status?.used?.['pods'] === '2';
    });
    await bench.cluster.patchDeployment(namespace, 'web', { spec: { replicas: 4 } });
    const missing = [`${workload}#missing-1`, `${workload}#missing-2`];
    expect((await look([keys[0]!])).workloads).toEqual({ [workload]: { desired: 4, unready: missing } });
    expect(await fresh().evidence(keys[0]!).workload(keys[0]!, workload)).toEqual({ desired: 4, unready: missing });
  });

  test('of a StatefulSet is itself; a pod without a controller has none', async () => {
    const namespace = await bench.cluster.namespace();
    const { metadata, spec } = deployment({ namespace, name: 'x' }).spec!.template;
    await bench.cluster.create(statefulSet({ namespace, name: 'db', replicas: 3 }), {
      ...{ apiVersion: 'v1', kind: 'Pod', spec },
      metadata: { ...metadata, name: 'alone', namespace },
    } as object);
    await bench.cluster.readyPods(namespace, 'db', 3);
    await bench.cluster.readyPods(namespace, 'x', 1);
    await bench.cluster.setUnready(namespace, 'db-1', true);
    const [db, alone] = ['db-0', 'alone'].map((name) => bench.cluster.target(namespace, name));
    const workload = `k8s/sandbox/${namespace}/statefulset.apps/db`;
    const unready = [bench.cluster.target(namespace, 'db-1')];
    const found = await look([db!, alone!]);
    expect(found.targets).toEqual({ [db!]: { workload }, [alone!]: {} });
    expect(found.workloads).toEqual({ [workload]: { desired: 3, unready } });
    expect(await fresh().evidence(db!).workload(db!, workload)).toEqual({ desired: 3, unready });
  });

  test('misses what Salvor keeps out of traffic, however healthy it is', async () => {
    const { namespace, names, keys, workload } = await ready({ replicas: 3, gates: [IN_SERVICE_GATE] });
    const held = { field: 'x', before: 1, set: 2, remediation: 'another', runbook: 'drain-node', until: inMs(-1) };
    await bench.cluster.patchPod(namespace, names[0]!, {
      metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify([held]) } },
    });
    await bench.cluster.setCondition(namespace, names[1]!, IN_SERVICE_GATE, 'False');
    await eventually('it is out of service', async () => {
      const pod = await bench.cluster.pod(namespace, names[1]!);
      return pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'False');
    });
    const found = await look([keys[2]!], { suspects: [] });
    expect(found.workloads[workload]).toEqual({ desired: 3, unready: [keys[0], keys[1]] });
    expect(found.population, 'the pods themselves are able to work').toEqual({ live: 3, unhealthy: 0 });
  });

  test('is found by its own selector, however that is written, and has no pods of others', async () => {
    const namespace = await bench.cluster.namespace();
    const picky = deployment({ namespace, name: 'web', replicas: 2, labels: { tier: 'front' } });
    picky.spec!.selector = {
      matchLabels: { app: 'web' },
      matchExpressions: [
        { key: 'tier', operator: 'In', values: ['front', 'edge'] },
        { key: 'app', operator: 'Exists' },
        { key: 'track', operator: 'NotIn', values: ['canary'] },
        { key: 'legacy', operator: 'DoesNotExist' },
      ],
    };
    const other = deployment({ namespace, name: 'web', replicas: 1, labels: { tier: 'front', legacy: 'yes' } });
    other.metadata!.name = 'other';
    other.spec!.selector = { matchLabels: { app: 'web', legacy: 'yes' } };
    await bench.cluster.create(picky, other);
    const pods = await bench.cluster.readyPods(namespace, 'web', 3);
    const own = pods.map(nameOf).filter((name) => name.startsWith('web-'));
    await bench.cluster.setUnready(namespace, own[0]!, true);
    const target = bench.cluster.target(namespace, own[1]!);
    const workload = `k8s/sandbox/${namespace}/deployment.apps/web`;
    const expected = { desired: 2, unready: [bench.cluster.target(namespace, own[0]!)] };
    expect(await fresh().evidence(target).workload(target, workload)).toEqual(expected);
    expect((await look([target])).workloads).toEqual({ [workload]: expected });
  });

  test('is read afresh where it is asked for by name, and it is an error where it is gone', async () => {
    const { namespace, names, keys, workload } = await ready({ replicas: 3 });
    const registry = fresh();
    const [target] = keys;
    const { look: ask } = evidenceActivities({
      registry,
      pauses: async () => [],
      lease: async () => ({ granted: 0 }),
      busy: async () => undefined,
    });
    await ask(asking([target!]));
    await bench.cluster.setUnready(namespace, names[1]!, true);
    const now = await registry.evidence(target!).workload(target!, workload);
    expect(now).toEqual({ desired: 3, unready: [keys[1]] });
    const gone = registry.evidence(target!).workload(target!, workload.replace(/web$/, 'gone'));
    await expect(gone).rejects.toMatchObject({ type: 'Replaced', message: expect.stringMatching(/does not exist/) });
  });
});

describe('leave alone', () => {
  test('what carries the annotation itself, or is in a namespace that does', async () => {
    const { namespace, names, keys } = await ready();
    const skip = { metadata: { annotations: { 'salvor.dev/skip': 'true' } } };
    expect(await fresh().evidence(keys[0]!).excluded(keys[0]!)).toBeUndefined();
    await bench.cluster.patchPod(namespace, names[0]!, skip);
    const itself = 'it carries the annotation salvor.dev/skip';
    expect((await look(keys)).targets).toMatchObject({ [keys[0]!]: { excluded: itself }, [keys[1]!]: {} });
    expect((await look(keys)).targets[keys[1]!]).not.toHaveProperty('excluded', itself);
    expect(await fresh().evidence(keys[0]!).excluded(keys[0]!)).toBe(itself);
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await bench.cluster.core.patchNamespace({ name: namespace, body: skip }, merge);
    const around = `its namespace ${namespace} carries the annotation salvor.dev/skip`;
    const gone = bench.cluster.target(namespace, 'gone');
    expect((await look([...keys, gone])).targets).toMatchObject({
      [keys[0]!]: { excluded: itself },
      [keys[1]!]: { excluded: around },
      [gone]: { excluded: around },
    });
    expect(await fresh().evidence(keys[1]!).excluded(keys[1]!)).toBe(around);
    expect(await fresh().evidence(gone).excluded(gone)).toBe(around);
  });

  test('what another remediation holds, by whom and until when', async () => {
    const { namespace, names, keys } = await ready();
    const until = inMs(60_000);
    const held = { field: 'spec.x', before: 1, set: 2, remediation: 'another', runbook: 'drain-node', until };
    await bench.cluster.patchPod(namespace, names[0]!, {
      metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify([held]) } },
    });
    const { targets } = await look(keys);
    expect(targets[keys[0]!]?.held).toBe(`spec.x is held by remediation another (drain-node) until ${until}`);
    expect(targets[keys[1]!]?.held).toBeUndefined();
  });
});

describe('what cannot be read', () => {
  test('an API server that does not answer: an error of each target, and of the population', async () => {
    const { keys } = await ready();
    const gate = new Gate();
    gate.shut();
    const found = await look(keys, {}, { registry: fresh(await gate.start()) });
    const words = expect.stringMatching(/cannot list pods .* in cluster sandbox: no answer from/);
    expect(found.error).toEqual(words);
    expect(found.targets).toEqual({ [keys[0]!]: { error: words }, [keys[1]!]: { error: words } });
    expect(found).not.toHaveProperty('population');
    expect(found.workloads).toEqual({});
    await gate.stop();
  });

  test('one that is away for a moment: nothing but the moment', async () => {
    const { keys, workload } = await ready();
    const gate = new Gate();
    gate.shut();
    const looking = look(keys, {}, { registry: fresh(await gate.start()) });
    await eventually('it was turned away', () => gate.turnedAway > 0);
    gate.open();
    expect(await looking).toMatchObject({
      targets: { [keys[0]!]: { workload }, [keys[1]!]: { workload } },
      population: { live: 2, unhealthy: 2 },
    });
    await gate.stop();
  });

  test('a right that is missing: said at once, with the rule to add', async () => {
    const { keys } = await ready();
    const registry = fresh(bench.sandbox.kubernetes.users['stranger']?.kubeconfig);
    const words = expect.stringContaining(
      'Grant it to Salvor in a role with the rule { apiGroups: [""], resources: ["pods"], verbs: ["list"] }',
    );
    expect(await look(keys, {}, { registry })).toMatchObject({
      error: words,
      targets: { [keys[0]!]: { error: words } },
    });
  });

  test('a target of a cluster that is not configured: its own error, and nobody counts it', async () => {
    const { keys, workload } = await ready();
    const other = 'k8s/elsewhere/shop/pod/web';
    const found = await look([keys[0]!, other]);
    expect(found.targets).toMatchObject({
      [keys[0]!]: { workload },
      [other]: { error: expect.stringMatching(/no cluster "elsewhere" is configured \(clusters: sandbox\)/) },
    });
    expect(found.population).toEqual({ live: 2, unhealthy: 1 });
  });
});

/** How often it was asked, by what for. */
class Counting extends Cluster {
  readonly asked: string[] = [];

  override get<T extends KubeObject>(ref: Ref, signal?: AbortSignal): Promise<T | undefined> {
    this.asked.push(`get ${ref.resource}`);
    return super.get<T>(ref, signal);
  }

  override list<T extends KubeObject>(ref: Ref, signal?: AbortSignal, labelSelector?: string) {
    this.asked.push(`list ${ref.resource}`);
    return super.list<T>(ref, signal, labelSelector);
  }
}

test('many who ask at the same time cost one read of each thing', async () => {
  const { keys, workload } = await ready();
  const kubeconfig = bench.sandbox.kubernetes.users['salvor']?.kubeconfig;
  const cluster = new Counting({ name: 'sandbox', kubeconfig });
  const evidence = new PodEvidence(cluster);
  const [first = '', second = ''] = keys;
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => evidence.look(i % 2 === 0 ? [first] : [second], [first])),
  );
  for (const { population, workloads } of answers) {
    expect(population).toEqual({ live: 2, unhealthy: 1 });
    expect(workloads).toEqual({ [workload]: { desired: 2, unready: [] } });
  }
  expect(cluster.asked.sort()).toEqual(['get deployments', 'get namespaces', 'get replicasets', 'list pods']);
  await cluster.close();
});

describe('of all the rest', () => {
  const target = 'k8s/elsewhere/shop/pod/web';

  test('pauses that stand and concern the rule or a target, and no others', async () => {
    const pause = (prefix: string, until?: string): Pause => ({
      ...{ prefix, by: 'person:ann', reason: '', since: inMs(-1), ...(until && { until }) },
    });
    const concerning = [pause('k8s/elsewhere/shop'), pause('rule/r', inMs(60_000)), pause(''), pause(target)];
    const others = [pause('k8s/elsewhere/shopping'), pause('rule/other'), pause('k8s/elsewhere', inMs(-1))];
    const ages: unknown[] = [];
    const pauses = async (maxAge?: number) => {
      ages.push(maxAge);
      return [...concerning, ...others];
    };
    expect((await look([target], {}, { pauses })).pauses).toEqual(concerning);
    expect(ages, 'what stands is read anew').toEqual([1_000, undefined]);
  });

  test('what was resumed a moment ago does not hold the one who is woken by it', async () => {
    const known: Pause = { prefix: '', by: 'person:ann', reason: '', since: inMs(-1_000) };
    const pauses = async (maxAge = 0) => (maxAge > 0 ? [known] : []);
    expect((await look([target], {}, { pauses })).pauses).toEqual([]);
  });

  test('pauses that cannot be read at first, and that cannot be read at all', async () => {
    let calls = 0;
    const late = async () => {
      calls += 1;
      if (calls < 3) throw new Error('Temporal is away');
      return [];
    };
    expect(await look([], {}, { pauses: late })).not.toHaveProperty('error');
    const never = async () => Promise.reject(new Error('Temporal is away'));
    expect(await look([], {}, { pauses: never })).toMatchObject({
      pauses: [],
      error: 'cannot read the pauses: Temporal is away',
    });
  });

  test('the window of the rule; one that this system does not know is an error', async () => {
    const ruled = (windows: string[]) => look([], { rule: rule('r', { windows }) });
    expect((await ruled([])).window).toEqual({ open: true });
    expect((await ruled(['00:00-24:00'])).window).toEqual({ open: true });
    const tomorrow = new Date(Date.now() + 86_400_000);
    const day = tomorrow.toLocaleDateString('en-GB', { weekday: 'short', timeZone: 'UTC' });
    const opensAt = Date.parse(`${tomorrow.toISOString().slice(0, 10)}T10:00Z`);
    expect((await ruled([`${day} 10:00-11:00`])).window).toEqual({ open: false, opensAt });
    expect(await ruled(['00:00-24:00 Mars/Olympus'])).toMatchObject({
      error: expect.stringMatching(/not a time zone/),
    });
  });

  test('leases, each asked for under the name of the question; limits that do not answer grant nothing', async () => {
    const wanted = { ...{ responder: 'x', want: 2, has: 1, targets: [] }, limits: {} };
    const questions: string[] = [];
    const lease: EvidenceOptions['lease'] = async (key, asked, question) => {
      questions.push(`${key} ${question}`);
      if (key === 'k8s/b') throw new Error('no worker');
      return { granted: asked.want };
    };
    const { leases } = await look([], { leases: { 'k8s/a': wanted, 'k8s/b': wanted }, question: 'q' }, { lease });
    expect(leases).toEqual({
      'k8s/a': { granted: 2 },
      'k8s/b': {
        ...{ granted: 0, reason: 'the limits of k8s/b cannot be asked: no worker' },
        notBefore: expect.any(String),
        unanswered: true,
      },
    });
    expect(new Set(questions), 'tried again under the same name').toEqual(new Set(['k8s/a q', 'k8s/b q']));
    expect(questions.length).toBeGreaterThan(2);
  });

  test('no more keys of what is unready than decide', async () => {
    const many = (workload: string, n: number) => Array.from({ length: n }, (_, i) => `${workload}#missing-${i + 1}`);
    const sizes = { small: 90, large: 300, huge: 6_000 };
    const targets = Object.fromEntries(Object.keys(sizes).map((workload) => [`pod-of-${workload}`, { workload }]));
    const workloads = Object.fromEntries(
      Object.entries(sizes).map(([workload, n]) => [workload, { desired: n, unready: many(workload, n) }]),
    );
    const provider = {
      look: async () => ({ targets, workloads, population: { live: 1, unhealthy: 1 } }),
      workload: async () => ({ desired: 0, unready: [] }),
      excluded: async () => undefined,
    };
    const asked = (count: number) =>
      look(
        Object.keys(targets),
        { rule: rule('r', { maxUnavailable: { count } }) },
        { registry: { evidence: () => provider, canonical: async (key) => key } },
      );
    const found = await asked(150);
    expect(Object.values(found.workloads).map(({ unready }) => unready.length)).toEqual([90, 152, 152]);
    expect(found.workloads['large']).toEqual({ desired: 300, unready: many('large', 152) });
    const enormous = await asked(5_500);
    expect(Object.keys(enormous.workloads)).toEqual(['small', 'large']);
    expect(enormous.targets['pod-of-huge']).toEqual({
      workload: 'huge',
      error: 'too much is unready at once to count it for huge',
    });
  });
});
