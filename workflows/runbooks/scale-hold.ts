import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { ClearanceActivities, Objection } from '../../model/clearance.ts';
import { objectionOf } from '../failures.ts';
import { ownWatchQueue } from '../waits.ts';
import { type Course, MINUTE, type ScaleLife } from './scale-steps.ts';

const YEAR = 365 * 24 * 60 * MINUTE;

const waiting = (): ClearanceActivities['untilCleared'] =>
  proxyActivities<ClearanceActivities>({
    summary: 'wait until nothing objects to it',
    taskQueue: ownWatchQueue(),
    scheduleToCloseTimeout: YEAR,
    heartbeatTimeout: '10 seconds',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' },
  }).untilCleared;

/**
 * It was not the time to scale up further: what is held stays so until nothing objects any more.
 *
 * @returns what objects for good; nothing where it may go on
 * @throws the error where it is another one
 */
export async function untilCleared(life: ScaleLife, { scale }: Course, error: unknown): Promise<Objection | undefined> {
  const objection = objectionOf(error)?.objection;
  const clearance = life.clearance(scale.workload, 'nothing');
  if (!objection || !clearance) throw error;
  life.phase('held back', objection.reason, { what: 'go on when nothing objects any more' });
  if (objection.gate === 'excluded') return objection;
  const cleared = await waiting()(clearance);
  return cleared.cleared ? undefined : cleared;
}
