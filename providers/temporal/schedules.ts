import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleClient,
  type ScheduleDescription,
  type ScheduleHandle,
  ScheduleNotFoundError,
  type ScheduleOptions,
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

/** `overtaken`: another one, of another configuration, has written it at the same time, and that is what counts. */
export type Kept = 'created' | 'changed' | 'as-before' | 'overtaken';

/** Of a schedule: the task queue of the Salvor that keeps it. Others share the namespace. */
const OWNER_MEMO = 'salvorTaskQueue';
/** Of what it starts: a {@link Stamp}. A schedule's own memo never changes. */
const STAMP_MEMO = 'salvorSchedule';

interface Stamp {
  digest: string;
  /** Names the writing. */
  written: string;
}

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

const TRIES = 8;
/** Milliseconds before the second try; twice as long before each further one. */
const PAUSE = 50;

/**
 * Creates the schedule, or writes it anew, also over what somebody has changed by hand; one that a person has paused in Temporal stays
 * paused. Several may do this at once: each writes the whole, and the last one counts.
 *
 * The server drops a write, and says nothing, where the schedule has changed since it was described, and what it describes may be
 * older than what it was told: so it is looked at until the own writing is seen, or somebody else's.
 *
 * @throws ForeignScheduleError; ServiceError; Error where it changes all the time
 */
export async function keepSchedule(place: Place, wanted: WantedSchedule): Promise<Kept> {
  const { client, taskQueue } = place;
  const scheduleId = tickId(wanted.rule);
  const own: Stamp = { digest: wanted.digest, written: randomUUID() };
  const options = optionsOf(place, wanted, own);
  let first: Stamp | undefined;
  for (let tried = 0; tried < TRIES; tried++) {
    if (tried > 0) await sleep(PAUSE * 2 ** (tried - 1));
    const there = await described(client.schedule.getHandle(scheduleId));
    if (!there) {
      if (await created(client, { scheduleId, memo: { [OWNER_MEMO]: taskQueue }, ...options })) return 'created';
      // Another worker was faster.
      continue;
    }
    const owner = there.memo?.[OWNER_MEMO];
    if (owner !== taskQueue) throw new ForeignScheduleError(scheduleId, owner);
    const stamp = there.action.memo?.[STAMP_MEMO] as Stamp | undefined;
    first ??= stamp ?? { digest: '', written: '' };
    if (stamp?.written === own.written) return first.digest === own.digest ? 'as-before' : 'changed';
    if (tried > 0 && stamp && stamp.written !== first.written)
      return stamp.digest === own.digest ? 'as-before' : 'overtaken';
    await update(client, there, options);
  }
  throw new Error(`the schedule ${scheduleId} is changed by others all the time`);
}

/** Written only where it is still as it was described. */
async function update(
  { schedule: client }: Client,
  { scheduleId, state, raw: { conflictToken } }: ScheduleDescription,
  options: ScheduleUpdateOptions,
): Promise<void> {
  // The client takes no token.
  const service = client.workflowService;
  const updateSchedule = (request: object) =>
    service.updateSchedule({ ...request, conflictToken: conflictToken ?? null });
  const workflowService = { value: Object.create(service, { updateSchedule: { value: updateSchedule } }) };
  const tied: ScheduleClient = Object.create(client, { workflowService });
  await tied.getHandle(scheduleId).update(() => ({ ...options, state }));
}

async function created({ schedule }: Client, options: ScheduleOptions): Promise<boolean> {
  try {
    await schedule.create(options);
    return true;
  } catch (error) {
    if (error instanceof ScheduleAlreadyRunning) return false;
    throw error;
  }
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

function optionsOf(
  { taskQueue }: Place,
  { rule, schedule, tick }: WantedSchedule,
  stamp: Stamp,
): ScheduleUpdateOptions {
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
      memo: { [STAMP_MEMO]: stamp },
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
