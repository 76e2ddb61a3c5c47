import { defaultPayloadConverter } from '@temporalio/common';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import type { Change, Held } from '../model/change.ts';
import { MESSAGE } from '../model/names.ts';
import type { Plan } from '../model/plan.ts';
import type { ScalePoint } from '../model/ports/scalable.ts';
import type { Driven } from '../model/ports/switch.ts';
import type { Ending, RemediationInput, Story } from '../model/remediation.ts';
import { joined } from './looks.ts';
import { joinedStates } from './states.ts';

type Event = NonNullable<History['events']>[number];
type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];
/** The phase that an activity of a runbook begins. */
const PHASES: Record<string, string> = {
  cut: 'cut',
  hold: 'hold',
  replace: 'replace',
  verify: 'verify',
  restore: 'undo',
  handOver: 'keep',
};

type Payloads = { payloads?: Payload[] | null } | null | undefined;

/**
 * The story of a run as its history tells it, for when no worker is there to be asked: what its activities answered,
 * what came in between, and how it ended.
 *
 * @returns undefined where the history is not one of a remediation
 */
export function storyOf(history: History): Story | undefined {
  const events = history.events ?? [];
  const input = startOf(history);
  if (!input?.rule) return undefined;
  const { target, rule, alert } = input;
  const story: Story = {
    target,
    rule: rule.name,
    runbook: rule.runbook,
    mode: rule.mode,
    alert: { name: alert.alertname, startsAt: alert.startsAt },
    phase: 'diagnose',
    lines: [],
    changes: [],
    held: [],
  };
  const activities = new Map<string, string>();
  for (const event of events) {
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) {
      const name = scheduled.activityType?.name ?? 'activity';
      activities.set(String(event.eventId), name);
      // A cut that was asked for may have been made, whatever became of its answer.
      if (name === 'cut') story.held = (fieldsOf(first(scheduled.input))['held'] ?? []) as Held[];
      // Kept, it is waited for as before.
      if (name !== 'hold' || story.phase !== 'keep') story.phase = PHASES[name] ?? story.phase;
    }
    for (const text of tell(event, activities, story))
      story.lines.push({ at: timeOf(event), text, phase: story.phase });
    if (story.plan && waitsFor(input))
      story.waits ??= { until: later(event, rule.approveWithin), approvers: rule.approvers };
  }
  story.lines[0] ??= { at: timeOf(events[0]), text: '', phase: 'diagnose' };
  story.lines[0].text = `${alert.alertname} of ${alert.startsAt}, rule ${rule.name}, mode ${rule.mode}`;
  if (story.ending) {
    story.phase = story.ending.outcome;
    delete story.waits;
  }
  return story;
}

/** Whether its plan waits for a person. */
const waitsFor = ({ rule, approval, proposes }: RemediationInput): boolean =>
  (rule.mode === 'propose' || proposes === true) && !approval;

/** ISO time, `ms` milliseconds after an event. */
const later = (event: Event, ms: number): string => new Date(Date.parse(timeOf(event)) + ms).toISOString();

/** What one event says to a person; takes changes and the ending out of it. */
function tell(event: Event, activities: Map<string, string>, story: Story): string[] {
  const nameOf = (id: unknown): string => activities.get(String(id)) ?? 'activity';
  if (event.activityTaskScheduledEventAttributes) return [summaryOf(event) ?? `${nameOf(event.eventId)} begins`];
  const done = event.activityTaskCompletedEventAttributes;
  if (done) return answered(nameOf(done.scheduledEventId), first(done.result), story);
  const marker = event.markerRecordedEventAttributes;
  if (marker) return local(marker, story);
  const failed = event.activityTaskFailedEventAttributes;
  if (failed) return [`${nameOf(failed.scheduledEventId)} failed: ${messageOf(failed.failure)}`];
  const late = event.activityTaskTimedOutEventAttributes;
  if (late) return [`${nameOf(late.scheduledEventId)} timed out: ${messageOf(late.failure)}`];
  const signal = event.workflowExecutionSignaledEventAttributes;
  if (signal) return signalled(signal.signalName ?? '');
  const cancel = event.workflowExecutionCancelRequestedEventAttributes;
  if (cancel) return [askedFor({ by: cancel.identity || 'somebody', reason: cancel.cause ?? '' })];
  return ended(event, story);
}

