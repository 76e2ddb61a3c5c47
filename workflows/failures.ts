import { ActivityFailure, ApplicationFailure, rootCause, workflowInfo } from '@temporalio/workflow';
import { NOT_CLEARED, type Objection } from '../model/clearance.ts';

/** The message of what really went wrong, without the layers around it. */
export function explain(error: unknown): string {
  return rootCause(error) ?? String(error);
}

/** The type that an activity gave to its error, if it is one. */
export function failureType(error: unknown): string | undefined {
  return applicationFailure(error)?.type ?? undefined;
}

/** Why a mutation was not cleared, where that is what the error says; and the attempt at it that was not, from 1. */
export function objectionOf(error: unknown): { objection: Objection; attempt: number } | undefined {
  const cause = applicationFailure(error);
  if (cause?.type !== NOT_CLEARED) return undefined;
  const [objection, attempt] = cause.details as [Objection, number];
  return { objection, attempt };
}

/**
 * A change that was not cleared, and of which nothing can have been made: by no earlier attempt, and by no run of which this
 * one is a reset.
 */
export function isUntouched(error: unknown): boolean {
  const { runId, firstExecutionRunId } = workflowInfo();
  return objectionOf(error)?.attempt === 1 && runId === firstExecutionRunId;
}

function applicationFailure(error: unknown): ApplicationFailure | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof ApplicationFailure ? cause : undefined;
}
