import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, isGrpcServiceError, ServiceError } from '@temporalio/client';
import type { Config } from '../model/config.ts';
import { digest } from '../model/digest.ts';
import { tickOf } from '../model/routing.ts';
import { describeSchedule } from '../model/schedule.ts';
import {
  ForeignScheduleError,
  isOutOfDate,
  keepSchedule,
  type Place,
  removeSchedules,
  type WantedSchedule,
} from '../providers/temporal/schedules.ts';
import type { Logger } from './logging.ts';

/** Milliseconds until what could not be done is tried again. */
const AGAIN = 30_000;

/** Milliseconds. */
const PATIENCE = 2_000;

/** Statuses of gRPC that do not go away by themselves: INVALID_ARGUMENT, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED. */
const FINAL: ReadonlySet<number> = new Set([3, 7, 12, 16]);

/** What a person can do where an older configuration is the right one. */
const NEWER = 'a newer file; where this one is to count, write it anew (touch) and start the worker again';

interface Means {
  client: Client;
  config: Config;
  /** When the file of the configuration was written, in milliseconds since the epoch; absent: no other worker has one. */
  configuredAt?: number | undefined;
  logger: Logger;
}

/**
 * Makes the schedules in Temporal those of the configuration, in the background and once: what fails is logged, and tried again
 * where that may help. It is not done over and over, or two workers of different configurations would never agree: the one with the
 * newer file has its way, whenever it was started; of files as old as each other, the one that was started last.
 */
export function keepSchedules(means: Means): { stop(): Promise<void> } {
  const over = new AbortController();
  const done = untilKept(means, over.signal).catch((error: unknown) => {
    if (!over.signal.aborted) means.logger.error({ err: error }, 'the schedules are not looked after any more');
  });
  return {
    stop: () => {
      over.abort();
      // What is under way ends soon, or nobody waits for it.
      return Promise.race([done, sleep(PATIENCE, undefined, { ref: false })]);
    },
  };
}

async function untilKept({ client, config, configuredAt: at, logger }: Means, signal: AbortSignal): Promise<void> {
  const wanted = wantedOf(config);
  const configuration = digest(wanted.map(({ rule, digest: of }) => ({ rule, of })));
  const mark = at === undefined ? undefined : { configuration, at: Math.min(at, Date.now()) };
  const place: Place = { client, taskQueue: config.temporal.taskQueue, mark };
  let outOfDate: boolean | undefined;
  // All of them are looked at for it, so once is enough.
  const mayCreate = async () => {
    outOfDate ??= await isOutOfDate(place);
    return !outOfDate;
  };
  let left: readonly Task[] = [
    ...wanted.map((one): Task => ({ about: { rule: one.rule }, run: () => keep(place, one, { mayCreate, logger }) })),
    { about: {}, run: () => remove(place, wanted, logger) },
  ];
  for (;;) {
    const again: Task[] = [];
    // One after the other: nobody waits for them, and Temporal has other things to do.
    for (const task of left) if (!signal.aborted && (await fails(task, logger))) again.push(task);
    if (again.length === 0 || signal.aborted) return;
    left = again;
    await sleep(AGAIN, undefined, { signal, ref: false });
  }
}

interface Task {
  /** For the log. */
  about: { rule?: string };
  run(): Promise<void>;
}

/** @returns whether it is to be tried again */
async function fails({ about, run }: Task, logger: Logger): Promise<boolean> {
  try {
    await run();
    return false;
  } catch (error) {
    const cause = error instanceof ServiceError ? error.cause : error;
    const code = isGrpcServiceError(cause) ? cause.code : undefined;
    const isFinal = error instanceof ForeignScheduleError || (code !== undefined && FINAL.has(code));
    const reason = [error, cause].map((one) => (one instanceof Error ? one.message : String(one)));
    const rest = isFinal
      ? 'until that is mended and a worker is started again'
      : `for now: it is tried again in ${AGAIN / 1_000} s`;
    const what =
      about.rule === undefined
        ? 'schedules that the configuration has no more stay'
        : 'the rule does not begin by its schedule';
    logger.error({ ...about, reason: [...new Set(reason)].join(': ') }, `${what} ${rest}`);
    return !isFinal;
  }
}

async function keep(
  place: Place,
  wanted: WantedSchedule,
  { mayCreate, logger }: { mayCreate(): Promise<boolean>; logger: Logger },
): Promise<void> {
  const kept = await keepSchedule(place, wanted, mayCreate);
  const about = { rule: wanted.rule, schedule: describeSchedule(wanted.schedule), target: wanted.tick.request.target };
  if (kept === 'overtaken')
    logger.warn(
      about,
      'another worker, of another configuration, has written the schedule of the rule at the same time',
    );
  else if (kept === 'older')
    logger.warn(
      about,
      `the schedule of the rule is not as this worker's configuration has it, for another worker has ${NEWER}`,
    );
  else if (kept !== 'as-before') logger.info(about, `the schedule of the rule was ${kept}`);
}

async function remove(place: Place, wanted: readonly WantedSchedule[], logger: Logger): Promise<void> {
  const { removed, newer } = await removeSchedules(place, new Set(wanted.map(({ rule }) => rule)));
  for (const rule of removed)
    logger.warn({ rule }, 'the schedule of the rule was removed, for the configuration has none any more');
  for (const rule of newer)
    logger.warn(
      { rule },
      `the schedule of the rule stays, though this worker's configuration has none, for another worker has ${NEWER}`,
    );
}

function wantedOf(config: Config): WantedSchedule[] {
  return config.rules.flatMap((configured): WantedSchedule[] => {
    const { rule, schedule } = configured;
    const tick = tickOf(configured, config);
    if (!schedule || !tick) return [];
    return [{ rule: rule.name, schedule, tick, digest: digest({ schedule, tick }) }];
  });
}
