import type { Batch } from '../model/request.ts';
import type { Courier } from './courier.ts';
import { type Failure, failureOf, isOutOfReach } from './failure.ts';
import type { GatewayMetrics } from './metrics.ts';

/** Milliseconds for all signals of one webhook: Alertmanager gives up after its `group_interval`, at least 10 s. */
const DELIVERY_WITHIN = 7_000;
/** Batches under way at once, per webhook. */
const AT_ONCE = 50;

export interface Delivery {
  taken: Batch[];
  /** Batches that Temporal did not take, or may have taken without an answer. */
  undelivered: Batch[];
  /** The first failure. */
  failure?: Failure;
}

/**
 * Hands every batch to its responder. Several batches travel at once; after the first failure that says that Temporal is
 * out of reach, no further one is sent, so a dead Temporal is told within the time of one signal. Handing over a batch
 * twice is harmless: responders coalesce.
 */
export async function deliver(courier: Courier, batches: Batch[], metrics: GatewayMetrics): Promise<Delivery> {
  const end = Date.now() + DELIVERY_WITHIN;
  const delivery: Delivery = { taken: [], undelivered: [] };
  const waiting = [...batches].reverse();
  let reachable = true;

  const send = async (batch: Batch): Promise<void> => {
    try {
      await courier.send(batch, end);
      delivery.taken.push(batch);
    } catch (error) {
      const failure = failureOf(error);
      delivery.undelivered.push(batch);
      delivery.failure ??= failure;
      metrics.temporalErrors.inc({ status: failure.status });
      if (isOutOfReach(failure)) reachable = false;
    }
  };
  const sendAll = async (): Promise<void> => {
    while (reachable) {
      const batch = waiting.pop();
      if (batch === undefined) return;
      await send(batch);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, sendAll));
  delivery.undelivered.push(...waiting);
  for (const { rule, requests } of delivery.taken) {
    metrics.alerts.inc({ rule: rule.name, result: 'accepted' }, requests.length);
  }
  for (const { rule, requests } of delivery.undelivered) {
    metrics.alerts.inc({ rule: rule.name, result: 'undelivered' }, requests.length);
  }
  return delivery;
}
