import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { instanceActivities } from '../../../activities/instance.ts';
import { FinalError, UnavailableError } from '../../../providers/errors.ts';
import { Cluster, type WatchEvent } from '../../../providers/kubernetes/cluster.ts';
import { type KubeObject, PODS, type Pod } from '../../../providers/kubernetes/objects.ts';
import { Watches } from '../../../providers/kubernetes/watch.ts';
import { podsOf } from '../../../providers/kubernetes/watched.ts';
import { createRegistry } from '../../../providers/registry.ts';
import { actor, inMs, OPTIONS, useBench } from '../../activities/instance-support.ts';
import { deployment, nameOf, uidOf } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';

const bench = useBench();

/** A kubeconfig like the sandbox's, changed. */
async function kubeconfig(name: string, change: (config: Kubeconfig) => void): Promise<string> {
  const { kubernetes, folder } = bench.sandbox;
  const config: Kubeconfig = parse(await readFile(kubernetes.users.salvor!.kubeconfig, 'utf8'));
  change(config);
  const file = join(folder, `${name}.yaml`);
  await writeFile(file, stringify(config));
  return file;
}
interface Kubeconfig {
  clusters: { cluster: { server: string } }[];
  users: { user: { token: string } }[];
}

/** The assess activity of a registry with one cluster, of a pod that does not exist. */
function assess(config: { name: string; kubeconfig?: string; context?: string }, target = 'k8s/sandbox/default/pod/x') {
  const registry = createRegistry({ clusters: [config] });
  const request = { target, options: OPTIONS, actor: actor() };
  return instanceActivities(registry, async () => undefined)
    .assess(request)
    .finally(() => registry.close());
}

describe('errors', () => {
  test('a missing right: final, with the rule to add', async () => {
    const { users } = bench.sandbox.kubernetes;
    const running = assess({ name: 'sandbox', kubeconfig: users.stranger!.kubeconfig });
    await expect(running).rejects.toMatchObject({ type: 'Forbidden', nonRetryable: true });
    const message = await running.catch((error: Error) => error.message);
    expect(message).toMatch(/cannot get pods default\/x in cluster sandbox: 403/);
    expect(message).toContain('{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }');
  });

  test('credentials that are not accepted: to be tried again, and no secret in the message', async () => {
    const file = await kubeconfig('wrong', ({ users }) => {
      users[0]!.user.token = 'wrong-secret';
    });
    const running = assess({ name: 'sandbox', kubeconfig: file });
    await expect(running).rejects.toMatchObject({
      type: 'Unauthenticated',
      nonRetryable: false,
      message: expect.stringMatching(/cluster sandbox are not accepted: renew them/),
    });
    await expect(running).rejects.not.toMatchObject({ message: expect.stringContaining('wrong-secret') });
  });

  test('credentials that are renewed in the kubeconfig are used without a restart', async () => {
    const right = await readFile(bench.sandbox.kubernetes.users.salvor!.kubeconfig, 'utf8');
    const file = await kubeconfig('renewed', ({ users }) => {
      users[0]!.user.token = 'expired';
    });
    const cluster = new Cluster({ name: 'sandbox', kubeconfig: file });
    const ref = { ...PODS, namespace: 'default', name: 'x' };
    try {
      await expect(cluster.get(ref)).rejects.toMatchObject({ status: 401 });
      // Half written: what it had is refused still, and nothing says that there is no such cluster.
      await writeFile(file, right.slice(0, 30));
      await expect(cluster.get(ref)).rejects.toMatchObject({ status: 401 });
      await writeFile(file, right);
      expect(await cluster.get(ref)).toBeUndefined();
    } finally {
      await cluster.close();
    }
  });

  test('of an undo are all to be tried again, with the same words', async () => {
    const { users } = bench.sandbox.kubernetes;
    const target = 'k8s/sandbox/default/pod/x';
    const wrong = await kubeconfig('refused', (config) => {
      config.users[0]!.user.token = 'wrong';
    });
    for (const [config, type, words] of [
      [
        { name: 'sandbox', kubeconfig: users.stranger!.kubeconfig },
        'Forbidden',
        /Grant it to Salvor .*verbs: \["get"\]/,
      ],
      [{ name: 'sandbox', kubeconfig: wrong }, 'Unauthenticated', /not accepted/],
      [{ name: 'another', kubeconfig: wrong }, 'UnknownTarget', /no cluster "sandbox" .*another/],
    ] as const) {
      const registry = createRegistry({ clusters: [config] });
      const object = { key: target, uid: randomUUID() };
      const field = { field: 'metadata.labels[salvor.dev/traffic]', before: 'on', set: 'off' };
      const held = [{ ...field, object, ...actor(), until: inMs(60_000) }];
      const request = { step: 'restore', actor: actor(), instance: object, held };
      const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
      const { restore } = instanceActivities(registry, async () => undefined);
      await expect(environment.run(restore, request)).rejects.toMatchObject({
        type,
        nonRetryable: false,
        message: expect.stringMatching(words),
      });
      await registry.close();
    }
  });

  test('a server that does not answer: to be tried again', async () => {
    const file = await kubeconfig('nobody', ({ clusters }) => {
      clusters[0]!.cluster.server = 'https://127.0.0.1:1';
    });
    await expect(assess({ name: 'sandbox', kubeconfig: file })).rejects.toMatchObject({
      type: 'Unavailable',
      nonRetryable: false,
      message: expect.stringMatching(/127\.0\.0\.1:1: ECONNREFUSED/),
    });
  });

  test('a cluster, a context, a file, a kind that there is not: final, with those that there are', async () => {
    const { kubeconfig: file } = bench.sandbox.kubernetes;
    for (const [config, target, words] of [
      [{ name: 'prod', kubeconfig: file }, undefined, /no cluster "sandbox" .*prod/],
      [{ name: 'sandbox', kubeconfig: file, context: 'x' }, undefined, /no context "x"; it has sandbox/],
      [{ name: 'sandbox', kubeconfig: '/nowhere' }, undefined, /cannot read its kubeconfig/],
      [{ name: 'sandbox', kubeconfig: file }, 'k8s/sandbox/default/deployment.apps/x', /only pods/],
      [{ name: 'sandbox', kubeconfig: file }, 'nonsense', /not a target/],
    ] as const) {
      const running = assess(config, target);
      await expect(running).rejects.toMatchObject({ type: 'UnknownTarget', nonRetryable: true });
      await expect(running).rejects.toMatchObject({ message: expect.stringMatching(words) });
    }
    await expect(assess({ name: 'sandbox', kubeconfig: file })).resolves.toMatchObject({ verdict: 'gone' });
  });
});

