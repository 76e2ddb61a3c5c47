import type { Held } from '../model/change.ts';
import { type ObjectTarget, parseTarget } from '../model/target.ts';
import { FinalError } from './errors.ts';
import type { EvidenceProvider } from './evidence.ts';
import type { HeldOn, InstanceProvider, Release } from './instance.ts';
import type { ClusterConfig } from './kubernetes/cluster.ts';
import { Kubernetes } from './kubernetes/provider.ts';
import { findHeld } from './kubernetes/release.ts';

/** What of `salvor.yaml` names the world that the providers reach. */
export interface WorldConfig {
  clusters?: readonly ClusterConfig[];
  /** Labels (`key` or `key=value`) of what is never a target; by default what Salvor and Temporal run on. */
  protectedLabels?: readonly string[];
}

/** The providers behind the ports, by target. One per process: connections and watches are shared. */
export interface Registry {
  /** @throws FinalError `UnknownTarget` where no configured provider has such an instance; InputError for no target */
  instance(target: string): InstanceProvider;
  /** One for all targets of a cluster or account. @throws as {@link Registry.instance} does */
  evidence(target: string): EvidenceProvider;
  close(): Promise<void>;
}

/** A registry that also knows what is held, for a person who gives it back without the remediations. */
export interface HoldingRegistry extends Registry {
  /** Where objects themselves say what is held on them. */
  places(): Place[];
  /**
   * Gives back one held field; a dry run says what would be done, and touches nothing.
   *
   * @throws as {@link Registry.instance} does; what the API answers, where it refuses or is silent
   */
  release(held: Held, dryRun: boolean): Promise<Release>;
}

/** A cluster, or whatever else has objects that can say what is held on them. */
export interface Place {
  /** For people: `cluster prod`. */
  name: string;
  /** The beginning of the keys of all its objects: `k8s/prod/`. */
  prefix: string;
  /** Rejects where it does not answer. */
  find(): Promise<HeldOn[]>;
}

/** Connects to the clusters in the background. */
export function createRegistry(config: WorldConfig): HoldingRegistry {
  const clusters = new Map(
    (config.clusters ?? []).map((cluster) => [cluster.name, new Kubernetes(cluster, config.protectedLabels)]),
  );
  for (const { cluster } of clusters.values()) void cluster.warm();
  const podOf = (key: string): { cluster: Kubernetes; target: ObjectTarget } => {
    const target = parseTarget(key);
    if (target.type !== 'k8s' || target.kind !== 'pod' || target.group !== undefined)
      throw new FinalError(`${key} is not an instance that can be drained: only pods are, as yet`, {
        type: 'UnknownTarget',
      });
    const cluster = clusters.get(target.cluster);
    if (!cluster) {
      const known = [...clusters.keys()].join(', ') || 'none';
      throw new FinalError(`${key}: no cluster "${target.cluster}" is configured (clusters: ${known})`, {
        type: 'UnknownTarget',
      });
    }
    return { cluster, target };
  };
  return {
    instance: (key) => {
      const { cluster, target } = podOf(key);
      return cluster.pod(target);
    },
    evidence: (key) => podOf(key).cluster.evidence,
    places: () =>
      [...clusters].map(([name, { cluster }]) => ({
        name: `cluster ${name}`,
        prefix: `k8s/${name}/`,
        find: () => findHeld(cluster),
      })),
    release: async (held, dryRun) => {
      const { cluster, target } = podOf(held.object.key);
      return cluster.release(target, held, dryRun);
    },
    close: async () => {
      await Promise.all([...clusters.values()].map((cluster) => cluster.close()));
    },
  };
}