function signalled(name: string): string[] {
  if (name === MESSAGE.resolved) return ['the alert is resolved'];
  // Comes just before the cancel itself, which is told.
  return name === MESSAGE.cancel ? [] : [`signal ${name}`];
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
  const { verdict, why, changes, plan, stays, points } = fieldsOf(value);
  if (activity === 'watchBacklog') story.chart = joined(story.chart, points as ScalePoint[]);
  if (activity === 'driveBreaker') story.breaker = joinedStates(story.breaker, value as Driven);
  if (activity === 'assess' && typeof why === 'string') story.why ??= why;
  if (activity === 'assess' && verdict === 'sick') story.plan ??= plan as Plan;
  // A node that was drained and is still there stays held.
  if (givesBack(activity, verdict) && stays !== true) story.held = [];
  const made = (Array.isArray(value) ? value : Array.isArray(changes) ? changes : []) as Change[];
  story.changes.push(...made);
  const lines = made.map(({ what }) => what);
  if (typeof why === 'string') lines.push(`${activity}${typeof verdict === 'string' ? `: ${verdict}` : ''}: ${why}`);
  return lines;
}

/** Whether nothing is held any more after this answer: it was given back, or is gone. */
function givesBack(activity: string, verdict: unknown): boolean {
  if (activity === 'restore' || verdict === 'gone') return true;
  return (
    (activity === 'hold' && (verdict === 'recovered' || verdict === 'given-back')) ||
    (activity === 'replace' && verdict === 'replaced')
  );
}

/** A local activity leaves a marker with its type and its result. */
function local(marker: Marker, story: Story): string[] {
  const type = localType(marker);
  if (type === undefined) return [];
  if (marker.failure) return [`${type} failed: ${messageOf(marker.failure)}`];
  return answered(type, first(marker.details?.['result']), story);
}

type Marker = NonNullable<Event['markerRecordedEventAttributes']>;

function localType(marker: Marker): string | undefined {
  const { activity_type: type } = fieldsOf(first(marker.details?.['data']));
  return typeof type === 'string' ? type : undefined;
}

/** Who asked for the cancel of a run, as the server has it. */
export interface CancelRequest {
  /** ISO time. */
  at: string;
  by: string;
  /** Empty where none was given. */
  reason: string;
}

/** `cancel asked for by person:ada: wrong pod` */
export const askedFor = ({ by, reason }: Pick<CancelRequest, 'by' | 'reason'>): string =>
  `cancel asked for by ${by}${reason ? `: ${reason}` : ''}`;

export function cancelOf(history: History): CancelRequest | undefined {
  for (const event of history.events ?? []) {
    const asked = event.workflowExecutionCancelRequestedEventAttributes;
    if (asked) return { at: timeOf(event), by: asked.identity || 'somebody', reason: asked.cause ?? '' };
  }
  return undefined;
}

/** The local activity that failed last, where it has not succeeded since: it is tried again. */
export function failingOf(history: History): { activity: string; message: string } | undefined {
  let failing: { activity: string; message: string } | undefined;
  for (const { markerRecordedEventAttributes: marker } of history.events ?? []) {
    const activity = marker ? localType(marker) : undefined;
    if (activity !== undefined)
      failing = marker?.failure ? { activity, message: messageOf(marker.failure) } : undefined;
  }
  return failing;
}

/** The alert that a run was started for. */
export function startOf(history: History): RemediationInput | undefined {
  return first(history.events?.[0]?.workflowExecutionStartedEventAttributes?.input) as RemediationInput | undefined;
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

/** What the workflow called it, as Temporal's UI shows it. */
function summaryOf(event: Event): string | undefined {
  const payload = event.userMetadata?.summary;
  const summary = payload ? defaultPayloadConverter.fromPayload(payload) : undefined;
  return typeof summary === 'string' ? summary : undefined;
}

function messageOf(failure: { message?: string | null; cause?: unknown } | null | undefined): string {
  return failure?.message || 'no message';
}

function timeOf(event: Event | undefined): string {
  const { seconds, nanos } = event?.eventTime ?? {};
  return new Date(Number(seconds ?? 0) * 1000 + (nanos ?? 0) / 1e6).toISOString();
}
