import { randomUUID } from 'node:crypto';
import {
  type KubernetesObject,
  PatchStrategy,
  setHeaderOptions,
  type V1Deployment,
  type V1Node,
  type V1Pod,
  type V1PodSpec,
} from '@kubernetes/client-node';
import type { Held } from '../../model/change.ts';
import { HELD_ANNOTATION } from '../../model/names.ts';
import { formatTarget } from '../../model/target.ts';
import { UNREADY_ANNOTATION } from '../../sandbox/kubernetes.ts';
import { deployment, type TestCluster, type WorkloadOptions } from './kubernetes.ts';
import { isNodeReady, Scheduler } from './scheduler.ts';
import { eventually } from './wait.ts';

interface NodeMade {
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  providerID?: string;
}

/** Nodes of a pool of their own, a namespace whose pods are placed on the first of them that takes any, and what is done to them. */
export class Pool {
  readonly cluster: TestCluster;
  readonly namespace: string;
  readonly names: readonly string[];
  /** Value of the nodes' pool label. */
  readonly name: string;
  readonly #scheduler: Scheduler;

  private constructor(cluster: TestCluster, namespace: string, name: string, names: readonly string[]) {
    this.cluster = cluster;
    this.namespace = namespace;
    this.name = name;
    this.names = names;
    this.#scheduler = new Scheduler(cluster, namespace, names);
  }

  /** @param made of the first node */
  static async make(cluster: TestCluster, size = 2, made: NodeMade = {}): Promise<Pool> {
    const name = `pool-${randomUUID().slice(0, 8)}`;
    const names = Array.from({ length: size }, (_, i) => `${name}-${i}`);
    for (const [i, one] of names.entries()) await addNode(cluster, one, name, i === 0 ? made : {});
    return new Pool(cluster, await cluster.namespace('node'), name, names);
  }

  get first(): string {
    return this.names[0] ?? '';
  }

  /** The target key of a node. */
  key(name = this.first): string {
    return formatTarget({ type: 'node', cluster: this.cluster.name, name });
  }

  get workload(): string {
    return `k8s/${this.cluster.name}/node-pool/${this.name}`;
  }

  stop(): Promise<void> {
    return this.#scheduler.stop();
  }

  async node(name = this.first): Promise<V1Node | undefined> {
    const { items } = await this.cluster.core.listNode({ fieldSelector: `metadata.name=${name}` });
    return items[0];
  }

  /** A merge patch, as a person would make it with kubectl. */
  async patch(body: object, name = this.first, fieldManager = 'kubectl-cordon'): Promise<void> {
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await this.cluster.core.patchNode({ name, body, fieldManager }, merge);
  }

  async setUnready(unready: boolean, name = this.first): Promise<void> {
    await this.patch({ metadata: { annotations: { [UNREADY_ANNOTATION]: unready ? 'true' : null } } }, name, 'test');
    await eventually(`${name} is ${unready ? 'unready' : 'ready'}`, async () => {
      const node = await this.node(name);
      return node !== undefined && isNodeReady(node) === !unready;
    });
  }

  async isCordoned(name = this.first): Promise<boolean> {
    return (await this.node(name))?.spec?.unschedulable === true;
  }

  async held(name = this.first): Promise<Held[]> {
    return JSON.parse((await this.node(name))?.metadata?.annotations?.[HELD_ANNOTATION] ?? '[]');
  }

  /** Makes them, and waits until so many pods of the app are Ready. */
  async run(app: string, count: number, ...objects: KubernetesObject[]): Promise<V1Pod[]> {
    await this.cluster.create(...objects);
    return this.cluster.readyPods(this.namespace, app, count);
  }

  async podsOn(name = this.first): Promise<V1Pod[]> {
    const fieldSelector = `spec.nodeName=${name}`;
    return (await this.cluster.core.listNamespacedPod({ namespace: this.namespace, fieldSelector })).items;
  }
}

/** A node that is Ready. */
export async function addNode(cluster: TestCluster, name: string, pool: string, made: NodeMade = {}): Promise<void> {
  const { labels, annotations, providerID } = made;
  await cluster.create({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'eks.amazonaws.com/nodegroup': pool, ...labels }, annotations },
    ...(providerID !== undefined && { spec: { providerID } }),
  } as KubernetesObject);
  await eventually(`${name} is Ready`, async () => isNodeReady(await cluster.core.readNode({ name })));
}

/** A Deployment whose pods are placed by the {@link Scheduler}. */
export function placed(options: WorkloadOptions, spec: Partial<V1PodSpec> = {}): V1Deployment {
  const made = deployment(options);
  const { template } = made.spec ?? {};
  if (template?.spec) template.spec = { ...template.spec, nodeName: undefined, ...spec };
  return made;
}

/** A DaemonSet that runs on these nodes only. */
export const daemonSet = (namespace: string, name: string, pool: string): KubernetesObject =>
  ({
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          nodeSelector: { 'eks.amazonaws.com/nodegroup': pool },
          containers: [{ name: 'app', image: 'app:1' }],
        },
      },
    },
  }) as KubernetesObject;

/** A pod without a controller. */
export const barePod = (namespace: string, name: string, spec: Partial<V1PodSpec> = {}): KubernetesObject =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { app: name } },
    spec: { containers: [{ name: 'app', image: 'app:1' }], ...spec },
  }) as KubernetesObject;
