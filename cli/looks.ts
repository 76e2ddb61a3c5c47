import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { ScalePoint } from '../model/ports/scalable.ts';
import type { Run } from './runs.ts';

/** The looks of scale-on-backlog at its signals: what `salvor show` draws. */

const WATCH = 'watchBacklog';

/** What a later source adds to an earlier one: of looks that both have, the earlier one's. */
export function joined(before: ScalePoint[] = [], after: ScalePoint[] = []): ScalePoint[] {
  const last = before.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
  return [...before, ...after.filter(({ at }) => at > last)];
}

/**
 * What a watch that is under way has seen since it began: the server has it with the watch's heartbeat.
 *
 * @returns undefined where no watch is under way
 */
export async function pendingLooks(client: Client, run: Run): Promise<ScalePoint[] | undefined> {
  if (run.runbook !== 'scale-on-backlog' || run.endedAt !== undefined) return undefined;
  const { raw } = await client.workflow.getHandle(run.workflowId, run.runId ?? run.id).describe();
  return looksOf(raw.pendingActivities ?? []);
}

type Pending = NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number];

/** Of the activities that are under way. */
export function looksOf(pending: readonly Pending[]): ScalePoint[] | undefined {
  const watch = pending.find(({ activityType }) => activityType?.name === WATCH);
  const payload = watch?.heartbeatDetails?.payloads?.[0];
  return payload ? pointsOf(defaultPayloadConverter.fromPayload(payload)) : undefined;
}

/** Another build's worker may have written the heartbeat: what is not known here is not drawn. */
function pointsOf(details: unknown): ScalePoint[] | undefined {
  if (typeof details !== 'object' || details === null || !('points' in details)) return undefined;
  return Array.isArray(details.points) ? details.points.filter(isPoint) : undefined;
}

const isPoint = (value: unknown): value is ScalePoint =>
  typeof value === 'object' && value !== null && 'at' in value && typeof value.at === 'number';
