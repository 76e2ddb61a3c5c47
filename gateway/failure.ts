import { isGrpcServiceError, ServiceError } from '@temporalio/client';
import { NamespaceNotFoundError } from '@temporalio/common';

/** What a call to Temporal failed with. */
export interface Failure {
  /** gRPC status, e.g. `UNAVAILABLE`. */
  status: string;
  message: string;
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

export const isOutOfReach = ({ status }: Failure): boolean => OUT_OF_REACH.has(status);

/** What a call to Temporal failed with, for logs and counters. */
export function failureOf(error: unknown): Failure {
  if (error instanceof NamespaceNotFoundError) {
    return { status: 'NOT_FOUND', message: `the namespace ${error.namespace} does not exist` };
  }
  const cause = error instanceof ServiceError ? error.cause : error;
  if (isGrpcServiceError(cause)) return { status: STATUS[cause.code] ?? 'UNKNOWN', message: cause.message };
  return { status: 'UNKNOWN', message: error instanceof Error ? error.message : String(error) };
}
