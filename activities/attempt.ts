import { Context } from '@temporalio/activity';
import { ActivityCancelledError, type Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { AuditPage } from '../model/audit.ts';
import { type ClearanceRequest, NOT_CLEARED, type Objection } from '../model/clearance.ts';
import type { Attempt, Pulse } from '../providers/instance.ts';
import { RETRYABLE } from './errors.ts';

/** What the activities of all ports share: attempts that still count, pulses, clearance. */

/**
 * Asks Temporal whether the attempt of this task token is still the one that counts; `details` are what the next attempt
 * is to be told. Anything but a plain success throws.
 */
export type Fence = (taskToken: Uint8Array, details: unknown) => Promise<void>;

/** Without an answer for so long, the attempt gives up: it holds nothing that the next could not take up. */
const FENCE_MS = 5_000;

/** Within this time a worker learns of a cancel too: with the answer to a heartbeat, held back for 3 s at most. */
const CANCEL_MS = 8_000;

/** A heartbeat through the client: unlike the activity's own, it is sent at once and its answer is awaited. */
export const fenceOf =
  (client: Client): Fence =>
  (taskToken, details) =>
    client.withDeadline(Date.now() + FENCE_MS, () => client.activity.heartbeat(taskToken, details));

/** Puts on record what is about to be done. Never throws, and does not take long: healing goes on without a record. */
export type Announce = (page: AuditPage) => Promise<void>;

/** Asks whether it is the time to mutate: paused, excluded, a storm, a budget; an objection, or nothing. */
export type Clear = (request: ClearanceRequest) => Promise<Objection | undefined>;

/** `details`: the latest that the attempt has to remember. */
export function attempt(fence: Fence, details: () => unknown = () => undefined): Attempt {
  const context = Context.current();
  const { info } = context;
  return {
    since: info.scheduledTimestampMs,
    // Half of the time that Temporal gives the first attempt: the other half is for clocks that differ.
    aloneUntil:
      info.attempt === 1 && !info.heartbeatTimeoutMs ? info.scheduledTimestampMs + info.startToCloseTimeoutMs / 2 : 0,
    stillMine: async () => {
      try {
        await fence(info.taskToken, details());
      } catch (error) {
        if (error instanceof ActivityCancelledError) {
          // An attempt can end as cancelled only once its worker knows: this throws the CancelledFailure then.
          context.heartbeat(details());
          await context.sleep(CANCEL_MS);
        }
        throw notMine(error);
      }
    },
  };
}

/** A wait lives by the activity's heartbeats, and ends with its CancelledFailure. */
export function pulse(fence: Fence): Pulse {
  const context = Context.current();
  let latest: unknown = context.info.heartbeatDetails;
  return {
    ...attempt(fence, () => latest),
    signal: context.cancellationSignal,
    last: context.info.heartbeatDetails,
    isCancelled: () => context.cancellationDetails?.cancelRequested ?? false,
    beat: (details) => {
      latest = details;
      context.heartbeat(details);
    },
  };
}

/** Final; the second detail is the attempt, for only of a first one it is certain that nothing has been done. */
export const notCleared = (objection: Objection): ApplicationFailure =>
  ApplicationFailure.create({
    message: objection.reason,
    type: NOT_CLEARED,
    nonRetryable: true,
    details: [objection, Context.current().info.attempt],
  });

function notMine(error: unknown): ApplicationFailure {
  const cause = error instanceof Error ? error : new Error(String(error));
  return ApplicationFailure.create({
    message: `stopped before it changed anything more: Temporal does not confirm that this attempt still counts: ${cause.message}`,
    type: RETRYABLE.notMine,
    nonRetryable: false,
    cause,
  });
}
