import { setTimeout as delay } from 'node:timers/promises';
import type { V1Node, V1Pod } from '@kubernetes/client-node';
import { nameOf, type TestCluster } from './kubernetes.ts';

/**
 * What the sandbox lacks: it places each pod of a namespace that names no node on the first of these nodes that takes
 * new pods, and those of DaemonSets on the node that their affinity names.
 */
export class Scheduler {
  readonly #cluster: TestCluster;
  readonly #namespace: string;
  readonly #nodes: readonly string[];
  readonly #running: Promise<void>;
  #stopped = false;

  constructor(cluster: TestCluster, namespace: string, nodes: readonly string[]) {
    this.#cluster = cluster;
    this.#namespace = namespace;
    this.#nodes = nodes;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      // As a scheduler does: what could not be done is tried again. Nobody hears this promise before the end of the test.
      await this.#placeAll().catch(() => undefined);
      await delay(100);
    }
  }

  async #placeAll(): Promise<void> {
    const fieldSelector = 'spec.nodeName=';
    const { items } = await this.#cluster.core.listNamespacedPod({ namespace: this.#namespace, fieldSelector });
    if (items.length > 0) await this.#place(items);
  }

  async #place(pods: readonly V1Pod[]): Promise<void> {
    const { items } = await this.#cluster.core.listNode();
    const free = this.#nodes.find((name) => items.some((node) => nameOf(node) === name && takesPods(node)));
    for (const pod of pods) {
      const node = demanded(pod) ?? free;
      if (!node || pod.metadata?.deletionTimestamp) continue;
      const [namespace, name] = [this.#namespace, nameOf(pod)];
      const body = { metadata: { name, namespace }, target: { kind: 'Node', name: node } };
      await this.#cluster.core.createNamespacedPodBinding({ namespace, name, body }).catch((error: unknown) => {
        // Its owner was faster, or the pod is gone.
        if (![404, 409].includes((error as { code?: number }).code ?? 0)) throw error;
      });
    }
  }
}

export const isNodeReady = ({ status }: V1Node): boolean =>
  status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';

const takesPods = (node: V1Node): boolean => node.spec?.unschedulable !== true && isNodeReady(node);

function demanded({ spec }: V1Pod): string | undefined {
  const { requiredDuringSchedulingIgnoredDuringExecution: required } = spec?.affinity?.nodeAffinity ?? {};
  return required?.nodeSelectorTerms[0]?.matchFields?.[0]?.values?.[0];
}
