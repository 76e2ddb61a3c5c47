import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  isCancellation,
  log,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { DispatchActivities } from '../model/dispatch.ts';
import { MESSAGE } from '../model/names.ts';
import type { EndReport } from '../model/remediation.ts';
import type { Batch, RunAnswer } from '../model/request.ts';
import type { ResponderInput, ResponderState } from '../model/responder.ts';
import { Admission } from './admission.ts';
import { detailsOf } from './details.ts';
import { keepRecord, Notes } from './record.ts';

const alerts = defineSignal<[Batch]>(MESSAGE.alerts);
const ended = defineSignal<[EndReport]>(MESSAGE.ended);
const run = defineUpdate<RunAnswer, [Batch]>(MESSAGE.run);
const state = defineQuery<ResponderState>(MESSAGE.state);

/** The server refuses more than 10,000 signals and 2,000 updates of one run; stay well below. */
const MAX_SIGNALS = 8_000;
const MAX_UPDATES = 1_500;

const { dispatch } = proxyLocalActivities<DispatchActivities>({
  summary: 'start what was admitted',
  startToCloseTimeout: '20 seconds',
  localRetryThreshold: '2 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '10 seconds' },
});

/**
 * One per rule and scope (`responder/<rule>/<scope>`): all admission lives here. Handlers only note what came; one loop
 * decides, so that no two decisions interleave. It ends when it has nothing left to remember, and the next signal
 * starts it again.
 */
export async function responder(input: ResponderInput): Promise<void> {
  const { rule, scope } = input;
  const notes = new Notes({ kind: 'responder', rule, scope }, input.notes);
  const admission = new Admission(input, workflowInfo(), (entry) => {
    notes.add(entry);
    if (entry.kind === 'decision' && entry.decision.answer === 'refuse')
      log.warn('refused', { rule, target: entry.target, reason: entry.decision.reason });
  });
  void CancellationScope.nonCancellable(() => keepRecord(notes));
  let signals = 0;
  let updates = 0;

  setHandler(alerts, (batch) => {
    signals += 1;
    admission.take(batch);
  });
  setHandler(ended, (report) => {
    signals += 1;
    admission.end(report);
  });
  setHandler(
    run,
    async (batch) => {
      updates += 1;
      const answer = admission.ask(batch);
      await condition(() => answer.settled !== undefined);
      return answer.settled as RunAnswer;
    },
    {
      validator: (batch: Batch) => {
        const { length } = batch.requests.filter(({ status }) => status === 'firing');
        if (length !== 1 || batch.requests.length !== 1) throw new Error('one firing request at a time');
      },
    },
  );
  setHandler(state, () => admission.state);

  const isFull = (): boolean =>
    workflowInfo().continueAsNewSuggested || signals >= MAX_SIGNALS || updates >= MAX_UPDATES;
  const onRecord = (): boolean => notes.pending.length === 0;
  const serving = { isFull, onRecord, heard: !onRecord() };
  try {
    await serve(admission, serving);
  } catch (error) {
    if (!isCancellation(error)) throw error;
    // Cancelled by a person: what was decided is put on record all the same, which may take as long as the store is down.
    // Who brings alerts meanwhile is told that they are taken, so they are.
    const goesOn = await CancellationScope.nonCancellable(async () => {
      await condition(() => onRecord() || admission.hasNews);
      if (!admission.hasNews) return false;
      await serve(admission, serving);
      return isFull();
    });
    if (!goesOn) throw error;
  }
  if (!admission.idle || !onRecord())
    await continueAsNew<typeof responder>({ rule, scope, state: admission.carry(), notes: notes.carry() });
}

interface Serving {
  isFull(): boolean;
  onRecord(): boolean;
  /** Not before the first news: a run that has heard of nothing yet, and has nothing to put on record, is not over. */
  heard: boolean;
}

/** Decides until nothing is left to remember and all is on record, or the run is full. */
async function serve(admission: Admission, { isFull, onRecord, heard }: Serving): Promise<void> {
  const alarm = new Alarm();
  const isOver = (): boolean => heard && admission.idle && onRecord();
  for (;;) {
    // A worker that dies here loses nothing: what came is in the history, and is decided again in the same way.
    alarm.set(admission.nextDue(Date.now()));
    await condition(() => admission.pressing || alarm.rung || isOver());
    alarm.quiet();
    heard = true;

    for (let work = admission.decide(Date.now(), isFull()); work; work = admission.decide(Date.now(), isFull())) {
      // If the worker dies within this await, the starts are made again with the same episodes: the server knows them.
      admission.dispatched(work, await dispatch(work), Date.now());
    }

    setCurrentDetails(detailsOf(admission.state));

    // A signal that arrives while these commands are on their way makes the server refuse them: none is lost.
    if (!isFull() && !isOver()) continue;
    await condition(allHandlersFinished);
    if (!admission.hasNews) return;
  }
}

/** One timer at a time, set anew only when something is due earlier: a burst of signals starts no burst of timers. */
class Alarm {
  rung = false;
  #due = Number.POSITIVE_INFINITY;
  #scope: CancellationScope | undefined;

  /** @param due milliseconds since the epoch, or infinity for none */
  set(due: number): void {
    if (due >= this.#due) return;
    this.#scope?.cancel();
    this.#due = due;
    const scope = new CancellationScope();
    this.#scope = scope;
    void scope
      .run(() => sleep(Math.max(1, due - Date.now()), { summary: 'decide anew what waits' }))
      .then(() => {
        if (this.#scope === scope) this.rung = true;
      })
      .catch((error: unknown) => {
        if (!isCancellation(error)) throw error;
      });
  }

  /** After it rang, it may be set again. */
  quiet(): void {
    if (!this.rung) return;
    this.rung = false;
    this.#due = Number.POSITIVE_INFINITY;
  }
}
