import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  isGrpcServiceError,
  ServiceError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';

/** No worker has answered in time. What none has taken leaves nothing behind. */
export class UnansweredError extends Error {
  override readonly name = 'UnansweredError';
}

/** A workflow refused an update: nothing was done. The message is for people. */
export class RefusedUpdateError extends Error {
  override readonly name = 'RefusedUpdateError';
  /** As the workflow named it. */
  readonly type: string;

  constructor(message: string, { type, cause }: { type: string; cause?: unknown }) {
    super(message, { cause });
    this.type = type;
  }
}

/**
 * Asks a workflow that may just be ending or busy, and is started by being asked: again until it answers.
 *
 * @param ask an update with start, always by the same update ID, so that it is done once
 * @param within milliseconds
 * @throws UnansweredError, RefusedUpdateError
 */
export async function untilAnswered<T>(client: Client, ask: () => Promise<T>, within: number): Promise<T> {
  const deadline = Date.now() + within;
  for (;;) {
    try {
      return await answered(client, ask, deadline);
    } catch (error) {
      if (!isPassing(error) || Date.now() > deadline) throw error;
      await sleep(PAUSE);
    }
  }
}

/**
 * Asks once.
 *
 * @param deadline milliseconds since the epoch
 * @throws UnansweredError, RefusedUpdateError
 */
export async function answered<T>(client: Client, ask: () => Promise<T>, deadline: number): Promise<T> {
  try {
    return await client.withDeadline(deadline, ask);
  } catch (error) {
    if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
      throw new UnansweredError('no worker answered in time', { cause: error });
    }
    if (error instanceof WorkflowUpdateFailedError && !isPassing(error)) {
      const { cause } = error;
      const type = (cause instanceof ApplicationFailure && cause.type) || 'unknown';
      throw new RefusedUpdateError(cause?.message ?? error.message, { type, cause: error });
    }
    throw error;
  }
}

/**
 * An entity that has nothing left to remember ends, or it continues as new, and who asks in that moment must ask again; or it
 * has as many updates to answer as the server allows.
 */
export function isPassing(error: unknown): boolean {
  if (error instanceof WorkflowNotFoundError) return true;
  if (error instanceof WorkflowUpdateFailedError) {
    return error.cause instanceof ApplicationFailure && error.cause.type === 'AcceptedUpdateCompletedWorkflow';
  }
  const cause = error instanceof ServiceError ? (error.cause ?? error) : error;
  return isGrpcServiceError(cause) && PASSING.has(cause.code);
}

/** gRPC statuses: RESOURCE_EXHAUSTED, FAILED_PRECONDITION (its workflow task was discarded, for news came), ABORTED. */
const PASSING: ReadonlySet<number> = new Set([8, 9, 10]);

/** Milliseconds between two tries. */
const PAUSE = 100;
