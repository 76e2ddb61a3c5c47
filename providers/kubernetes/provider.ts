import type { Held } from '../../model/change.ts';
import type { NodeTarget, ObjectTarget } from '../../model/target.ts';
import type { Check } from '../checks.ts';
import { UnavailableError } from '../errors.ts';
import type { HeldOn, InstanceProvider, Release } from '../instance.ts';
import type { Machines } from '../machines.ts';
import type { ScalableProvider } from '../scalable.ts';
import { assess } from './assess.ts';
import { Cluster, type ClusterConfig } from './cluster.ts';
import { isStatus } from './errors.ts';
import { PodEvidence } from './evidence.ts';
import { PROTECTED_LABELS } from './health.ts';
import { hold } from './hold.ts';
import { assess as assessNode } from './node/assess.ts';
import { NodeEvidence } from './node/evidence.ts';
import { hold as holdNode } from './node/hold.ts';
import { replace as replaceNode } from './node/replace.ts';
import { verify as verifyNode } from './node/verify.ts';
import { NODES, PODS, type Ref } from './objects.ts';
import { findHeld, release } from './release.ts';
import { replace } from './replace.ts';
import { restore } from './restore.ts';
import { ScaleEvidence } from './scale/evidence.ts';
import { scalable } from './scale/provider.ts';
import { findHeldSizes, releaseSize } from './scale/release.ts';
import { cut } from './traffic.ts';
import { verify } from './verify.ts';
import { Watches } from './watch.ts';

/** What is not of the cluster itself. */
export interface Means {
  /** `key` or `key=value`; pods that carry one are never touched. */
  protectedLabels?: readonly string[];
  /** Makes the checks of rules; without it a rule that has some can be told nothing. */
  check?: Check;
  /** The machines under its nodes; without it none is terminated. */
  machines?: Machines;
}

const noCheck: Check = async () => {
  throw new UnavailableError('the checks of the rule cannot be made here: nothing that makes them is set up');
};

/** What acts on the pods and nodes of one cluster: its connections and its shared watches. */
export class Kubernetes {
  readonly cluster: Cluster;
  readonly watches: Watches;
  /** What the gates need to know of its pods. */
  readonly evidence: PodEvidence;
  /** The same of its nodes. */
  readonly nodeEvidence: NodeEvidence;
  /** The same of its workloads that are scaled. */
  readonly scaleEvidence: ScaleEvidence;
  readonly #means: Means;

  constructor(config: ClusterConfig, means: Means = {}) {
    this.cluster = new Cluster(config);
    this.watches = new Watches(this.cluster);
    this.evidence = new PodEvidence(this.cluster);
    this.nodeEvidence = new NodeEvidence(this.cluster);
    this.scaleEvidence = new ScaleEvidence(this.cluster);
    this.#means = means;
  }

  /** The Instance port for one pod. */
  pod({ namespace, name }: Pick<ObjectTarget, 'namespace' | 'name'>): InstanceProvider {
    const { cluster, watches } = this;
    const { protectedLabels = PROTECTED_LABELS, check = noCheck } = this.#means;
    const ref: Ref = { ...PODS, namespace, name };
    return {
      assess: (request) => assess(cluster, ref, request, protectedLabels, check),
      cut: (request, attempt) => cut(cluster, ref, request, attempt),
      restore: (request, attempt) => restore(cluster, ref, request, attempt),
      hold: (request, pulse) => hold(cluster, watches, ref, request, pulse, check),
      replace: (request, pulse) => replace(cluster, ref, request, pulse, protectedLabels),
      verify: (request, pulse) => verify(cluster, watches, ref, request, pulse),
    };
  }

  /** The Instance port for one node. */
  node({ name }: Pick<NodeTarget, 'name'>): InstanceProvider {
    const { cluster, watches } = this;
    const { protectedLabels = PROTECTED_LABELS, check = noCheck, machines } = this.#means;
    const ref: Ref = { ...NODES, name };
    return {
      assess: (request) => assessNode(cluster, ref, request, { protectedLabels, check, machines }),
      cut: (request, attempt) => cut(cluster, ref, request, attempt),
      restore: (request, attempt) => restore(cluster, ref, request, attempt),
      hold: (request, pulse) => holdNode(cluster, watches, ref, request, pulse, check),
      replace: (request, pulse) => replaceNode(cluster, ref, request, pulse, { protectedLabels, machines, check }),
      verify: (request, pulse) => verifyNode(cluster, watches, ref, request, pulse, machines),
    };
  }

  /** The Scalable port for one workload, of any kind with a scale subresource. */
  scalable(target: ObjectTarget): ScalableProvider {
    return scalable(this.cluster, target, this.#means.protectedLabels ?? PROTECTED_LABELS);
  }

  /** Name of the node that runs on this machine; undefined where none does. @throws what the API answers */
  nodeOf(instanceId: string): Promise<string | undefined> {
    return this.nodeEvidence.byInstance(instanceId);
  }

  /** Gives back what is held on one pod, node or workload (or on what scales it), without its remediation. */
  release(target: ObjectTarget | NodeTarget, held: Held, dryRun: boolean): Promise<Release> {
    const { name } = target;
    if (target.type === 'k8s' && (target.kind !== 'pod' || target.group !== undefined))
      return releaseSize(this.cluster, held, dryRun);
    const ref: Ref = target.type === 'node' ? { ...NODES, name } : { ...PODS, namespace: target.namespace, name };
    return release(this.cluster, ref, held, dryRun);
  }

  /** What its pods, nodes and workloads, and what scales those, say is held on them. */
  async find(): Promise<HeldOn[]> {
    const found = await Promise.all([
      findHeld(this.cluster, PODS),
      findHeld(this.cluster, NODES).catch((error: unknown) => {
        // Who may not list nodes has cordoned none.
        if (isStatus(error, 403)) return [];
        throw error;
      }),
      findHeldSizes(this.cluster),
    ]);
    return found.flat();
  }

  async close(): Promise<void> {
    this.watches.close();
    await this.cluster.close();
  }
}
