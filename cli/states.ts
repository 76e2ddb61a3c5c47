import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { BreakerPhase, Transition } from '../model/breaker/machine.ts';
import type { DriveBeat } from '../model/ports/switch.ts';
import type { Story } from '../model/remediation.ts';
import type { Run } from './runs.ts';

/** The states of a circuit-breaker, one after the other: what `salvor show` draws as a row. */

/** One of them, without gaps to the next. */
export interface StateSpan {
  state: BreakerPhase;
  /** Milliseconds since the epoch. */
  from: number;
  to: number;
  reason: string;
}

/** @param end until when the last of them lasted, or lasts so far: milliseconds since the epoch */
export const spansOf = (timeline: readonly Transition[], end: number): StateSpan[] =>
  timeline.map(({ to: state, at: from, reason }, place) => {
    const to = timeline[place + 1]?.at ?? end;
    return { state, from, to: Math.max(from, to), reason };
  });

/** How often it was in each state, and for how long (milliseconds); in the order in which they came. */
export function sumsOf(spans: readonly StateSpan[]): { state: BreakerPhase; times: number; ms: number }[] {
  const sums = new Map<BreakerPhase, { times: number; ms: number }>();
  for (const { state, from, to } of spans) {
    const { times, ms } = sums.get(state) ?? { times: 0, ms: 0 };
    sums.set(state, { times: times + 1, ms: ms + to - from });
  }
  return [...sums].map(([state, sum]) => ({ state, ...sum }));
}

const DRIVE = 'driveBreaker';

/**
 * A story with what has happened since: what drives the breaker tells the workflow only when something is to be decided, and the
 * server has the rest with its heartbeat.
 */
export async function withPendingStates(client: Client, run: Run, story: Story): Promise<Story> {
  if (run.runbook !== 'circuit-breaker' || run.endedAt !== undefined) return story;
  const { raw } = await client.workflow.getHandle(run.workflowId, run.runId ?? run.id).describe();
  const beat = beatOf(raw.pendingActivities ?? []);
  return beat ? { ...story, breaker: joinedStates(story.breaker, beat) } : story;
}

type Pending = NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number];
type Beat = Pick<DriveBeat, 'state' | 'transitions'>;

/** Of the activities that are under way. */
export function beatOf(pending: readonly Pending[]): Beat | undefined {
  const drive = pending.find(({ activityType }) => activityType?.name === DRIVE);
  const payload = drive?.heartbeatDetails?.payloads?.[0];
  const details: unknown = payload && defaultPayloadConverter.fromPayload(payload);
  // Another build's worker may have written it: what is not known here is not drawn.
  if (typeof details !== 'object' || details === null || !('state' in details)) return undefined;
  return 'transitions' in details && Array.isArray(details.transitions) ? (details as Beat) : undefined;
}

/** What a later source adds to an earlier one. */
export function joinedStates(before: Story['breaker'], { state, transitions }: Beat): NonNullable<Story['breaker']> {
  const timeline = before?.timeline ?? [];
  const last = timeline.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
  return { state, timeline: [...timeline, ...transitions.filter(({ at }) => at > last)] };
}
