import type { ClearanceActivities, Objection } from '../../model/clearance.ts';
import type { BacklogResult } from '../../model/ports/scalable.ts';
import { objectionOf } from '../failures.ts';
import { type Course, type ScaleLife, watchUntil } from './scale-steps.ts';
import { DAY, waiting } from './steps.ts';

const YEAR = 365 * DAY;

/** What came of it: nothing objects any more; or before that what objects for good, or something else that is to be decided. */
export interface Held {
  objection?: Objection;
  result?: BacklogResult;
}

/**
 * It was not the time to scale up further: it does not until nothing objects any more. The signals are followed meanwhile: they
 * may ask for less, and a person may set the size.
 *
 * @throws the error where it is another one
 */
export async function untilCleared(life: ScaleLife, course: Course, error: unknown): Promise<Held> {
  const objection = objectionOf(error)?.objection;
  const clearance = life.clearance(course.scale.workload, 'nothing');
  if (!objection || !clearance) throw error;
  life.phase('held back', objection.reason, { what: 'go on when nothing objects any more' });
  const wait = () => waiting<ClearanceActivities>('wait until nothing objects to it', YEAR).untilCleared(clearance);
  const [result, cleared] = await watchUntil(life, course, wait);
  if (cleared && !cleared.cleared) return { objection: cleared };
  return result ? { result } : {};
}
