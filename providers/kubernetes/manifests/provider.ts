import type { ManifestsStack, Stack } from '../../../model/drift/options.ts';
import type { DesiredStateProvider } from '../../desired-state.ts';
import type { Cluster } from '../cluster.ts';
import { compare, type Means } from './compare.ts';
import { revert } from './revert.ts';

/** The DesiredState port for a stack of manifests. */
export function manifests(cluster: Cluster, stack: Stack, options: ManifestsStack): DesiredStateProvider {
  const means: Means = { cluster, stack, options };
  return {
    compare: (request, drift) => compare(means, request, drift),
    revert: (request, drift) => revert(means, request, drift),
  };
}
