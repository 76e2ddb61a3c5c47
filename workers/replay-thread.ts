import { parentPort, workerData } from 'node:worker_threads';
import { type History, historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DefaultLogger, type ReplayResult, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { withoutStacks } from './bundle.ts';
import {
  codeOf,
  commandEvents,
  divergenceAt,
  type Finding,
  findingOf,
  idOf,
  namedEvent,
  SOME_ACTIVITY,
} from './divergence.ts';
import type { Answer, ToReplay, Verdict } from './replay.ts';

/** A thread of {@link import('./replay.ts').replayAll}: replays what it is sent, one history after the other. */

type Events = NonNullable<History['events']>;
type ReplayError = ReplayResult['error'];

// That a history diverges is the result, and not news to be logged.
Runtime.install({
  logger: new DefaultLogger('ERROR', () => undefined),
  telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
  shutdownSignals: [],
});

/** One replaying worker, for as many histories as there are. */
class Replayer {
  readonly #code: string;
  #asked = Promise.withResolvers<{ workflowId: string; history: History } | undefined>();
  #results: AsyncIterator<ReplayResult> | undefined;

  constructor(code: string) {
    this.#code = code;
  }

  /** What the SDK says of it; nothing where the code goes the same way. */
  async replay(workflowId: string, events: Events): Promise<ReplayError> {
    this.#results ??= Worker.runReplayHistories({ workflowBundle: { code: this.#code } }, this.#feed());
    this.#asked.resolve({ workflowId, history: { events } });
    try {
      const next = await this.#results.next();
      return next.value?.error;
    } catch (error) {
      // The worker is of no use after this; the next history has a new one.
      this.#results = undefined;
      this.#asked = Promise.withResolvers();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#asked.resolve(undefined);
    await this.#results?.next();
  }

  async *#feed() {
    for (;;) {
      const one = await this.#asked.promise;
      if (!one) return;
      this.#asked = Promise.withResolvers();
      yield one;
    }
  }
}

/** With the stacks that the bundle for production leaves out. */
const replayer = new Replayer((workerData as string).replace(withoutStacks(''), ''));

async function answer({ workflowId, history }: ToReplay): Promise<Answer> {
  let events: Events;
  try {
    events = eventsOf(history);
  } catch (error) {
    return { workflowId: workflowId ?? '?', events: 0, verdict: 'unreadable', message: messageOf(error) };
  }
  const id = workflowId ?? (events[0]?.workflowExecutionStartedEventAttributes?.workflowId || '?');
  return { workflowId: id, events: events.length, ...(await verdictOf(id, events)) };
}

/** @throws where it is no whole history of a workflow; the SDK's native part would take that badly */
function eventsOf(history: History | string): Events {
  const { events } = typeof history === 'string' ? historyFromJSON(JSON.parse(history)) : history;
  const [first] = events ?? [];
  if (!events || !first?.workflowExecutionStartedEventAttributes?.originalExecutionRunId)
    throw new Error('it is no history: its first event is not the start of a workflow');
  const gap = events.findIndex((event, index) => idOf(event) !== index + 1);
  if (gap >= 0) throw new Error(`event ${gap + 1} is missing or out of order`);
  return events;
}

async function verdictOf(workflowId: string, events: Events): Promise<Verdict> {
  let error: ReplayError;
  try {
    error = await replayer.replay(workflowId, events);
  } catch (cause) {
    return { verdict: 'unreadable', message: messageOf(cause) };
  }
  if (!error) return { verdict: 'same' };
  const finding = findingOf(error.message);
  if (error instanceof DeterminismViolationError || namedEvent(finding) !== undefined) {
    const index = await find(workflowId, events, finding);
    const divergence = divergenceAt(events, index, finding);
    if (index === undefined || divergence.code !== SOME_ACTIVITY) return { verdict: 'diverges', divergence };
    const code = await whichActivity(workflowId, events.slice(0, index + 1));
    return { verdict: 'diverges', divergence: { ...divergence, code: code ?? SOME_ACTIVITY } };
  }
  return error.message.includes('internal SDK issue')
    ? { verdict: 'unreadable', message: finding.message }
    : { verdict: 'throws', ...finding };
}

/**
 * Index of the event where it diverges. Where the SDK does not name it, it is the end of the shortest beginning of the
 * history that diverges already.
 */
async function find(workflowId: string, events: Events, finding: Finding): Promise<number | undefined> {
  const named = namedEvent(finding);
  if (named !== undefined) return named - 1;
  const candidates = commandEvents(events);
  let [from, to] = [0, candidates.length - 1];
  while (from < to) {
    const middle = (from + to) >> 1;
    const beginning = events.slice(0, (candidates[middle] ?? 0) + 1);
    if (await replayer.replay(workflowId, beginning)) to = middle;
    else from = middle + 1;
  }
  return candidates[from];
}

/**
 * The SDK says only that the code schedules an activity. Had the history an activity there, it would say by which names
 * the two differ: so it is asked again with one of no name.
 */
async function whichActivity(workflowId: string, beginning: Events): Promise<string | undefined> {
  const last = beginning.at(-1);
  const said = async (activityId: string): Promise<Finding> => {
    const scheduled = { activityId, activityType: { name: '' } };
    const { eventId, eventTime } = last ?? {};
    const event = {
      eventId,
      eventTime,
      eventType: ACTIVITY_TASK_SCHEDULED,
      activityTaskScheduledEventAttributes: scheduled,
    };
    const error = await replayer.replay(workflowId, [...beginning.slice(0, -1), event]);
    return findingOf(error?.message ?? '');
  };
  const [, id] = / of activity command '([^']*)'/.exec((await said('')).message) ?? [];
  const code = id === undefined ? '' : codeOf(await said(id));
  return code.startsWith('schedules the activity') ? code : undefined;
}

/** `temporal.api.enums.v1.EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED` */
const ACTIVITY_TASK_SCHEDULED = 10;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

parentPort?.on('message', (one: ToReplay | undefined) => {
  if (one) void answer(one).then((said) => parentPort?.postMessage(said));
  else void replayer.close().finally(() => parentPort?.close());
});