describe('the API', () => {
  test('holds a write to the identity and the version that it names', async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 1 }));
    const [pod] = await bench.cluster.readyPods(namespace, 'web', 1);
    const cluster = new Cluster({ name: 'sandbox', kubeconfig: bench.sandbox.kubernetes.users.salvor!.kubeconfig });
    const ref = { ...PODS, namespace, name: nameOf(pod!) };
    const { resourceVersion = '' } = pod!.metadata!;
    await bench.cluster.patchPod(namespace, ref.name, { metadata: { labels: { touched: 'yes' } } });
    const labels = { x: 'y' };
    for (const [metadata, status] of [
      [{ uid: randomUUID(), resourceVersion, labels }, 409],
      [{ uid: uidOf(pod!), resourceVersion, labels }, 409],
      [{ uid: randomUUID(), labels }, 422],
    ] as const) {
      const refused = cluster.patch(ref, 'merge', 'test', { metadata });
      await expect(refused).rejects.toMatchObject({ name: 'ApiError', status });
    }
    expect((await cluster.get<Pod>(ref))?.metadata.labels).not.toHaveProperty('x');
    await cluster.close();
  });

  test('lists beyond one page', async () => {
    const namespace = await bench.cluster.namespace();
    const names = Array.from({ length: 510 }, (_, i) => `s-${i}`);
    for (let i = 0; i < names.length; i += 30) {
      const metadatas = names.slice(i, i + 30).map((name) => ({ name, namespace }));
      await Promise.all(
        metadatas.map((metadata) =>
          bench.cluster.core.createNamespacedService({
            namespace,
            body: { metadata, spec: { clusterIP: 'None', selector: { app: 'x' } } },
          }),
        ),
      );
    }
    const cluster = new Cluster({ name: 'sandbox', kubeconfig: bench.sandbox.kubernetes.kubeconfig });
    const { items } = await cluster.list({ group: '', version: 'v1', resource: 'services', namespace });
    expect(items).toHaveLength(510);
    await cluster.close();
  });
});

