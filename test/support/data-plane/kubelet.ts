import { setTimeout as sleep } from 'node:timers/promises';
import { CoreV1Api, type KubeConfig, type V1Pod } from '@kubernetes/client-node';
import { request } from 'undici';
import { follow } from './follow.ts';
import { LIVENESS, PodServer } from './pod-server.ts';

/** Of a pod's life, milliseconds. */
const LIVENESS_PROBE = { period: 2_000, timeout: 2_000, failures: 3 };
const GRACE = 10_000;

export interface RunningPod {
  name: string;
  uid: string;
  server: PodServer;
}

/**
 * Gives each pod of a namespace, which kwok only pretends to run, a real process: it starts with the pod, is started again
 * when its liveness probe fails, and ends as a pod's does, gracefully, after it was deleted.
 */
export class Kubelet {
  readonly #pods = new Map<string, RunningPod>();
  readonly #starting = new Map<string, PodServer>();
  readonly #deleted = new Set<string>();
  readonly #ending = new Set<PodServer>();
  readonly #changed: () => void;
  readonly #preStop: number;
  readonly #end = new AbortController();
  #unfollow: () => Promise<void> = async () => undefined;
  #probing: Promise<void> | undefined;

  /**
   * @param changed told when a process takes requests, and when its pod is gone
   * @param preStop milliseconds for which the hook of its pods sleeps
   */
  constructor(changed: () => void, preStop: number) {
    this.#changed = changed;
    this.#preStop = preStop;
  }

  async start(config: KubeConfig, namespace: string): Promise<void> {
    const core = config.makeApiClient(CoreV1Api);
    this.#unfollow = await follow<V1Pod>(
      config,
      `/api/v1/namespaces/${namespace}/pods`,
      () => core.listNamespacedPod({ namespace }),
      (pod, isDeleted) => this.#see(pod, isDeleted),
    );
    this.#probing = this.#probe(this.#end.signal);
  }

  /** Those whose process takes requests and whose pod is not deleted. */
  get pods(): RunningPod[] {
    return [...this.#pods.values()];
  }

  pod(uid: string): RunningPod | undefined {
    return this.#pods.get(uid);
  }

  async close(): Promise<void> {
    await this.#unfollow();
    this.#end.abort();
    await this.#probing;
    const all = [...this.pods.map(({ server }) => server), ...this.#starting.values(), ...this.#ending];
    await Promise.all(all.map((server) => server.kill()));
  }

  #see({ metadata, status }: V1Pod, isDeleted: boolean): void {
    const { uid = '', name = '', deletionTimestamp } = metadata ?? {};
    if (isDeleted || deletionTimestamp) this.#terminate(uid);
    else if (status?.podIP && !this.#pods.has(uid) && !this.#starting.has(uid)) void this.#begin(uid, name);
  }

  async #begin(uid: string, name: string): Promise<void> {
    const server = new PodServer();
    this.#starting.set(uid, server);
    await server.listen();
    this.#starting.delete(uid);
    this.#pods.set(uid, { name, uid, server });
    if (this.#deleted.has(uid)) this.#terminate(uid);
    else this.#changed();
  }

  #terminate(uid: string): void {
    this.#deleted.add(uid);
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    this.#ending.add(pod.server);
    void pod.server.shutDown(this.#preStop, GRACE).then(() => this.#ending.delete(pod.server));
    this.#changed();
  }

  async #probe(signal: AbortSignal): Promise<void> {
    const failures = new Map<string, number>();
    while (!signal.aborted) {
      await sleep(LIVENESS_PROBE.period, undefined, { signal }).catch(() => undefined);
      await Promise.all(
        this.pods.map(async ({ uid, server }) => {
          const failed = (await isAlive(server.address, signal)) ? 0 : (failures.get(uid) ?? 0) + 1;
          failures.set(uid, failed);
          if (failed < LIVENESS_PROBE.failures || signal.aborted || !this.#pods.has(uid)) return;
          failures.delete(uid);
          await server.restart();
        }),
      );
    }
  }
}

async function isAlive(address: string, end: AbortSignal): Promise<boolean> {
  const began = performance.now();
  const signal = AbortSignal.any([end, AbortSignal.timeout(LIVENESS_PROBE.timeout)]);
  try {
    const { statusCode, body } = await request(`http://${address}${LIVENESS}`, { signal, reset: true });
    await body.dump();
    return statusCode < 400;
  } catch {
    // No answer, or none in time: that is what it asks for; unless this very process has slept meanwhile.
    return performance.now() - began > LIVENESS_PROBE.timeout + 1_000;
  }
}
