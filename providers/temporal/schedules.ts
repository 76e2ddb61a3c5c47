import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  type ScheduleHandle,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleUpdateOptions,
} from '@temporalio/client';
import { code } from '../../model/markdown.ts';
import { TICK_PREFIX, tickId, WORKFLOW } from '../../model/names.ts';
import type { Schedule } from '../../model/schedule.ts';
import type { TickInput } from '../../model/tick.ts';

/** Whose the schedules are. */
export interface Place {
  client: Client;
  taskQueue: string;
}

/** A rule's schedule, as the configuration has it. */
export interface WantedSchedule {
  rule: string;
  schedule: Schedule;
  tick: TickInput;
  /** Of both: tells its versions apart. */
  digest: string;
}

export type Kept = 'created' | 'changed' | 'as-before';

/** Of a schedule: the task queue of the Salvor that keeps it. Others share the namespace. */
const OWNER_MEMO = 'salvorTaskQueue';
/** Of what it starts. */
const DIGEST_MEMO = 'salvorSchedule';

/** Somebody else's schedule bears the name. Nothing was touched. */
export class ForeignScheduleError extends Error {
  override readonly name = 'ForeignScheduleError';

  constructor(scheduleId: string, owner: unknown) {
    super(
      typeof owner === 'string'
        ? `the schedule ${scheduleId} belongs to the Salvor of the task queue ${owner}: give the rule another name, or each Salvor a namespace of its own`
        : `there is a schedule ${scheduleId} that is not of Salvor's making: give the rule another name, or delete it`,
    );
  }
}

/**
 * Creates the schedule, or writes it anew, also over what somebody has changed by hand; one that a person has paused in Temporal stays
 * paused. Several may do this at once: each writes the whole, and the last one counts.
 *
 * @throws ForeignScheduleError; ServiceError
 */
export async function keepSchedule(place: Place, wanted: WantedSchedule): Promise<Kept> {
  const { client, taskQueue } = place;
  const scheduleId = tickId(wanted.rule);
  const handle = client.schedule.getHandle(scheduleId);
  const there = await described(handle);
  if (!there) {
    try {
      await client.schedule.create({ scheduleId, memo: { [OWNER_MEMO]: taskQueue }, ...optionsOf(place, wanted) });
      return 'created';
    } catch (error) {
      // Another worker was faster.
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      return keepSchedule(place, wanted);
    }
  }
  const owner = there.memo?.[OWNER_MEMO];
  if (owner !== taskQueue) throw new ForeignScheduleError(scheduleId, owner);
  await handle.update(({ state }) => ({ ...optionsOf(place, wanted), state }));
  return there.action.memo?.[DIGEST_MEMO] === wanted.digest ? 'as-before' : 'changed';
}

/**
 * Deletes the schedules of this Salvor that the configuration does not have. What they have started is not touched.
 *
 * @returns their rules
 */
export async function removeSchedules({ client, taskQueue }: Place, keep: ReadonlySet<string>): Promise<string[]> {
  const removed: string[] = [];
  for await (const { scheduleId } of client.schedule.list()) {
    const rule = scheduleId.slice(TICK_PREFIX.length);
    if (!scheduleId.startsWith(TICK_PREFIX) || keep.has(rule)) continue;
    const handle = client.schedule.getHandle(scheduleId);
    // The list may be older than what it tells of.
    const there = await described(handle);
    if (there?.memo?.[OWNER_MEMO] !== taskQueue) continue;
    if (await deleted(handle)) removed.push(rule);
  }
  return removed;
}

function optionsOf({ taskQueue }: Place, { rule, schedule, tick, digest }: WantedSchedule): ScheduleUpdateOptions {
  const { every, cron, jitter, overlap, catchUp } = schedule;
  return {
    spec: {
      ...(every !== undefined && { intervals: [{ every }] }),
      ...(cron && { cronExpressions: [cron.expression], timezone: cron.zone }),
      jitter,
    },
    policies: {
      overlap: overlap === 'skip' ? ScheduleOverlapPolicy.SKIP : ScheduleOverlapPolicy.BUFFER_ONE,
      catchupWindow: catchUp,
    },
    action: {
      type: 'startWorkflow',
      workflowType: WORKFLOW.tick,
      workflowId: tickId(rule),
      taskQueue,
      args: [tick],
      memo: { [DIGEST_MEMO]: digest },
      staticSummary: `${rule}: ${code(tick.request.target)}`,
    },
    state: {},
  };
}

const described = (handle: ScheduleHandle): Promise<ScheduleDescription | undefined> =>
  handle.describe().catch(unlessGone(undefined));

const deleted = (handle: ScheduleHandle): Promise<boolean> => handle.delete().then(() => true, unlessGone(false));

const unlessGone =
  <T>(answer: T) =>
  (error: unknown): T => {
    if (error instanceof ScheduleNotFoundError) return answer;
    throw error;
  };
