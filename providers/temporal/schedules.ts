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
  /** Of the worker that keeps them; absent: it is the only one, and always has its way. */
  mark?: Mark | undefined;
}

/** Tells of two configurations which is the newer one. */
export interface Mark {
  /** Digest of all schedules that it has. */
  configuration: string;
  /** When its file was written, in milliseconds since the epoch. */
  at: number;
}

/** A rule's schedule, as the configuration has it. */
export interface WantedSchedule {
  rule: string;
  schedule: Schedule;
  tick: TickInput;
  /** Of both: tells its versions apart. */
  digest: string;
}

/**
 * `overtaken`: another one, of another configuration, has written it at the same time, and that is what counts; `older`: a newer
 * configuration has it otherwise, or not at all, and nothing was touched.
 */
export type Kept = 'created' | 'changed' | 'as-before' | 'overtaken' | 'older';

/** Of a schedule: the task queue of the Salvor that keeps it. Others share the namespace. */
const OWNER_MEMO = 'salvorTaskQueue';
/** Of what it starts: a {@link Stamp}. A schedule's own memo never changes. */
const STAMP_MEMO = 'salvorSchedule';

interface Stamp {
  digest: string;
  /** Names the writing. */
  written: string;
  mark?: Mark | undefined;
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
 * @param mayCreate asked where there is none
 * @throws ForeignScheduleError; ServiceError; Error where it changes all the time
 */
export async function keepSchedule(
  place: Place,
  wanted: WantedSchedule,
  mayCreate = async (): Promise<boolean> => true,
): Promise<Kept> {
  const { client, taskQueue, mark } = place;
  const scheduleId = tickId(wanted.rule);
  const own: Stamp = { digest: wanted.digest, written: randomUUID(), mark };
  let first: Stamp | undefined;
  for (let tried = 0; tried < TRIES; tried++) {
    if (tried > 0) await sleep(PAUSE * 2 ** (tried - 1));
    const there = await described(client.schedule.getHandle(scheduleId));
    if (!there) {
      if (!(await mayCreate())) return 'older';
      const options = optionsOf(place, wanted, own);
      if (await created(client, { scheduleId, memo: { [OWNER_MEMO]: taskQueue }, ...options })) return 'created';
      // Another worker was faster.
      continue;
    }
    const owner = there.memo?.[OWNER_MEMO];
    if (owner !== taskQueue) throw new ForeignScheduleError(scheduleId, owner);
    const stamp = stampOf(there);
    first ??= stamp ?? { digest: '', written: '' };
    if (stamp?.written === own.written) return first.digest === own.digest ? 'as-before' : 'changed';
    if (tried > 0 && stamp && stamp.written !== first.written)
      return stamp.digest === own.digest ? 'as-before' : 'overtaken';
    if (isNewer(stamp?.mark, mark) && stamp?.digest !== own.digest) return 'older';
    await update(client, there, optionsOf(place, wanted, { ...own, mark: later(stamp?.mark, mark) }));
  }
  throw new Error(`the schedule ${scheduleId} is changed by others all the time`);
}

const stampOf = ({ action }: ScheduleDescription): Stamp | undefined => action.memo?.[STAMP_MEMO] as Stamp | undefined;

/** Whether it is another configuration, and a newer one: what that has written is not written over, nor removed. */
const isNewer = (theirs: Mark | undefined, own: Mark | undefined): boolean =>
  theirs !== undefined && own !== undefined && theirs.configuration !== own.configuration && theirs.at > own.at;

/** Of two configurations that have the same schedule. */
const later = (theirs: Mark | undefined, own: Mark | undefined): Mark | undefined =>
  theirs && own && theirs.at > own.at ? theirs : own;

/** Whether a newer configuration has written any of the schedules of this Salvor. */
export async function isOutOfDate({ client, taskQueue, mark }: Place): Promise<boolean> {
  if (!mark) return false;
  for await (const { scheduleId } of client.schedule.list()) {
    if (!scheduleId.startsWith(TICK_PREFIX)) continue;
    const there = await described(client.schedule.getHandle(scheduleId));
    if (there?.memo?.[OWNER_MEMO] === taskQueue && isNewer(stampOf(there)?.mark, mark)) return true;
  }
  return false;
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
 * Deletes the schedules of this Salvor that the configuration does not have, but for those of a newer one. What they have started
 * is not touched.
 *
 * @returns their rules, and those of the newer one
 */
export async function removeSchedules(
  { client, taskQueue, mark }: Place,
  keep: ReadonlySet<string>,
): Promise<{ removed: string[]; newer: string[] }> {
  const [removed, newer]: [string[], string[]] = [[], []];
  for await (const { scheduleId } of client.schedule.list()) {
    const rule = scheduleId.slice(TICK_PREFIX.length);
    if (!scheduleId.startsWith(TICK_PREFIX) || keep.has(rule)) continue;
    const handle = client.schedule.getHandle(scheduleId);
    // The list may be older than what it tells of.
    const there = await described(handle);
    if (there?.memo?.[OWNER_MEMO] !== taskQueue) continue;
    if (isNewer(stampOf(there)?.mark, mark)) newer.push(rule);
    else if (await deleted(handle)) removed.push(rule);
  }
  return { removed, newer };
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
