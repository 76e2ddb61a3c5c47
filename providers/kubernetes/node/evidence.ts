import type { TargetEvidence, WorkloadEvidence } from '../../../model/evidence.ts';
import { FinalError } from '../../errors.ts';
import type { EvidenceProvider, Looked } from '../../evidence.ts';
import { patiently } from '../../patience.ts';
import { Recent } from '../../recent.ts';
import type { Cluster } from '../cluster.ts';
import { explain, isPassing } from '../errors.ts';
import { heldByAnother } from '../fields.ts';
import { exclusion, isTrue } from '../health.ts';
import { NODES, type Node } from '../objects.ts';
import { instanceIdOf, isControlPlane, nodeKey, nodeName, poolKey, poolSelector, serves } from './pool.ts';

/** How old what many responders share may be. What is asked right before a mutation is never shared. */
const SHARED_MS = 1_000;

/** What is kept of a node. */
interface Seen {
  name: string;
  key: string;
  pool: string;
  /** Counts in the population. */
  worker: boolean;
  healthy: boolean;
  serves: boolean;
  instanceId: string | undefined;
  excluded: string | undefined;
  held: string | undefined;
}

/**
 * The nodes of one cluster. The population are those that are not of the control plane. A pool's unready are its nodes
 * that are not Ready, that are cordoned by whomever, or of which Salvor holds something; what a group should have and has
 * not made yet, Kubernetes does not know.
 */
export class NodeEvidence implements EvidenceProvider {
  readonly #cluster: Cluster;
  readonly #nodes = new Recent<Map<string, Seen>>(SHARED_MS);

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async look(targets: readonly string[], suspects: readonly string[]): Promise<Looked> {
    let nodes: Map<string, Seen>;
    try {
      nodes = await this.#all();
    } catch (cause) {
      const error = explain(cause);
      return { targets: Object.fromEntries(targets.map((key) => [key, { error }])), workloads: {}, error };
    }
    const evidence = targets.map((key): [string, TargetEvidence] => {
      const node = nodes.get(key);
      return [key, { excluded: node?.excluded, held: node?.held, workload: node?.pool }];
    });
    const pools = new Set(targets.flatMap((key) => nodes.get(key)?.pool ?? []));
    const workers = [...nodes.values()].filter(({ worker }) => worker);
    const suspected = new Set(suspects);
    return {
      targets: Object.fromEntries(evidence),
      workloads: Object.fromEntries([...pools].map((pool) => [pool, evidenceOf(pool, [...nodes.values()])])),
      population: {
        live: workers.length,
        unhealthy: workers.filter(({ key, healthy }) => !healthy || suspected.has(key)).length,
      },
    };
  }

  async workload(target: string, workload: string): Promise<WorkloadEvidence> {
    const node = await this.#cluster.get<Node>({ ...NODES, name: nodeName(target) });
    // The label of the target's pool finds the others; where it is gone, or in another pool by now, only all do.
    const same = node && poolKey(this.#cluster.name, node.metadata) === workload;
    const { items } = await this.#cluster.list<Node>(NODES, undefined, same ? poolSelector(node.metadata) : undefined);
    const evidence = evidenceOf(
      workload,
      items.map((one) => this.#see(one)),
    );
    if (evidence.desired === 0)
      throw new FinalError(`the node pool ${workload} of ${target} has no nodes any more`, { type: 'Replaced' });
    return evidence;
  }

  async excluded(target: string): Promise<string | undefined> {
    const node = await this.#cluster.get<Node>({ ...NODES, name: nodeName(target) });
    return exclusion(node?.metadata, undefined);
  }

  /** Name of the node that runs on this machine; undefined where none does. @throws what the API answers */
  async byInstance(instanceId: string): Promise<string | undefined> {
    for (const node of (await this.#all()).values()) if (node.instanceId === instanceId) return node.name;
    return undefined;
  }

  /** By key. */
  #all(): Promise<Map<string, Seen>> {
    return this.#nodes.get('', async () => {
      const { items } = await patiently(() => this.#cluster.list<Node>(NODES), isPassing);
      return new Map(items.map((node) => this.#see(node)).map((seen) => [seen.key, seen]));
    });
  }

  #see(node: Node): Seen {
    const { metadata } = node;
    return {
      name: metadata.name,
      key: nodeKey(this.#cluster.name, metadata.name),
      pool: poolKey(this.#cluster.name, metadata),
      worker: !isControlPlane(metadata),
      healthy: isTrue(node, 'Ready'),
      serves: serves(node),
      instanceId: instanceIdOf(node.spec),
      excluded: exclusion(metadata, undefined),
      held: heldByAnother(metadata, ''),
    };
  }
}

function evidenceOf(pool: string, nodes: readonly Seen[]): WorkloadEvidence {
  const own = nodes.filter((node) => node.pool === pool);
  return { desired: own.length, unready: own.filter((node) => !node.serves).map(({ key }) => key) };
}
