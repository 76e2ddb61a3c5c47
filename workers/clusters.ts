import { Cluster, type ClusterConfig } from '../providers/kubernetes/cluster.ts';
import type { Ref } from '../providers/kubernetes/objects.ts';
import type { Logger } from './logging.ts';

const VERSION: Ref = { group: '', version: '', resource: '(version)' };

/**
 * Asks each cluster of the configuration once, so that a wrong kubeconfig is noticed now and not by the first alert: what
 * does not answer is logged, one line each, and changes nothing else. A cluster that is down now may be up by then.
 */
export async function tryClusters(clusters: readonly ClusterConfig[], log: Logger): Promise<void> {
  await Promise.all(
    clusters.map(async (config) => {
      const cluster = new Cluster(config);
      try {
        await cluster.read(VERSION, '/version');
      } catch (error) {
        const { name, kubeconfig, context } = config;
        const reason = error instanceof Error ? error.message : String(error);
        log.error(
          { cluster: name, kubeconfig, context, reason },
          'the cluster cannot be used as it is configured: its alerts will be tried, and fail, until that is mended',
        );
      } finally {
        await cluster.close();
      }
    }),
  );
}
