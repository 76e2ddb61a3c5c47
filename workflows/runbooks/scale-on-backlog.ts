import { formatDuration } from '../../model/duration.ts';
import type { BacklogResult, ScaleReading } from '../../model/ports/scalable.ts';
import type { Ending } from '../../model/remediation.ts';
import { isLong } from '../runs.ts';
import { goneMeanwhile, goodAgain, leftAlone, overruled, stopped, unhelped } from './scale-ends.ts';
import { type Held, untilCleared } from './scale-hold.ts';
import { isAboutSight, sighted } from './scale-sight.ts';
import {
  adopt,
  type Course,
  describe,
  type Good,
  giveBack,
  isContested,
  letGo,
  look,
  raise,
  type ScaleLife,
  type Short,
  scaleTo,
  watch,
} from './scale-steps.ts';

/** Looks at a size that somebody changes meanwhile, before it is given up. */
const MOST_CONTESTED = 3;

/**
 * Scales on signals from upstream, before it hurts: the size follows what waits, and goes back to what it was. What a person
 * sets meanwhile is respected.
 */
export async function scaleOnBacklog(life: ScaleLife): Promise<Ending> {
  const course = life.input.carried?.course as Course | undefined;
  if (course) return follow(life, resumed(life, course));
  for (let tries = 0; ; ) {
    const seen = await look(life);
    life.evidence('diagnosis', seen.verdict, seen.why, 'scale' in seen ? factsOf(seen) : undefined);
    const found = seen.verdict === 'good' ? await untilShort(life, seen) : seen;
    if (!found) {
      life.writeDown();
      if (isLong()) await life.goOn(undefined);
      continue;
    }
    if (found.verdict !== 'short') return leftAlone(life, found);
    life.because(found.why);
    const { uid } = found.scale.object;
    const over = await life.propose(found.plan, found.why, () => lookedAgain(life, uid));
    if (over) return over;
    tries += 1;
    const course = await raised(life, found, tries === MOST_CONTESTED);
    if (course) return follow(life, course);
  }
}

/**
 * An alert on a slope fires before the signals ask for anything, and says nothing more while it goes on firing: so they are
 * followed for as long as they must be good in any case.
 *
 * @returns nothing where its size was changed meanwhile: it is looked at anew
 */
async function untilShort(life: ScaleLife, seen: Good): Promise<ScaleReading | undefined> {
  const { goodFor } = life.input.rule.with;
  const { scale } = seen;
  const what = `leave it alone when they were good for ${formatDuration(goodFor)}`;
  life.phase('diagnose', `${seen.why}: following the signals, without a change so far`, { what });
  const unheld = { scale, set: scale.by.value, unheld: true as const };
  let result = await watch(life, { ...unheld, state: seen.state });
  while (isAboutSight(result)) {
    await sighted(life, result);
    result = await watch(life, { ...unheld, state: result.state });
  }
  const { verdict, why } = result;
  if (verdict === 'gone') return { verdict, why };
  if (verdict === 'scale') return { ...seen, verdict: 'short', why, desired: result.to, state: result.state };
  return verdict === 'good' ? { ...seen, why } : undefined;
}

/** Scaled up for the first time; nothing where somebody else has changed its size since it was looked at. */
async function raised(life: ScaleLife, found: Short, isLast: boolean): Promise<Course | undefined> {
  life.phase('scale', `${found.scale.why}: it is set to ${found.desired}`, { what: 'follow the signals' });
  try {
    return await raise(life, found);
  } catch (error) {
    if (isLast || !isContested(error)) throw error;
    // An attempt whose answer was lost may have left its note.
    life.record(await letGo(life, found.scale));
    life.released();
    life.say('somebody else has changed its size meanwhile: looking again');
    return undefined;
  }
}

/** While it waits for a person: how it ends, where nothing is short any more. */
async function lookedAgain(life: ScaleLife, uid: string): Promise<Ending | undefined> {
  const found = await look(life, uid);
  life.evidence('diagnosis', found.verdict, found.why);
  life.say(describe(found));
  return found.verdict === 'short' ? undefined : leftAlone(life, found);
}

/** From the first change to the end. */
async function follow(life: ScaleLife, begun: Course): Promise<Ending> {
  let course = begun;
  // What serves stays where a later step fails: to take it away while so much waits could only make it worse.
  life.keeps();
  // What a watch has answered while it was held back.
  let answered: BacklogResult | undefined;
  for (let contested = 0; ; ) {
    if (!answered && !course.state.blind?.told) following(life, course);
    const result = answered ?? (await watch(life, course));
    answered = undefined;
    const { verdict, why } = result;
    if (verdict === 'gone') return goneMeanwhile(life, course, why);
    course = { ...course, state: result.state };
    if (verdict === 'good') return goodAgain(life, course, why);
    if (verdict === 'overruled') return overruled(life, course, why);
    if (isAboutSight(result)) await sighted(life, result);
    if (verdict === 'adopted' && (await adopted(life, course, result.to))) course = { ...course, set: result.to };
    if (verdict === 'stalled' || verdict === 'unready') return unhelped(life, course, result);
    if (verdict === 'scale') {
      const made = await setTo(life, course, result);
      contested = made === 'contested' ? contested + 1 : 0;
      if (contested === MOST_CONTESTED) return overruled(life, course, 'somebody else keeps changing its size');
      if (made === 'set') course = { ...course, set: result.to };
      else if (made !== 'contested' && made.objection) return stopped(life, course, made.objection.reason);
      else if (made !== 'contested') answered = made.result;
    }
    life.writeDown();
    if (isLong()) await life.goOn(course);
  }
}

/** Sets what is asked for now, when nothing objects to it. @returns what came of it, where something does */
async function setTo(
  life: ScaleLife,
  course: Course,
  { to, why }: { to: number; why: string },
): Promise<'set' | 'contested' | Held> {
  life.phase('scale', why, { what: `scale ${to > course.set ? 'up' : 'down'} to ${to}` });
  try {
    await scaleTo(life, course, to);
    return 'set';
  } catch (error) {
    // Who has changed it is found by the next look.
    if (isContested(error)) return 'contested';
    return untilCleared(life, course, error);
  }
}

/** What an attempt has set whose answer was lost. @returns whether it is still so; who has changed it is found by the next look */
async function adopted(life: ScaleLife, course: Course, to: number): Promise<boolean> {
  try {
    await adopt(life, course, to);
    return true;
  } catch (error) {
    if (isContested(error)) return false;
    throw error;
  }
}

function following(life: ScaleLife, { scale, set }: Course): void {
  const { goodFor } = life.input.rule.with;
  const before = scale.by.value ?? 'absent';
  life.phase('follow', `${scale.by.field} is ${set} (it was ${before}): following the signals`, {
    what: `follow the signals; give it back when they were good for ${formatDuration(goodFor)}`,
  });
}

/** In a later run: what is held is taken back as before. */
function resumed(life: ScaleLife, course: Course): Course {
  life.holding.resume('scale it up', () => giveBack(life, course.scale));
  return course;
}

const factsOf = ({ scale, plan }: Short | Good) => ({ scale, plan });
