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
  patched,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import { STORM_MEMO, type StormMemo } from '../model/clearance.ts';
import type { DispatchActivities } from '../model/dispatch.ts';
import type { Evidence, EvidenceActivities, LookRequest } from '../model/evidence.ts';
import { MESSAGE } from '../model/names.ts';
import type { EndReport } from '../model/remediation.ts';
import type { Batch, RunAnswer } from '../model/request.ts';
import type { LookAgain, ResponderInput, ResponderState } from '../model/responder.ts';
import { WAITING_MEMO, type WaitingMemo } from '../model/standing.ts';
import { Admission } from './admission.ts';
import { detailsOf } from './details.ts';
import { explain } from './failures.ts';
import { keepRecord, Notes } from './record.ts';
import { stormDetails } from './storm.ts';
import { isStale, waitingOf } from './waiting.ts';

const alerts = defineSignal<[Batch]>(MESSAGE.alerts);
const ended = defineSignal<[EndReport]>(MESSAGE.ended);
const look = defineSignal<[LookAgain?]>(MESSAGE.look);
const run = defineUpdate<RunAnswer, [Batch]>(MESSAGE.run);
const state = defineQuery<ResponderState>(MESSAGE.state);

/** The server refuses more than 10,000 signals and 2,000 updates of one run; stay well below. */
const MAX_SIGNALS = 8_000;
const MAX_UPDATES = 1_500;

/** Runs of version 0.1 decide without a look; they go on with one at their next turn. */
const LOOKS = 'look';

/** What cannot be read in a few tries is an answer too: the gates fail closed, and nothing waits for ever. */
const evidence = proxyLocalActivities<EvidenceActivities>({
  summary: 'look before deciding',
  startToCloseTimeout: '20 seconds',
  localRetryThreshold: '5 seconds',
  retry: { initialInterval: '500 milliseconds', maximumAttempts: 3 },
});

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
  const late = new Late();

  setHandler(alerts, (batch) => {
    signals += 1;
    late.heard();
    admission.take(batch);
  });
  setHandler(ended, (report) => {
    signals += 1;
    late.heard();
    admission.end(report);
  });
  setHandler(look, (again = {}) => {
    signals += 1;
    admission.look(again);
  });
  setHandler(
    run,
    async (batch) => {
      updates += 1;
      late.heard();
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
  const serving: Serving = { isFull, onRecord, heard: !onRecord() };
  try {
    await serve(admission, serving);
  } catch (error) {
    if (!isCancellation(error)) throw error;
    // Cancelled by a person: what was decided is put on record all the same, which may take as long as the store is down.
    // Who brings alerts meanwhile is told that they are taken, so they are.
    const goesOn = await CancellationScope.nonCancellable(async () => {
      await condition(() => onRecord() || late.isNews);
      if (!late.isNews) return false;
      serving.heard = true;
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

/**
 * Whether news came with the cancel or after it: whoever brought it is told that it is taken. What comes in one workflow task
 * is heard before its cancel is, and may have come after it.
 */
class Late {
  #cancelled = Number.POSITIVE_INFINITY;
  #heard = -1;

  constructor() {
    // Lengths of the history, which are one for all that a task brings.
    CancellationScope.current().cancelRequested.catch(() => {
      this.#cancelled = workflowInfo().historyLength;
    });
  }

  heard(): void {
    this.#heard = workflowInfo().historyLength;
  }

  get isNews(): boolean {
    return this.#heard >= this.#cancelled;
  }
}

/** Decides until nothing is left to remember and all is on record, or the run is full. */
async function serve(admission: Admission, serving: Serving): Promise<void> {
  const { isFull, onRecord } = serving;
  let { heard } = serving;
  const alarm = new Alarm();
  const isOver = (): boolean => heard && admission.idle && onRecord();
  for (;;) {
    // A worker that dies here loses nothing: what came is in the history, and is decided again in the same way.
    alarm.set(admission.nextDue(Date.now()));
    await condition(() => admission.pressing || alarm.rung || isOver());
    alarm.quiet();
    heard = true;

    await CancellationScope.nonCancellable(() => decide(admission, isFull));
    const { state } = admission;
    tellOfWaiting(state);
    setCurrentDetails(stormDetails(state) + detailsOf(state));

    // A signal that arrives while these commands are on their way makes the server refuse them: none is lost.
    if (!isFull() && !isOver()) continue;
    await condition(allHandlersFinished);
    if (!admission.hasNews) return;
  }
}

/** One turn after the other, until there is nothing more to look at or to ask for. */
async function decide(admission: Admission, isFull: () => boolean): Promise<void> {
  for (;;) {
    const question = admission.hear(Date.now(), isFull());
    const seen = question && patched(LOOKS) ? await lookAt(question) : undefined;
    const work = admission.decide(Date.now(), seen);
    if (tellOfStorm(admission.state)) await sleep(1, { summary: 'its end is known before anything is started' });
    // If the worker dies within this await, the starts are made again with the same episodes: the server knows them.
    if (work) admission.dispatched(work, await dispatch(work), Date.now());
    if (!question && !work) return;
  }
}

async function lookAt(question: LookRequest): Promise<Evidence> {
  try {
    return await evidence.look(question);
  } catch (error) {
    const nothing = { targets: {}, workloads: {}, pauses: [], window: { open: true }, leases: {} } as const;
    return { ...nothing, pauses: [], at: Date.now(), error: explain(error) };
  }
}

/**
 * So that remediations which have not acted yet see it, without a worker's answer.
 *
 * @returns whether it is over, which the server learns with the end of this workflow task: what is started within it would still
 * be held back
 */
function tellOfStorm({ storm }: ResponderState): boolean {
  const told = workflowInfo().memo?.[STORM_MEMO] as StormMemo | null | undefined;
  if (told?.since === storm?.since) return false;
  const memo: StormMemo | null = storm ? { since: storm.since, reason: storm.why } : null;
  upsertMemo({ [STORM_MEMO]: memo });
  return memo === null;
}

/** For metrics. At the end of a turn: what waits for a moment only is not told. */
function tellOfWaiting(state: ResponderState): void {
  const told = workflowInfo().memo?.[WAITING_MEMO] as WaitingMemo | null | undefined;
  const now = waitingOf(state);
  // Runs of version 0.1 do not tell of it.
  if (isStale(told ?? undefined, now) && patched(LOOKS)) upsertMemo({ [WAITING_MEMO]: now ?? null });
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
