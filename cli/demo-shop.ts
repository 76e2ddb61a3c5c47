import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TRAFFIC_LABEL } from '../model/names.ts';
import { Cluster, type ClusterConfig } from '../providers/kubernetes/cluster.ts';
import {
  ENDPOINT_SLICES,
  type EndpointSlice,
  PODS,
  type Pod,
  type Ref,
  SERVICES,
} from '../providers/kubernetes/objects.ts';
import { UNREADY_ANNOTATION } from '../sandbox/kubernetes.ts';

const NAMESPACE = 'shop';
const APP = 'web';
const REPLICAS = 3;
const MANAGER = 'salvor-demo';

const NAMESPACES: Ref = { group: '', version: 'v1', resource: 'namespaces' };
const DEPLOYMENTS: Ref = { group: 'apps', version: 'v1', resource: 'deployments' };
const BUDGETS: Ref = { group: 'policy', version: 'v1', resource: 'poddisruptionbudgets' };

/** The patient of the demo: three pods behind a Service, with a disruption budget, and the metric of their readiness. */
export class Shop {
  readonly #cluster: Cluster;
  readonly #metrics: Server;

  constructor(cluster: ClusterConfig) {
    this.#cluster = new Cluster(cluster);
    this.#metrics = createServer((_request, response) => {
      this.#readiness().then(
        (text) => response.end(text),
        (error: unknown) => response.writeHead(503).end(String(error)),
      );
    });
  }

  /** Resolves when its pods serve. @returns host:port of the metrics */
  async open(): Promise<string> {
    const here = { namespace: NAMESPACE };
    await this.#create(NAMESPACES, { kind: 'Namespace', metadata: { name: NAMESPACE } });
    await this.#create({ ...DEPLOYMENTS, ...here }, deployment());
    await this.#create({ ...SERVICES, ...here }, service());
    await this.#create({ ...BUDGETS, ...here }, budget());
    await new Promise<void>((listening) => this.#metrics.listen(0, '127.0.0.1', listening));
    return `127.0.0.1:${(this.#metrics.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#metrics.close();
    await this.#cluster.close();
  }

  /** Names of the pods that serve: Ready, and in the Service's EndpointSlice. */
  async serving(): Promise<string[]> {
    const { items: slices } = await this.#cluster.list<EndpointSlice>({ ...ENDPOINT_SLICES, namespace: NAMESPACE });
    const inTraffic = new Set(slices.flatMap(({ endpoints }) => (endpoints ?? []).filter(isReady).map(uidOf)));
    return (await this.#pods())
      .filter(({ metadata }) => inTraffic.has(metadata.uid))
      .map(({ metadata }) => metadata.name);
  }

  /** Makes a pod alive but unable to work, or well again; its kubelet finds out by its readiness probe. */
  async setSick(name: string, sick: boolean): Promise<void> {
    const annotations = { [UNREADY_ANNOTATION]: sick ? 'true' : null };
    await this.#cluster.patch({ ...PODS, namespace: NAMESPACE, name }, 'merge', MANAGER, { metadata: { annotations } });
  }

  targetOf(name: string): string {
    return `k8s/${this.#cluster.name}/${NAMESPACE}/pod/${name}`;
  }

  async #pods(): Promise<Pod[]> {
    return (await this.#cluster.list<Pod>({ ...PODS, namespace: NAMESPACE })).items;
  }

  /** As kube-state-metrics has it. */
  async #readiness(): Promise<string> {
    const lines = (await this.#pods()).map(({ metadata: { name }, status }) => {
      const ready = status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True');
      return `kube_pod_status_ready{namespace="${NAMESPACE}",pod="${name}",condition="true"} ${ready ? 1 : 0}`;
    });
    return `# TYPE kube_pod_status_ready gauge\n${lines.join('\n')}\n`;
  }

  async #create(ref: Ref, body: { kind: string; metadata: object }): Promise<void> {
    const apiVersion = ref.group === '' ? ref.version : `${ref.group}/${ref.version}`;
    await this.#cluster.create(ref, { apiVersion, ...body });
  }
}

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];
const isReady = ({ conditions }: Endpoint): boolean => conditions?.ready !== false;
const uidOf = ({ targetRef }: Endpoint): string | undefined => targetRef?.uid;

const deployment = () => ({
  kind: 'Deployment',
  metadata: { name: APP },
  spec: {
    replicas: REPLICAS,
    selector: { matchLabels: { app: APP } },
    template: {
      metadata: { labels: { app: APP, [TRAFFIC_LABEL]: 'on' } },
      // The sandbox has no scheduler.
      spec: { nodeName: 'node-0', containers: [{ name: APP, image: 'web:1' }] },
    },
  },
});

const service = () => ({
  kind: 'Service',
  metadata: { name: APP },
  spec: { selector: { app: APP, [TRAFFIC_LABEL]: 'on' }, ports: [{ port: 80 }] },
});

const budget = () => ({
  kind: 'PodDisruptionBudget',
  metadata: { name: APP },
  spec: { minAvailable: REPLICAS - 1, selector: { matchLabels: { app: APP } } },
});
