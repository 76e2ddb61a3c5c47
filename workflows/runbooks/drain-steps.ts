import {
  ActivityCancellationType,
  type ActivityInterfaceFor,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow';
import type { Change } from '../../model/change.ts';
import type { Assessment, CutRequest, InstancePort, Owner, VerifyResult } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import type { Life } from '../life.ts';
import { ownWatchQueue } from '../waits.ts';
import { wordsOf } from './drain-words.ts';

export type Sick = Extract<Assessment, { verdict: 'sick' }>;

const WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
const RETRY = { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' } as const;

const { assess } = proxyLocalActivities<InstancePort>({
  summary: 'look at its live state',
  startToCloseTimeout: '10 seconds',
  // Beyond it a retry waits by a timer of the server, so that no worker has to keep its task open.
  localRetryThreshold: '2 seconds',
  scheduleToCloseTimeout: '5 minutes',
  retry: RETRY,
});

export const cutting = (summary: string): InstancePort['cut'] =>
  proxyActivities<InstancePort>({
    summary,
    startToCloseTimeout: '20 seconds',
    scheduleToCloseTimeout: '5 minutes',
    cancellationType: WAIT,
    retry: RETRY,
  }).cut;

/** An undo is tried for a day: giving up leaves somebody else's traffic cut. */
const restoring = (summary: string): InstancePort['restore'] =>
  proxyActivities<InstancePort>({
    summary,
    startToCloseTimeout: '20 seconds',
    scheduleToCloseTimeout: '1 day',
    retry: { ...RETRY, maximumInterval: '1 minute' },
  }).restore;

export const MINUTE = 60_000;

/**
 * Waits run on a queue of their own, and are noticed dead within ten seconds.
 *
 * @param summary what is waited for, as Temporal's UI shows it
 * @param ms how long the wait itself may take
 */
export function waiting<A = InstancePort>(summary: string, ms: number): ActivityInterfaceFor<A> {
  return proxyActivities<A>({
    summary,
    taskQueue: ownWatchQueue(),
    scheduleToCloseTimeout: ms + 10 * MINUTE,
    heartbeatTimeout: '10 seconds',
    cancellationType: WAIT,
    retry: RETRY,
  });
}

export const look = (life: Life<'drain-instance'>, uid?: string): Promise<Assessment> => {
  const { target, rule } = life.input;
  return assess({ target, options: rule.with, actor: life.actor, uid });
};

export const describe = ({ verdict, why }: Assessment): string => `${verdict}: ${why}`;

/** Nothing was done yet, and nothing is to be done. */
export const leftAlone = (life: Life<'drain-instance'>, { verdict, why }: Exclude<Assessment, Sick>): Ending =>
  life.end(verdict === 'protected' ? 'refused' : 'not-needed', why);

export const giveBack = (life: Life<'drain-instance'>, request: CutRequest): Promise<Change[]> =>
  restoring(wordsOf(life).back)({ ...request, step: 'restore' });

/** Healthy, or not to be touched any more: give the traffic back and end. */
export async function undone(
  life: Life<'drain-instance'>,
  request: CutRequest,
  now: Pick<Exclude<Assessment, Sick>, 'verdict' | 'why'>,
): Promise<Ending> {
  if (request.held.length > 0) life.record(await giveBack(life, request));
  life.released();
  return life.end(now.verdict === 'protected' ? 'refused' : 'recovered', now.why);
}

interface Replaced {
  /** What was done. */
  why: string;
  owner: Owner;
  moved?: Owner[];
  options?: DrainInstanceOptions;
}

/** Waits until what replaces it serves. */
export async function verified(
  life: Life<'drain-instance'>,
  { instance, held }: CutRequest,
  { why, owner, moved = [], options = life.input.rule.with }: Replaced,
): Promise<VerifyResult> {
  const { verifyWithin } = options;
  const deadline = life.in(verifyWithin);
  const { toSee } = wordsOf(life);
  life.phase('verify', why, { what: `see ${toSee}`, until: deadline });
  const seen = await waiting('wait for its replacement', verifyWithin).verify({
    ...{ actor: life.actor, instance, owner, deadline, held, options },
    ...(moved.length > 0 && { moved }),
  });
  life.evidence('verify', seen.verified ? 'verified' : 'unverified', seen.why);
  return seen;
}
