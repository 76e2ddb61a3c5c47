import { parentPort, workerData } from 'node:worker_threads';
import { type History, historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DefaultLogger, type ReplayResult, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { withoutStacks } from './bundle.ts';
import {
  codeOf,
  commandEvents,
  divergenceAt,
  endOfLastTask,
  type Finding,
  findingOf,
  idOf,
  NOTHING,
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
  // Nothing was decided yet; the SDK's native part takes no such history.
  if (!events.some((event) => event.workflowTaskCompletedEventAttributes != null)) return { verdict: 'same' };
  let error: ReplayError;
  try {
    error = await replayer.replay(workflowId, events);
  } catch (cause) {
    return { verdict: 'unreadable', message: messageOf(cause) };
  }
  if (!error) return (await beyond(workflowId, events)) ?? { verdict: 'same' };
  const finding = findingOf(error.message);
  if (error instanceof DeterminismViolationError || namedEvent(finding) !== undefined) {
    const index = await find(workflowId, events, finding);
    const divergence = divergenceAt(events, index, finding);
    // Which one it is the SDK does not say by itself.
    if (index !== undefined && divergence.code === SOME_ACTIVITY)
      divergence.code = await doneAfter(workflowId, events.slice(0, index));
    return { verdict: 'diverges', divergence };
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
 * What the code does right after these events. It is told of an activity there that has no name: the SDK says how that
 * differs from what the code does, if it does anything.
 */
async function doneAfter(workflowId: string, before: Events): Promise<string> {
  const said = async (activityId: string): Promise<Finding> => {
    const error = await replayer.replay(workflowId, [...before, nameless(activityId, before)]);
    return findingOf(error?.message ?? '');
  };
  const first = await said('');
  const [, id] = / of activity command '([^']*)'/.exec(first.message) ?? [];
  return codeOf(id === undefined ? first : await said(id));
}

function nameless(activityId: string, before: Events): Events[number] {
  const [scheduled] =
    historyFromJSON({
      events: [
        {
          eventId: `${before.length + 1}`,
          eventType: 'EVENT_TYPE_ACTIVITY_TASK_SCHEDULED',
          activityTaskScheduledEventAttributes: { activityId, activityType: { name: '' } },
        },
      ],
    }).events ?? [];
  return { ...scheduled, eventTime: before.at(-1)?.eventTime };
}

/**
 * In an open history the SDK misses what the code does beyond it, for there is no event yet with which it could disagree.
 *
 * @returns undefined where the code does no more than what was recorded
 */
async function beyond(workflowId: string, events: Events): Promise<Verdict | undefined> {
  const end = endOfLastTask(events);
  if (end === undefined) return undefined;
  const code = await doneAfter(workflowId, events.slice(0, end + 1));
  if (code === NOTHING) return undefined;
  const message = `the code ${code} where the history has nothing more`;
  const divergence = { ...divergenceAt(events, end, { message }), recorded: 'does nothing more after it', code };
  return { verdict: 'diverges', divergence };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

parentPort?.on('message', (one: ToReplay | undefined) => {
  if (one) void answer(one).then((said) => parentPort?.postMessage(said));
  // Of this thread: the SDK's runtime would keep it.
  else void replayer.close().finally(() => process.exit());
});
