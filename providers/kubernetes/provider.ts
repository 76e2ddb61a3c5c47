import type { Held } from '../../model/change.ts';
import type { ObjectTarget } from '../../model/target.ts';
import type { InstanceProvider, Release } from '../instance.ts';
import { assess } from './assess.ts';
import { Cluster, type ClusterConfig } from './cluster.ts';
import { PodEvidence } from './evidence.ts';
import { PROTECTED_LABELS } from './health.ts';
import { hold } from './hold.ts';
import { PODS, type Ref } from './objects.ts';
import { release } from './release.ts';
import { replace } from './replace.ts';
import { restore } from './restore.ts';
import { cut } from './traffic.ts';
import { verify } from './verify.ts';
import { Watches } from './watch.ts';

/** What acts on the pods of one cluster: its connections and its shared watches. */
export class Kubernetes {
  readonly cluster: Cluster;
  readonly watches: Watches;
  /** What the gates need to know of its pods. */
  readonly evidence: PodEvidence;
  readonly #protectedLabels: readonly string[];

  /** `protectedLabels`: `key` or `key=value`; pods that carry one are never touched. */
  constructor(config: ClusterConfig, protectedLabels: readonly string[] = PROTECTED_LABELS) {
    this.cluster = new Cluster(config);
    this.watches = new Watches(this.cluster);
    this.evidence = new PodEvidence(this.cluster);
    this.#protectedLabels = protectedLabels;
  }

  /** The Instance port for one pod. */
  pod({ namespace, name }: Pick<ObjectTarget, 'namespace' | 'name'>): InstanceProvider {
    const { cluster, watches } = this;
    const ref: Ref = { ...PODS, namespace, name };
    return {
      assess: (request) => assess(cluster, ref, request, this.#protectedLabels),
      cut: (request, attempt) => cut(cluster, ref, request, attempt),
      restore: (request, attempt) => restore(cluster, ref, request, attempt),
      hold: (request, pulse) => hold(cluster, watches, ref, request, pulse),
      replace: (request, pulse) => replace(cluster, ref, request, pulse),
      verify: (request, pulse) => verify(cluster, watches, ref, request, pulse),
    };
  }

  /** Gives back what is held on one pod, without its remediation. */
  release(
    { namespace, name }: Pick<ObjectTarget, 'namespace' | 'name'>,
    held: Held,
    dryRun: boolean,
  ): Promise<Release> {
    return release(this.cluster, { ...PODS, namespace, name }, held, dryRun);
  }

  async close(): Promise<void> {
    this.watches.close();
    await this.cluster.close();
  }
}
