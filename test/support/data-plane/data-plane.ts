import { KubeConfig } from '@kubernetes/client-node';
import { type Envoy, startEnvoy } from '../../../sandbox/envoy.ts';
import type { Kubernetes } from '../../../sandbox/kubernetes.ts';
import { eventually } from '../wait.ts';
import { Ingress } from './ingress.ts';
import { Kubelet, type RunningPod } from './kubelet.ts';
import { Load } from './load.ts';
import { Prober } from './prober.ts';

export interface DataPlaneOptions {
  kubernetes: Pick<Kubernetes, 'kubeconfig'>;
  /** Folder for Envoy, not yet there. */
  folder: string;
  namespace: string;
  /** The Service whose pods get the traffic. */
  service: string;
  /** Of a request, milliseconds; default 5 s. */
  timeout?: number;
  /**
   * For so many milliseconds a pod that is deleted goes on as before; default 3 s, long enough that no proxy sends it anything
   * new afterwards.
   */
  preStop?: number;
  /** Labels of the prober's series, beside `namespace` and `pod`. */
  labels?: Record<string, string>;
}

/**
 * What a control plane without machines lacks: a real process for each pod of a namespace, and a real Envoy that follows the
 * EndpointSlices of one Service.
 */
export class DataPlane {
  readonly envoy: Envoy;
  readonly kubelet: Kubelet;
  readonly prober: Prober;
  readonly #ingress: Ingress;

  private constructor(envoy: Envoy, { namespace, labels, preStop = 3_000 }: DataPlaneOptions) {
    this.envoy = envoy;
    this.kubelet = new Kubelet(() => this.#ingress.tell(), preStop);
    this.#ingress = new Ingress(envoy, this.kubelet);
    this.prober = new Prober(this.kubelet, { namespace, ...labels });
  }

  static async start(options: DataPlaneOptions): Promise<DataPlane> {
    const { kubernetes, folder, namespace, service, timeout } = options;
    const plane = new DataPlane(await startEnvoy({ folder, timeout }), options);
    const config = new KubeConfig();
    config.loadFromFile(kubernetes.kubeconfig);
    await plane.kubelet.start(config, namespace);
    await plane.#ingress.start(config, namespace, service);
    await plane.prober.start();
    return plane;
  }

  /** The pod of this name, when its process takes requests. */
  async pod(name: string): Promise<RunningPod> {
    return eventually(`the process of ${name}`, () => this.kubelet.pods.find((pod) => pod.name === name));
  }

  /** Resolves when Envoy itself says that it sends traffic to so many pods, and to this one, or not to it. */
  async untilTraffic(count: number, to: { pod: RunningPod; sent: boolean }[] = []): Promise<void> {
    await eventually(`Envoy sends traffic to ${count} pods`, async () => {
      const endpoints = await this.envoy.endpoints();
      return endpoints.length === count && to.every(({ pod, sent }) => endpoints.includes(pod.server.address) === sent);
    });
  }

  load(perSecond: number): Load {
    return new Load({ url: this.envoy.url, perSecond });
  }

  async close(): Promise<void> {
    await this.prober.close();
    await this.#ingress.close();
    await this.kubelet.close();
    await this.envoy.stop();
  }
}
