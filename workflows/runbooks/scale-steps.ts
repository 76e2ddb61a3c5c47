import type { Change, Held } from '../../model/change.ts';
import { INSTANCE_ERRORS } from '../../model/ports/instance.ts';
import type {
  BacklogResult,
  ScalablePort,
  Scale,
  ScaleReading,
  WatchBacklogRequest,
  WatchState,
} from '../../model/ports/scalable.ts';
import { thinned } from '../../model/scaling/chart.ts';
import { failureType } from '../failures.ts';
import type { Life } from '../life.ts';
import { untilOneEnds } from '../race.ts';
import { changing, DAY, reading, undoing, waiting } from './steps.ts';

export type ScaleLife = Life<'scale-on-backlog'>;
export type Short = Extract<ScaleReading, { verdict: 'short' }>;
export type Good = Extract<ScaleReading, { verdict: 'good' }>;

/** Where the runbook stands: plain JSON, for a next run goes on with it. */
export interface Course {
  /** As it was found. */
  scale: Scale;
  /** What Salvor has set last. */
  set: number;
  state: WatchState;
}

const { readScale } = reading<ScalablePort>('look at its size and its signals');

/** Milliseconds after which a watch answers in any case, so that the run can go on as new. */
export const WATCH_FOR = DAY;

const watching = (): ScalablePort['watchBacklog'] =>
  waiting<ScalablePort>('follow the signals until something is to be decided', WATCH_FOR).watchBacklog;

const setting = (summary: string): ScalablePort['scaleTo'] => changing<ScalablePort>(summary).scaleTo;

const givingBack = undoing<ScalablePort>('give its size back').giveScaleBack;

export const look = (life: ScaleLife, uid?: string): Promise<ScaleReading> => {
  const { target, rule } = life.input;
  return readScale({ target, options: rule.with, actor: life.actor, ...(uid !== undefined && { uid }) });
};

export const describe = ({ verdict, why }: Pick<ScaleReading, 'verdict' | 'why'>): string => `${verdict}: ${why}`;

type Watched = Omit<Course, 'set'> & Pick<WatchBacklogRequest, 'set' | 'unheld' | 'capped'>;

export async function watch(life: ScaleLife, course: Watched): Promise<BacklogResult> {
  return noted(life, await life.looking(watched(life, course), () => lookAgain(life, course)));
}

/** Follows the signals, as far as they ask for less, until another wait is over. @returns what ended of the two, as {@link untilOneEnds} */
export async function watchUntil<B>(life: ScaleLife, course: Course, over: () => Promise<B>) {
  const ended = untilOneEnds(() => watched(life, { ...course, capped: true }), over);
  const [result, other] = await life.looking(ended, () => lookAgain(life, course));
  return [result && noted(life, result), other] as const;
}

function watched(life: ScaleLife, course: Watched): Promise<BacklogResult> {
  const { target, rule } = life.input;
  return watching()({
    ...{ target, options: rule.with, actor: life.actor, deadline: life.in(WATCH_FOR) },
    ...course,
  });
}

const lookAgain = async (life: ScaleLife, { scale }: Pick<Course, 'scale'>): Promise<string> =>
  describe(await look(life, scale.object.uid));

function noted(life: ScaleLife, result: BacklogResult): BacklogResult {
  life.story.chart = thinned([...(life.story.chart ?? []), ...result.points]);
  life.evidence('backlog', result.verdict, result.why, factsOf(result));
  return result;
}

/** What is on record of a look: the figures on which it was decided. */
function factsOf({ points }: BacklogResult): Record<string, unknown> | undefined {
  const last = points.at(-1);
  return last && { ...last };
}

/** Sets the size for the first time: from here on it is held. */
export async function raise(life: ScaleLife, { scale, desired, state }: Short): Promise<Course> {
  const held = [heldOf(life, scale, desired)];
  const clearance = life.clearance(scale.workload, 'nothing');
  const back = () => giveBack(life, scale);
  await life.change(
    'scale it up',
    (audit) =>
      setting(`set ${scale.by.field} to ${desired}`)({
        ...{ step: 'scale', actor: life.actor, scale, from: scale.by.value, to: desired, held, audit },
        ...(clearance && { clearance }),
      }),
    { held, undo: back },
  );
  return { scale, set: desired, state };
}

/** Sets it anew; on the way down nothing may object, for that is a part of giving it back. */
export async function scaleTo(life: ScaleLife, course: Course, to: number): Promise<void> {
  const { scale, set } = course;
  const held = [heldOf(life, scale, to)];
  const clearance = to > set ? life.clearance(scale.workload, 'nothing') : undefined;
  await life.holding.changeAgain(held, (audit) =>
    setting(`set ${scale.by.field} to ${to}`)({
      ...{ step: 'scale', actor: life.actor, scale, from: set, to, held, audit },
      ...(clearance && { clearance }),
    }),
  );
}

/** Takes what an attempt has set, whose answer was lost, for set: it is on record, and nothing is written. */
export async function adopt(life: ScaleLife, { scale, set }: Course, to: number): Promise<void> {
  const held = [heldOf(life, scale, to)];
  await life.holding.changeAgain(held, (audit) =>
    setting(`see that ${scale.by.field} is ${to}`)({
      ...{ step: 'scale', actor: life.actor, scale, from: set, to, held, audit, adopt: true },
    }),
  );
}

/** Exactly as it was. */
export const giveBack = (life: ScaleLife, scale: Scale): Promise<Change[]> =>
  givingBack({ step: 'restore', actor: life.actor, scale, held: life.story.held });

/** The note of what is held goes; its size stays as it is, for it is somebody else's. */
export const letGo = (life: ScaleLife, scale: Scale): Promise<Change[]> =>
  givingBack({ step: 'restore', actor: life.actor, scale, held: life.story.held, letGo: true });

/** For how long it may be held without being set anew. */
const HELD_FOR = 30 * DAY;

function heldOf(life: ScaleLife, { by }: Scale, to: number): Held {
  const { object, field, value } = by;
  return { object, field, before: value, set: to, ...life.actor, until: life.in(HELD_FOR) };
}

export const isContested = (error: unknown): boolean => failureType(error) === INSTANCE_ERRORS.contested;
