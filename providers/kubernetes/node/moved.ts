import type { Owner } from '../../../model/ports/instance.ts';
import type { Cluster } from '../cluster.ts';
import { isStatus } from '../errors.ts';
import { controllerOf, isJob, isTrue } from '../health.ts';
import type { OwnerReference, Pod } from '../objects.ts';
import { above, keyOf, readController, replicasOf } from '../owner.ts';

/** Those whose replicas are counted again afterwards; and those of which that cannot be told, for people. */
export interface Moved {
  owners: Owner[];
  unknown: string[];
}

/**
 * The controllers of these pods as they stand. Of what is unready, that which is on this node counts as ready: it was
 * most likely ready before the node was sick, and is to be so again. Jobs have no replicas that could be counted.
 */
export async function movedWith(cluster: Cluster, pods: readonly Pod[]): Promise<Moved> {
  const byOwner = Map.groupBy(pods, ({ metadata }) => controllerOf(metadata)?.uid);
  const found = await Promise.all(
    [...byOwner].map(async ([uid, own]): Promise<Partial<{ owner: Owner; unknown: string }>> => {
      const namespace = own[0]?.metadata.namespace ?? '';
      const reference = own[0] && controllerOf(own[0].metadata);
      if (uid === undefined || !reference || isJob(reference)) return {};
      try {
        const owner = await ownerOf(cluster, namespace, reference, own);
        return owner ? { owner } : {};
      } catch (error) {
        if (!isStatus(error, 403)) throw error;
        return { unknown: keyOf(cluster.name, namespace, reference) };
      }
    }),
  );
  return { owners: found.flatMap(({ owner }) => owner ?? []), unknown: found.flatMap(({ unknown }) => unknown ?? []) };
}

/** Undefined where it is gone, or counts no replicas. */
async function ownerOf(
  cluster: Cluster,
  namespace: string,
  reference: OwnerReference,
  pods: readonly Pod[],
): Promise<Owner | undefined> {
  const controller = await readController(cluster, namespace, reference);
  if (typeof controller?.spec?.replicas !== 'number') return undefined;
  const { desired, ready } = replicasOf(controller);
  const unreadyHere = pods.filter((pod) => !isTrue(pod, 'Ready')).length;
  return {
    key: keyOf(cluster.name, namespace, reference),
    uid: reference.uid,
    desired,
    ready: Math.min(desired, ready + unreadyHere),
    workload: keyOf(cluster.name, namespace, above(reference, controller)),
  };
}
