import type { HoldRequest, HoldResult } from '../../../model/ports/instance.ts';
import type { Check } from '../../checks.ts';
import type { Pulse } from '../../instance.ts';
import type { Cluster } from '../cluster.ts';
import { holdFollowed } from '../hold.ts';
import type { Ref } from '../objects.ts';
import type { Watches } from '../watch.ts';
import { NODE } from './health.ts';
import { NODES_WATCHED } from './watched.ts';

/**
 * Waits until the node has been healthy for `stableFor`, and uncordons it where it was Salvor that cordoned it; or until
 * the deadline, or until it is gone. It is out since its cordon, whoever cordoned it.
 */
export function hold(
  cluster: Cluster,
  watches: Watches,
  ref: Ref,
  request: HoldRequest,
  pulse: Pulse,
  check: Check,
): Promise<HoldResult> {
  return holdFollowed({ cluster, ref, request, pulse, check, kind: NODE }, async (wait) => {
    const pods = await watches.follow(NODES_WATCHED, pulse.signal);
    try {
      return await wait({ pods, isOut: (node) => node?.spec?.unschedulable === true });
    } finally {
      pods.release();
    }
  });
}
