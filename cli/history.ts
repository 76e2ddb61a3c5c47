import { defaultPayloadConverter } from '@temporalio/common';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import type { Change } from '../model/change.ts';
import { MESSAGE } from '../model/names.ts';
import type { Ending, RemediationInput, Story } from '../model/remediation.ts';

type Event = NonNullable<History['events']>[number];
type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];
type Payloads = { payloads?: Payload[] | null } | null | undefined;

/**
 * The story of a run as its history tells it, for when no worker is there to be asked: what its activities answered,
 * what came in between, and how it ended.
 *
 * @returns undefined where the history is not one of a remediation
 */
export function storyOf(history: History): Story | undefined {
  const events = history.events ?? [];
  const input = first(events[0]?.workflowExecutionStartedEventAttributes?.input) as RemediationInput | undefined;
  if (!input?.rule) return undefined;
  const { target, rule, alert } = input;
  const story: Story = {
    target,
    rule: rule.name,
    runbook: rule.runbook,
    phase: 'running',
    lines: [],
    changes: [],
    held: [],
  };
  const activities = new Map<string, string>();
  for (const event of events) {
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) activities.set(String(event.eventId), scheduled.activityType?.name ?? 'activity');
    for (const text of tell(event, activities, story)) story.lines.push({ at: timeOf(event), text });
  }
  story.lines[0] ??= { at: timeOf(events[0]), text: '' };
  story.lines[0].text = `${alert.alertname} of ${alert.startsAt}, rule ${rule.name}, mode ${rule.mode}`;
  if (story.ending) story.phase = story.ending.outcome;
  return story;
}

/** What one event says to a person; takes changes and the ending out of it. */
function tell(event: Event, activities: Map<string, string>, story: Story): string[] {
  const nameOf = (id: unknown): string => activities.get(String(id)) ?? 'activity';
  const done = event.activityTaskCompletedEventAttributes;
  if (done) return answered(nameOf(done.scheduledEventId), first(done.result), story);
  const marker = event.markerRecordedEventAttributes;
  if (marker) return local(marker.details, story);
  const failed = event.activityTaskFailedEventAttributes;
  if (failed) return [`${nameOf(failed.scheduledEventId)} failed: ${messageOf(failed.failure)}`];
  const late = event.activityTaskTimedOutEventAttributes;
  if (late) return [`${nameOf(late.scheduledEventId)} timed out: ${messageOf(late.failure)}`];
  const signal = event.workflowExecutionSignaledEventAttributes;
  if (signal) return [signal.signalName === MESSAGE.resolved ? 'the alert is resolved' : `signal ${signal.signalName}`];
  const cancel = event.workflowExecutionCancelRequestedEventAttributes;
  if (cancel) return [`cancel asked for by ${cancel.identity}${cancel.cause ? `: ${cancel.cause}` : ''}`];
  return ended(event, story);
}

function ended(event: Event, story: Story): string[] {
  if (event.workflowExecutionStartedEventAttributes) return [''];
  const completed = event.workflowExecutionCompletedEventAttributes;
  if (completed) return settled(first(completed.result), story);
  const failed = event.workflowExecutionFailedEventAttributes;
  if (failed) return settled(first(failed.failure?.applicationFailureInfo?.details), story);
  const terminated = event.workflowExecutionTerminatedEventAttributes;
  if (terminated)
    return [
      `terminated by ${terminated.identity}${terminated.reason ? `: ${terminated.reason}` : ''}; nothing was undone`,
    ];
  if (event.workflowExecutionTimedOutEventAttributes) return ['timed out; nothing was undone'];
  return [];
}

/** The ending is told once, though the last step and the result both hold it. */
function settled(value: unknown, story: Story): string[] {
  if (story.ending || !isEnding(value)) return [];
  story.ending = value;
  return [`${value.outcome}: ${value.reason}`];
}

function answered(activity: string, value: unknown, story: Story): string[] {
  if (isEnding(value)) return settled(value, story);
  const { verdict, why, changes } = fieldsOf(value);
  const made = (Array.isArray(value) ? value : Array.isArray(changes) ? changes : []) as Change[];
  story.changes.push(...made);
  const lines = made.map(({ what }) => what);
  if (typeof why === 'string') lines.push(`${activity}${typeof verdict === 'string' ? `: ${verdict}` : ''}: ${why}`);
  return lines;
}

/** A local activity leaves a marker with its type and its result. */
function local(details: Record<string, Payloads> | null | undefined, story: Story): string[] {
  const { activity_type: type } = fieldsOf(first(details?.['data']));
  if (typeof type !== 'string') return [];
  return answered(type, first(details?.['result']), story);
}

const fieldsOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

const isEnding = (value: unknown): value is Ending => {
  const { outcome, reason } = fieldsOf(value);
  return typeof outcome === 'string' && typeof reason === 'string';
};

function first(payloads: Payloads): unknown {
  const payload = payloads?.payloads?.[0];
  return payload ? defaultPayloadConverter.fromPayload(payload) : undefined;
}

function messageOf(failure: { message?: string | null; cause?: unknown } | null | undefined): string {
  return failure?.message || 'no message';
}

function timeOf(event: Event | undefined): string {
  const { seconds, nanos } = event?.eventTime ?? {};
  return new Date(Number(seconds ?? 0) * 1000 + (nanos ?? 0) / 1e6).toISOString();
}
