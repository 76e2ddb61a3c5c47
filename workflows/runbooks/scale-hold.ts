import type { ClearanceActivities, Objection } from '../../model/clearance.ts';
import { objectionOf } from '../failures.ts';
import type { Course, ScaleLife } from './scale-steps.ts';
import { DAY, waiting } from './steps.ts';

const YEAR = 365 * DAY;

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
  const cleared = await waiting<ClearanceActivities>('wait until nothing objects to it', YEAR).untilCleared(clearance);
  return cleared.cleared ? undefined : cleared;
}
