import {
  ActivityCancellationType,
  type ActivityInterfaceFor,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow';
import { ownWatchQueue } from '../waits.ts';

/** How the steps of every runbook are called; each takes what Temporal's UI shows of it. */

export const MINUTE = 60_000;
export const DAY = 1_440 * MINUTE;

const WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
const RETRY = { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' } as const;

/** A short read. */
export const reading = <A>(summary: string): ActivityInterfaceFor<A> =>
  proxyLocalActivities<A>({
    summary,
    startToCloseTimeout: '10 seconds',
    // Beyond it a retry waits by a timer of the server, so that no worker has to keep its task open.
    localRetryThreshold: '2 seconds',
    scheduleToCloseTimeout: '5 minutes',
    retry: RETRY,
  });

export const changing = <A>(summary: string): ActivityInterfaceFor<A> =>
  proxyActivities<A>({
    summary,
    startToCloseTimeout: '20 seconds',
    scheduleToCloseTimeout: '5 minutes',
    cancellationType: WAIT,
    retry: RETRY,
  });

/** An undo is tried for a day: giving up leaves somebody else's traffic cut, or a size that nobody wants. */
export const undoing = <A>(summary: string, ms = DAY): ActivityInterfaceFor<A> =>
  proxyActivities<A>({
    summary,
    startToCloseTimeout: '20 seconds',
    scheduleToCloseTimeout: ms,
    retry: { ...RETRY, maximumInterval: '1 minute' },
  });

/**
 * Waits run on a queue of their own, and are noticed dead within ten seconds.
 *
 * @param ms how long the wait itself may take
 */
export const waiting = <A>(summary: string, ms: number): ActivityInterfaceFor<A> =>
  proxyActivities<A>({
    summary,
    taskQueue: ownWatchQueue(),
    scheduleToCloseTimeout: ms + 10 * MINUTE,
    heartbeatTimeout: '10 seconds',
    cancellationType: WAIT,
    retry: RETRY,
  });
