import { DiscoveryV1Api, type KubeConfig, type V1EndpointSlice } from '@kubernetes/client-node';
import type { Envoy } from '../../../sandbox/envoy.ts';
import { follow } from './follow.ts';
import type { Kubelet, RunningPod } from './kubelet.ts';

const SERVICE = 'kubernetes.io/service-name';

/**
 * What an ingress controller does: it follows the EndpointSlices of a Service and tells Envoy. EndpointSlices refuse
 * loopback addresses, so each pod's address stands for that of its process. Endpoints get traffic while they are `ready`;
 * terminating ones never do.
 */
export class Ingress {
  readonly #envoy: Envoy;
  readonly #kubelet: Kubelet;
  readonly #slices = new Map<string, V1EndpointSlice>();
  #told: string | undefined;
  #telling: Promise<void> = Promise.resolve();
  #unfollow: () => Promise<void> = async () => undefined;

  constructor(envoy: Envoy, kubelet: Kubelet) {
    this.#envoy = envoy;
    this.#kubelet = kubelet;
  }

  async start(config: KubeConfig, namespace: string, service: string): Promise<void> {
    const discovery = config.makeApiClient(DiscoveryV1Api);
    this.#unfollow = await follow<V1EndpointSlice>(
      config,
      `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
      () => discovery.listNamespacedEndpointSlice({ namespace }),
      (slice, isDeleted) => {
        const { name = '', labels } = slice.metadata ?? {};
        if (labels?.[SERVICE] !== service) return;
        if (isDeleted) this.#slices.delete(name);
        else this.#slices.set(name, slice);
        this.tell();
      },
    );
  }

  /** Tells Envoy what is to be told now; one after the other. */
  tell(): void {
    this.#telling = this.#telling.then(async () => {
      const endpoints = this.#pods().map(({ server }) => server.address);
      const text = endpoints.join();
      if (text === this.#told) return;
      await this.#envoy.setEndpoints(endpoints);
      this.#told = text;
    });
  }

  /** @throws Error where Envoy could not be told */
  async close(): Promise<void> {
    await this.#unfollow();
    await this.#telling;
  }

  #pods(): RunningPod[] {
    const endpoints = [...this.#slices.values()].flatMap((slice) => slice.endpoints ?? []);
    const uids = endpoints
      .filter(({ conditions }) => conditions?.ready !== false)
      .map(({ targetRef }) => targetRef?.uid ?? '');
    const pods = [...new Set(uids)].map((uid) => this.#kubelet.pod(uid)).filter((pod) => pod !== undefined);
    return pods.sort((a, b) => a.name.localeCompare(b.name));
  }
}
