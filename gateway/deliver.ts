import { type Client, isGrpcServiceError, ServiceError } from '@temporalio/client';
import { NamespaceNotFoundError } from '@temporalio/common';
import { MESSAGE, responderId, WORKFLOW } from '../model/names.ts';
import type { Batch } from '../model/request.ts';
import type { ResponderInput } from '../model/responder.ts';
import type { GatewayMetrics } from './metrics.ts';

/** Milliseconds that Temporal has for one signal, retries of the client included; where it refuses connections, fewer. */
const SIGNAL_WITHIN = 5_000;
/** Milliseconds for all signals of one webhook: Alertmanager gives up after its `group_interval`, at least 10 s. */
const DELIVERY_WITHIN = 7_000;
/** Signals under way at once, per webhook. */
const AT_ONCE = 50;

export interface Delivery {
  taken: Batch[];
  /** Batches that Temporal did not take, or may have taken without an answer. */
  undelivered: Batch[];
  /** The first failure. */
  failure?: Failure;
}

export interface Failure {
  /** gRPC status, e.g. `UNAVAILABLE`. */
  status: string;
  message: string;
}

/**
 * Hands every batch to its responder, each in ONE signal that also starts the responder where none runs. Several batches
 * travel at once; after the first failure that says that Temporal is out of reach, no further one is sent, so a dead
 * Temporal is told within {@link SIGNAL_WITHIN}. Handing over a batch twice is harmless: responders coalesce.
 */
export async function deliver(
  client: Client,
  taskQueue: string,
  batches: Batch[],
  metrics: GatewayMetrics,
): Promise<Delivery> {
  const end = Date.now() + DELIVERY_WITHIN;
  const delivery: Delivery = { taken: [], undelivered: [] };
  const waiting = [...batches].reverse();
  let reachable = true;

  const send = async (batch: Batch): Promise<void> => {
    const stop = metrics.signalSeconds.startTimer();
    try {
      await client.withDeadline(Math.min(Date.now() + SIGNAL_WITHIN, end), () => signal(client, taskQueue, batch));
      delivery.taken.push(batch);
      metrics.batches.inc({ rule: batch.rule.name });
    } catch (error) {
      const failure = failureOf(error);
      delivery.undelivered.push(batch);
      delivery.failure ??= failure;
      metrics.temporalErrors.inc({ status: failure.status });
      if (OUT_OF_REACH.has(failure.status)) reachable = false;
    } finally {
      stop();
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

async function signal(client: Client, taskQueue: string, batch: Batch): Promise<void> {
  const input: ResponderInput = { rule: batch.rule.name, scope: batch.scope };
  await client.workflow.signalWithStart(WORKFLOW.responder, {
    workflowId: responderId(batch.rule.name, batch.scope),
    taskQueue,
    args: [input],
    staticSummary: `${batch.rule.name} in ${batch.scope}`,
    signal: MESSAGE.alerts,
    signalArgs: [batch],
  });
}

/** gRPC statuses by their number, https://grpc.io/docs/guides/status-codes/ */
const STATUS = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

/** What fails one signal so, fails the next one too. */
const OUT_OF_REACH: ReadonlySet<string> = new Set([
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'NOT_FOUND',
]);

/** What a call to Temporal failed with, for logs and counters. */
export function failureOf(error: unknown): Failure {
  if (error instanceof NamespaceNotFoundError) {
    return { status: 'NOT_FOUND', message: `the namespace ${error.namespace} does not exist` };
  }
  const cause = error instanceof ServiceError ? error.cause : error;
  if (isGrpcServiceError(cause)) return { status: STATUS[cause.code] ?? 'UNKNOWN', message: cause.message };
  return { status: 'UNKNOWN', message: error instanceof Error ? error.message : String(error) };
}
