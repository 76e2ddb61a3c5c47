import type { Logger } from 'pino';
import type { Delivery } from './deliver.ts';
import type { Problem, Sorted } from './webhook.ts';

/** Problems told one by one; the rest is counted. */
const MAX_PROBLEMS = 100;

/** The answer to a webhook that could be read. */
export interface Answer {
  /** Requests that Temporal has taken: they survive whatever comes. */
  accepted: number;
  dropped: number;
  unmatched: number;
  truncated: number;
  problems: Problem[];
  problemsLeftOff?: number;
  /** Requests that Temporal did not take; with them the answer is 503 and the group should be delivered again. */
  undelivered?: number;
  error?: string;
}

export function answerOf({ dropped, unmatched, truncated, problems }: Sorted, delivery: Delivery): Answer {
  const undelivered = requestsOf(delivery.undelivered);
  return {
    ...(undelivered > 0 && {
      error: 'Temporal did not take every alert. Deliver the group again: what was taken is not done twice.',
      undelivered,
    }),
    accepted: requestsOf(delivery.taken),
    dropped,
    unmatched,
    truncated,
    problems: problems.slice(0, MAX_PROBLEMS),
    ...(problems.length > MAX_PROBLEMS && { problemsLeftOff: problems.length - MAX_PROBLEMS }),
  };
}

/** One line for each delivery. */
export function logDelivery(log: Logger, sorted: Sorted, delivery: Delivery, ms: number): void {
  const fields = {
    receiver: sorted.receiver.slice(0, 100),
    alerts: sorted.alerts,
    accepted: requestsOf(delivery.taken),
    signals: delivery.taken.length,
    dropped: sorted.dropped,
    unmatched: sorted.unmatched,
    ...(sorted.truncated > 0 && { truncated: sorted.truncated }),
    ...(sorted.problems.length > 0 && { problems: sorted.problems.slice(0, 3), bad: sorted.problems.length }),
    ms: Math.round(ms),
  };
  if (delivery.undelivered.length > 0) {
    const undelivered = requestsOf(delivery.undelivered);
    log.error(
      { ...fields, undelivered, temporal: delivery.failure },
      'webhook not taken by Temporal: answered 503, so that Alertmanager delivers it again',
    );
  } else if (sorted.problems.length > 0 || sorted.truncated > 0) {
    log.warn(fields, 'webhook accepted, not all of it');
  } else {
    log.info(fields, 'webhook accepted');
  }
}

const requestsOf = (batches: Delivery['taken']): number =>
  batches.reduce((sum, { requests }) => sum + requests.length, 0);
