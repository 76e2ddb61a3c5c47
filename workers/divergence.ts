import { defaultPayloadConverter } from '@temporalio/common';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import type { Divergence, EventAt } from './replay.ts';

type Event = NonNullable<History['events']>[number];
type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];

/** A 64-bit number as histories have it; a history from another thread has lost the methods of these objects. */
type Long = number | { low: number; high: number };

/** What the SDK found: its words are those of its native core, which tells nothing in a structured way. */
export interface Finding {
  /** The core's own sentence. */
  message: string;
  /** Of an error that the workflow threw. */
  stack?: string;
}

/** Takes the sentence out of the SDK's message, which quotes a failure as Rust prints it. */
export function findingOf(message: string): Finding {
  const said = quoted(message, 'message') ?? message.replace(/^.*? Details: /s, '');
  // V8 puts the line that threw before it, for a terminal.
  const stack = quoted(message, 'stack_trace')?.replace(/^[^\n]+:\d+\n.*?\^+\n\n/s, '');
  return { message: said.replace(/^\[TMPRL1100\] /, ''), ...(stack && { stack }) };
}

/** A string field of a value as Rust's debug format writes it. */
function quoted(text: string, field: string): string | undefined {
  const [, inner] = new RegExp(`\\b${field}: "((?:[^"\\\\]|\\\\.)*)"`, 's').exec(text) ?? [];
  return inner?.replaceAll(/\\(?:u\{([0-9a-f]+)\}|(.))/gs, (_, code: string | undefined, char: string) =>
    code === undefined ? (ESCAPES[char] ?? char) : String.fromCodePoint(Number.parseInt(code, 16)),
  );
}
const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', 0: '\0' };

/** The ID of the event that the core names, if it names one. */
export function namedEvent({ message }: Finding): number | undefined {
  const [, id] = /\bHistoryEvent\(id: (\d+)|\bevent_id: (\d+)/.exec(message)?.filter(Boolean) ?? [];
  return id === undefined ? undefined : Number(id);
}

/** Indexes of the events that the workflow's own commands made: only there can a replay be found to differ. */
export const commandEvents = (events: readonly Event[]): number[] =>
  events.flatMap((event, index) => (COMMAND.test(attributesOf(event) ?? '') ? [index] : []));

const COMMAND = new RegExp(
  '^(activityTaskScheduled|activityTaskCancelRequested|timerStarted|timerCanceled|markerRecorded|' +
    'upsertWorkflowSearchAttributes|workflowPropertiesModified|startChildWorkflowExecutionInitiated|' +
    '(signal|requestCancel)ExternalWorkflowExecutionInitiated|nexusOperation(Scheduled|CancelRequested)|' +
    'workflowExecution(Completed|Failed|Canceled|ContinuedAsNew|UpdateAccepted|UpdateCompleted))EventAttributes$',
);

/**
 * Index of the last event that the last workflow task of an open history made, or of its end; undefined where the
 * history is closed, or has no such task yet.
 */
export function endOfLastTask(events: readonly Event[]): number | undefined {
  const last = attributesOf(events.at(-1) ?? {}) ?? '';
  if (/^workflowExecution(Completed|Failed|Canceled|ContinuedAsNew|Terminated|TimedOut)Event/.test(last))
    return undefined;
  const task = events.findLastIndex((event) => event.workflowTaskCompletedEventAttributes != null);
  if (task < 0) return undefined;
  const made = events.findIndex((event, index) => index > task && !COMMAND.test(attributesOf(event) ?? ''));
  return (made < 0 ? events.length : made) - 1;
}

/** What differs, for people. */
export function divergenceAt(events: readonly Event[], index: number | undefined, finding: Finding): Divergence {
  const event = index === undefined ? undefined : events[index];
  return {
    ...(event && index !== undefined && { event: eventAt(events, index) }),
    recorded: event ? saidBy(event) : 'other commands',
    code: codeOf(finding),
    message: finding.message,
  };
}

/** An event by number, type, and the step to which it belongs. */
function eventAt(events: readonly Event[], index: number): EventAt {
  const event = events[index] as Event;
  const step = stepOf(events, index);
  return { id: idOf(event), type: typeOf(event), ...(step !== undefined && { step }) };
}

/** The activity or timer whose event it is; else `after` the last one before it. */
function stepOf(events: readonly Event[], index: number): string | undefined {
  const own = ownStep(events, events[index] as Event);
  if (own !== undefined) return own;
  for (let before = index - 1; before >= 0; before--) {
    const step = ownStep(events, events[before] as Event);
    if (step !== undefined) return `after ${step}`;
  }
  return undefined;
}

function ownStep(events: readonly Event[], event: Event): string | undefined {
  const local = localActivityOf(event);
  if (local !== undefined) return summarized(local, event);
  const scheduled = event.activityTaskScheduledEventAttributes;
  if (scheduled) return summarized(scheduled.activityType?.name ?? 'activity', event);
  if (event.timerStartedEventAttributes) return summarized('timer', event);
  const attributes = event[attributesOf(event) as 'activityTaskCompletedEventAttributes'];
  const of = numberOf(attributes?.scheduledEventId ?? (attributes as { startedEventId?: Long })?.startedEventId);
  const cause = of > 0 ? events.find((one) => idOf(one) === of) : undefined;
  // The events of a workflow task point at each other too, and are no step.
  return cause && /^(activityTaskScheduled|timerStarted)/.test(attributesOf(cause) ?? '')
    ? ownStep(events, cause)
    : undefined;
}

const summarized = (name: string, { userMetadata }: Event): string => {
  const summary = userMetadata?.summary ? decoded(userMetadata.summary) : undefined;
  return typeof summary === 'string' && summary !== '' ? `${name} (${summary})` : name;
};

/** A local activity leaves a marker with its type in it. */
function localActivityOf({ markerRecordedEventAttributes: marker }: Event): string | undefined {
  const data = marker?.markerName === 'core_local_activity' ? marker.details?.['data']?.payloads?.[0] : undefined;
  const { activity_type: type } = (data ? decoded(data) : {}) as { activity_type?: string };
  return type;
}

/** What the event says that the workflow did when it was recorded. */
function saidBy(event: Event): string {
  const local = localActivityOf(event);
  if (local !== undefined) return `runs the local activity ${summarized(local, event)}`;
  const scheduled = event.activityTaskScheduledEventAttributes;
  if (scheduled) return `schedules the activity ${summarized(scheduled.activityType?.name ?? '?', event)}`;
  const known = DOINGS.find(([, type]) => type === typeOf(event));
  return known?.[2] ?? typeOf(event);
}

/** What the code did instead, as far as the core tells. */
export function codeOf({ message }: Finding): string {
  const named = / of (local )?activity command '([^']*)'/.exec(message);
  const [, local = '', type] = named ?? [];
  if (type !== undefined && message.includes('ctivity type')) {
    return `${local ? 'runs the local' : 'schedules the'} activity ${type}`;
  }
  if (/^Nondeterminism error: (No command scheduled|Missing associated machine)/.test(message)) return NOTHING;
  const known = DOINGS.find(([machine]) => message.startsWith(`Nondeterminism error: ${machine}`));
  return known?.[2] ?? 'does something else';
}

