import type { Difference } from './difference.ts';
import { type DriftMemory, MOST_REVERTS, type Sighting, sightingOf } from './memory.ts';

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
  /** Reverts one after another that may not last; and for how long (milliseconds) one has to, and a person has time. */
  retries: { max: number; per: number };
}

export function courseOf(differences: readonly Difference[], options: CourseOptions): Course {
  const { memory, now, minAge, urgent } = options;
  const course: Course = { reversible: [], destructive: [], young: [], oldAt: Number.POSITIVE_INFINITY, contested: [] };
  for (const difference of differences) {
    const { class: one, kind, address } = difference;
    if (one !== 'reversible' && one !== 'destructive') continue;
    const known = sightingOf(memory, address);
    const old = (known?.unchanged ?? now) + minAge;
    if (isContested(known, options)) course.contested.push(difference);
    else if (old > now && !urgent.includes(kind)) {
      course.young.push(difference);
      course.oldAt = Math.min(course.oldAt, old);
    } else course[one].push(difference);
  }
  return course;
}

/**
 * Reverted as often as it may be, and none has lasted: however far they are apart, for how often Salvor looks, and how long it
 * waits, says nothing about who else is at work. Once a person had the time for it, it is reverted once more.
 */
function isContested(known: Sighting | undefined, { now, retries }: CourseOptions): boolean {
  const { reverts = [], told } = known ?? {};
  if (reverts.length < Math.min(Math.max(1, retries.max), MOST_REVERTS)) return false;
  return told === undefined || told > now - retries.per;
}

/** Of those that somebody keeps changing, the ones that are not left to a person yet. */
export const untold = (contested: readonly Difference[], { memory }: Pick<CourseOptions, 'memory'>): Difference[] =>
  contested.filter(({ address }) => sightingOf(memory, address)?.told === undefined);
