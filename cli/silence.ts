import { isGrpcServiceError, ServiceError } from '@temporalio/client';

/** gRPC CANCELLED, DEADLINE_EXCEEDED, FAILED_PRECONDITION (no poller seen lately). */
const UNANSWERED: ReadonlySet<number> = new Set([1, 4, 9]);

/** Whether a query failed because no worker answered it in time. */
export function isUnanswered(error: unknown): boolean {
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) && UNANSWERED.has(cause.code);
}
