import type { Difference } from './difference.ts';
import { counted, type DriftMemory, sightingOf } from './memory.ts';

/** What is to be done about the differences of a look. */
export interface Course {
  /** To be reverted now. */
  reversible: Difference[];
  /** Likewise, with a person's approval. */
  destructive: Difference[];
  /** Too young to be touched, and when the first of them is old enough (milliseconds since the epoch). */
  young: Difference[];
  oldAt: number;
  /** Somebody keeps changing them: they are not fought about. */
  contested: Difference[];
}

export interface CourseOptions {
  memory: DriftMemory;
  /** Milliseconds since the epoch. */
  now: number;
  minAge: number;
  urgent: readonly string[];
  retries: { max: number; per: number };
}

export function courseOf(differences: readonly Difference[], options: CourseOptions): Course {
  const { memory, now, minAge, urgent, retries } = options;
  const course: Course = { reversible: [], destructive: [], young: [], oldAt: Number.POSITIVE_INFINITY, contested: [] };
  for (const difference of differences) {
    const { class: one, kind, address } = difference;
    if (one !== 'reversible' && one !== 'destructive') continue;
    const known = sightingOf(memory, address);
    const old = (known?.unchanged ?? now) + minAge;
    if (counted(known, now, retries.per).length >= Math.max(1, retries.max)) course.contested.push(difference);
    else if (old > now && !urgent.includes(kind)) {
      course.young.push(difference);
      course.oldAt = Math.min(course.oldAt, old);
    } else course[one].push(difference);
  }
  return course;
}

/** Of those that somebody keeps changing, the ones of which people were not told within `per`. */
export const untold = (
  contested: readonly Difference[],
  { memory, now, retries }: Pick<CourseOptions, 'memory' | 'now' | 'retries'>,
): Difference[] =>
  contested.filter(
    ({ address }) => (sightingOf(memory, address)?.told ?? Number.NEGATIVE_INFINITY) <= now - retries.per,
  );
