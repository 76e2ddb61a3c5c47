import { parseTarget } from '../model/target.ts';
import { FinalError } from './errors.ts';
import type { InstanceProvider } from './instance.ts';
import type { ClusterConfig } from './kubernetes/cluster.ts';
import { Kubernetes } from './kubernetes/provider.ts';

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
  close(): Promise<void>;
}

/** Connects to the clusters in the background. */
export function createRegistry(config: WorldConfig): Registry {
  const clusters = new Map(
    (config.clusters ?? []).map((cluster) => [cluster.name, new Kubernetes(cluster, config.protectedLabels)]),
  );
  for (const { cluster } of clusters.values()) void cluster.warm();
  return {
    instance: (key) => {
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
      return cluster.pod(target);
    },
    close: async () => {
      await Promise.all([...clusters.values()].map((cluster) => cluster.close()));
    },
  };
}
