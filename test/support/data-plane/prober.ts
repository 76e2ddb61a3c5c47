import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import type { Kubelet, RunningPod } from './kubelet.ts';
import { PROBE_HEADER } from './pod-server.ts';

const PERIOD_MS = 250;
const TIMEOUT_MS = 1_000;

/** Of an alert: not one answer in three seconds. One probe alone says nothing, for the machine may have been busy. */
export const UNABLE = 'max_over_time(probe_success[3s]) == 0 and count_over_time(probe_success[3s]) >= 4';

/** The same as a check of a rule's `health`, for the pod in question. */
export const ABLE = {
  promql: { query: 'max_over_time(probe_success{namespace="${namespace}",pod="${pod}"}[3s])', atLeast: 1 },
};

interface Seen {
  success: 0 | 1;
  /** Seconds. */
  duration: number;
}

/**
 * An exporter for Prometheus that asks each pod itself for what its callers ask it for, with the metrics of Prometheus' own
 * blackbox exporter: `probe_success` and `probe_duration_seconds`, by `namespace` and `pod`. A pod that is out of traffic
 * has no requests that could tell how it is; this does.
 */
export class Prober {
  readonly #kubelet: Kubelet;
  /** As they stand in each series. */
  readonly #labels: Record<string, string>;
  readonly #server: Server;
  readonly #seen = new Map<string, Seen>();
  readonly #asking = new Set<string>();
  readonly #end = new AbortController();
  #probing: Promise<void> | undefined;

  constructor(kubelet: Kubelet, labels: Record<string, string>) {
    this.#kubelet = kubelet;
    this.#labels = labels;
    this.#server = createServer((_, response) => {
      response.setHeader('content-type', 'text/plain; version=0.0.4').end(this.#exposition());
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#probing = this.#probe(this.#end.signal);
  }

  /** host:port, for Prometheus. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.#probing;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #probe(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const pod of this.#kubelet.pods) if (!this.#asking.has(pod.uid)) void this.#ask(pod, signal);
      await sleep(PERIOD_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #ask({ uid, server }: RunningPod, end: AbortSignal): Promise<void> {
    this.#asking.add(uid);
    const began = performance.now();
    const success = await isServing(server.address, end);
    this.#seen.set(uid, { success: success ? 1 : 0, duration: (performance.now() - began) / 1000 });
    this.#asking.delete(uid);
  }

  #exposition(): string {
    const series = this.#kubelet.pods.flatMap(({ uid, name }) => {
      const seen = this.#seen.get(uid);
      const labels = Object.entries({ ...this.#labels, pod: name }).map(([key, value]) => `${key}="${value}"`);
      return seen ? [{ labels: labels.join(), seen }] : [];
    });
    return [
      '# TYPE probe_success gauge',
      ...series.map(({ labels, seen }) => `probe_success{${labels}} ${seen.success}`),
      '# TYPE probe_duration_seconds gauge',
      ...series.map(({ labels, seen }) => `probe_duration_seconds{${labels}} ${seen.duration}`),
      '',
    ].join('\n');
  }
}

async function isServing(address: string, end: AbortSignal): Promise<boolean> {
  const signal = AbortSignal.any([end, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const headers = { [PROBE_HEADER]: '1' };
    const { statusCode, body } = await request(`http://${address}/`, { signal, headers, reset: true });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false; // No answer, or none in time: that is what it asks for.
  }
}