describe('a shared watch', () => {
  test('goes on where it was when its connection breaks, and says so to nobody', async () => {
    const namespace = await bench.cluster.namespace();
    const relay = await Relay.start(Number(new URL(bench.sandbox.kubernetes.server).port));
    const file = await kubeconfig('relay', ({ clusters }) => {
      clusters[0]!.cluster.server = `https://127.0.0.1:${relay.port}`;
    });
    const cluster = new Cluster({ name: 'sandbox', kubeconfig: file });
    const watches = new Watches(cluster);
    try {
      const pods = await watches.follow(podsOf(namespace), new AbortController().signal);
      expect([...pods.values()]).toEqual([]);
      relay.breakAll();
      await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 1 }));
      const [pod] = await eventually('the pod is seen', () => {
        const seen = [...pods.values()];
        return seen.length > 0 && seen;
      });
      let calls = 0;
      pods.listen(pod!.metadata.name, () => {
        calls += 1;
      });
      relay.breakAll();
      await bench.cluster.core.deleteNamespacedPod({ namespace, name: pod!.metadata.name });
      await eventually('its end is seen', () => pods.get(pod!.metadata.name) === undefined && calls > 0);
      expect(watches.size).toBe(1);
      pods.release();
      expect(watches.size).toBe(0);
    } finally {
      watches.close();
      await cluster.close();
      await relay.stop();
    }
  });

  test('lists anew when the server no longer knows the version that it was at', async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 1 }));
    await bench.cluster.readyPods(namespace, 'web', 1);
    const cluster = new Forgetful({ name: 'sandbox', kubeconfig: bench.sandbox.kubernetes.kubeconfig });
    const watches = new Watches(cluster);
    try {
      const pods = await watches.follow(podsOf(namespace), new AbortController().signal);
      // While nobody watches, its list alone can tell.
      await bench.cluster.delete(deployment({ namespace, name: 'web' }));
      await eventually('all are gone', () => [...pods.values()].length === 0);
      expect(cluster.from).toHaveLength(2);
    } finally {
      watches.close();
      await cluster.close();
    }
  });

  test('that a proxy ends at once, again and again, is begun more and more slowly', async () => {
    const namespace = await bench.cluster.namespace();
    const cluster = new Curt({ name: 'sandbox', kubeconfig: bench.sandbox.kubernetes.kubeconfig });
    const watches = new Watches(cluster);
    try {
      const pods = await watches.follow(podsOf(namespace), new AbortController().signal);
      await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 1 }));
      await eventually('the pod is seen all the same', () => [...pods.values()].length > 0);
      expect(cluster.begun).toBe(Curt.ENDED + 1);
      // Without a pause the five would be over in a few milliseconds.
      expect(cluster.pauses.every((ms, i) => ms > 50 * 2 ** i)).toBe(true);
    } finally {
      watches.close();
      await cluster.close();
    }
  });

  test('is not begun where it is forbidden, unreachable or no longer wanted', async () => {
    const { users } = bench.sandbox.kubernetes;
    const stranger = new Cluster({ name: 'sandbox', kubeconfig: users.stranger!.kubeconfig });
    const forbidden = new Watches(stranger);
    const never = new AbortController().signal;
    await expect(forbidden.follow(podsOf('default'), never)).rejects.toMatchObject({ status: 403 });
    const nobody = new Cluster({ name: 'sandbox', kubeconfig: '/nowhere' });
    await expect(new Watches(nobody).follow(podsOf('default'), never)).rejects.toBeInstanceOf(FinalError);
    const aborted = AbortSignal.abort(new UnavailableError('not wanted'));
    await expect(forbidden.follow(podsOf('default'), aborted)).rejects.toThrow('not wanted');
    expect(forbidden.size).toBe(0);
    await stranger.close();
  });
});

/** A cluster whose first watch ends as the API documents it for a version that is too old: no fresh server forgets any. */
class Forgetful extends Cluster {
  /** Versions from which it was to watch. */
  readonly from: string[] = [];

  override async *watch(...given: Parameters<Cluster['watch']>): AsyncGenerator<WatchEvent> {
    this.from.push(given[1]);
    if (this.from.length > 1) {
      yield* super.watch(...given);
      return;
    }
    const status = { kind: 'Status', code: 410, reason: 'Expired', metadata: {} as KubeObject['metadata'] };
    yield { type: 'ERROR', object: status };
  }
}

/** A cluster whose first watches end without a word, as some proxies end them. */
class Curt extends Cluster {
  static readonly ENDED = 4;
  begun = 0;
  /** Milliseconds between two of them. */
  readonly pauses: number[] = [];
  #last: number | undefined;

  override async *watch(...given: Parameters<Cluster['watch']>): AsyncGenerator<WatchEvent> {
    if (this.#last !== undefined) this.pauses.push(performance.now() - this.#last);
    this.#last = performance.now();
    this.begun += 1;
    if (this.begun > Curt.ENDED) yield* super.watch(...given);
  }
}

/** Passes connections on to a port of this machine, and breaks them when told. */
class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  port = 0;

  constructor(to: number) {
    this.#server = createServer((client) => {
      const upstream = connect(to, '127.0.0.1');
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
  }

  static async start(to: number): Promise<Relay> {
    const relay = new Relay(to);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    relay.port = (relay.#server.address() as { port: number }).port;
    return relay;
  }

  breakAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.breakAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
