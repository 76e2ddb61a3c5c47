import { ApplicationFailure } from '@temporalio/common';
import { InputError } from '../model/input-error.ts';
import { INSTANCE_ERRORS } from '../model/ports/instance.ts';
import { FinalError, UnavailableError } from '../providers/errors.ts';
import { ApiError, rbacRule } from '../providers/kubernetes/errors.ts';

/** Retryable types: what was the matter with the last try. */
export const RETRYABLE = {
  conflict: 'Conflict',
  throttled: 'Throttled',
  unavailable: 'Unavailable',
  /** The credentials are not accepted: they may have expired, and be renewed. */
  unauthenticated: 'Unauthenticated',
  /** Temporal does not confirm that the attempt still counts. */
  notMine: 'NotMine',
} as const;

/** What an activity throws for an error of a provider: an ApplicationFailure with its type, final or to be tried again. */
export function asFailure(error: unknown): unknown {
  if (error instanceof FinalError) return final(error.type, error.message);
  if (error instanceof InputError) return final(INSTANCE_ERRORS.unknownTarget, error.message);
  if (error instanceof UnavailableError) return ApplicationFailure.retryable(error.message, RETRYABLE.unavailable);
  if (error instanceof ApiError) return ofStatus(error);
  return error;
}

/**
 * The same for an undo, which is tried on: a missing right may be granted again, and another worker may know the cluster
 * that this one does not. Only what nobody but a person can decide is final.
 */
export function asUndoFailure(error: unknown): unknown {
  const failure = asFailure(error);
  if (!(failure instanceof ApplicationFailure) || !failure.nonRetryable) return failure;
  if (failure.type === INSTANCE_ERRORS.contested) return failure;
  return ApplicationFailure.retryable(failure.message, failure.type);
}

/** What a provider throws becomes what an activity throws. */
export async function told<T>(act: () => Promise<T>, failure: (error: unknown) => unknown = asFailure): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw failure(error);
  }
}

const final = (type: string, message: string) => ApplicationFailure.nonRetryable(message, type);

function ofStatus(error: ApiError): ApplicationFailure {
  const { status, message, asked } = error;
  switch (status) {
    case 401:
      return ApplicationFailure.retryable(
        `${message}. Salvor's credentials for cluster ${asked.cluster} are not accepted: renew them; they are read anew for each try`,
        RETRYABLE.unauthenticated,
      );
    case 403:
      return final(
        INSTANCE_ERRORS.forbidden,
        `${message}. Grant it to Salvor in a role with the rule { ${rbacRule(asked)} }`,
      );
    case 400:
    case 422:
      return final(INSTANCE_ERRORS.invalid, message);
    case 409:
      return ApplicationFailure.retryable(message, RETRYABLE.conflict);
    case 429:
      return ApplicationFailure.create({
        message,
        type: RETRYABLE.throttled,
        nonRetryable: false,
        ...(error.retryAfter !== undefined && { nextRetryDelay: error.retryAfter }),
      });
    default:
      return ApplicationFailure.retryable(message, RETRYABLE.unavailable);
  }
}
