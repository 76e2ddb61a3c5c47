import type { BacklogResult, ScaleReading } from '../../model/ports/scalable.ts';
import type { Ending } from '../../model/remediation.ts';
import { sizeBefore } from '../../model/scaling/before.ts';
import { type Course, giveBack, letGo, type ScaleLife, type Short, scaleTo } from './scale-steps.ts';

/** Nothing was done yet, and nothing is to be done. */
export const leftAlone = (life: ScaleLife, { verdict, why }: Exclude<ScaleReading, Short>): Ending =>
  life.end(verdict === 'protected' ? 'refused' : 'not-needed', why);

/** The signals are good, with the size that there was before. */
export async function goodAgain(life: ScaleLife, course: Course, why: string): Promise<Ending> {
  await givenBack(life, course, why);
  return life.end('remediated', `the signals are good with the size that it had before: ${why}`);
}

/** Somebody else has set its size: it stays as he set it, and nothing is held any more. */
export async function overruled(life: ScaleLife, course: Course, why: string): Promise<Ending> {
  life.phase('let go', why, { what: 'hold it no longer' });
  life.record(await letGo(life, course.scale));
  life.released();
  return life.end('refused', `overruled: ${why}. That is respected: Salvor has let go of it`);
}

/** It is gone, or another one has its name: an autoscaler that was raised for it may still be there. */
export async function goneMeanwhile(life: ScaleLife, course: Course, why: string): Promise<Ending> {
  await givenBack(life, course, why);
  return life.end('not-needed', why);
}

/** The rule, or a person, does not let it act any more. */
export async function stopped(life: ScaleLife, course: Course, why: string): Promise<Ending> {
  await givenBack(life, course, why);
  return life.end('refused', why);
}

/**
 * More replicas do not help. What never became ready serves nobody and goes; what serves stays, for taking it away while so much
 * waits could only make it worse: that is for a person to decide.
 */
export async function unhelped(
  life: ScaleLife,
  course: Course,
  { verdict, why, points }: Extract<BacklogResult, { verdict: 'stalled' | 'unready' }>,
): Promise<Ending> {
  const before = sizeBefore(course.scale);
  const ready = points.at(-1)?.ready ?? course.set;
  const stays = Math.max(before, Math.min(ready, course.set));
  if (stays <= before) {
    await givenBack(life, course, why);
    return life.end('failed', `${verdict}: ${why}; it has the size that it had before`);
  }
  if (stays < course.set) await scaleTo(life, course, stays);
  life.keeps();
  return life.end('failed', `${verdict}: ${why}; ${stays} stay, for they serve`);
}

async function givenBack(life: ScaleLife, { scale }: Course, why: string): Promise<void> {
  life.phase('give back', why, { what: 'set its size to what it was before' });
  life.record(await giveBack(life, scale));
  life.released();
}