export const NOTHING = 'does nothing';
/** What the core does not tell by name. */
export const SOME_ACTIVITY = 'schedules an activity';

/** The core's state machines, the events that they answer for, and what they do. */
const DOINGS: readonly (readonly [machine: string, event: string, doing: string])[] = [
  ['Activity machine', 'ActivityTaskScheduled', SOME_ACTIVITY],
  ['Activity machine', 'ActivityTaskCancelRequested', 'cancels an activity'],
  ['Local activity machine', '', 'runs a local activity'],
  ['Local activity marker', '', 'runs another local activity'],
  ['Change machine', 'MarkerRecorded', 'asks for a patch'],
  ['Timer machine', 'TimerStarted', 'starts a timer'],
  ['Timer machine', 'TimerCanceled', 'cancels a timer'],
  ['UpsertWorkflowSearchAttributesMachine', 'UpsertWorkflowSearchAttributes', 'sets search attributes'],
  ['ModifyWorkflowPropertiesMachine', 'WorkflowPropertiesModified', 'changes its memo'],
  ['Complete workflow machine', 'WorkflowExecutionCompleted', 'completes'],
  ['Fail workflow machine', 'WorkflowExecutionFailed', 'fails'],
  ['Cancel workflow machine', 'WorkflowExecutionCanceled', 'ends as cancelled'],
  ['Continue as new workflow machine', 'WorkflowExecutionContinuedAsNew', 'continues as new'],
  ['Update machine', 'WorkflowExecutionUpdateAccepted', 'accepts an update'],
  ['Update machine', 'WorkflowExecutionUpdateCompleted', 'answers an update'],
];

const decoded = (payload: Payload): unknown => defaultPayloadConverter.fromPayload(payload);

const attributesOf = (event: Event): string | undefined =>
  Object.keys(event).find((key) => key.endsWith('EventAttributes') && event[key as keyof Event] != null);

/** `ActivityTaskScheduled`, as Temporal's UI writes it. */
function typeOf(event: Event): string {
  const name = (attributesOf(event) ?? 'unknown').replace(/EventAttributes$/, '');
  return name.charAt(0).toUpperCase() + name.slice(1);
}

export const idOf = ({ eventId }: Event): number => numberOf(eventId);

function numberOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return Number(value ?? 0);
  const { low, high } = value as Exclude<Long, number>;
  return high * 2 ** 32 + (low >>> 0);
}
