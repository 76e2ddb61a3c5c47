import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  condition,
  defineUpdate,
  log,
  makeContinueAsNewFunc,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import { code, plain } from '../model/markdown.ts';
import { MESSAGE } from '../model/names.ts';
import {
  type ControlActivities,
  type ControlInput,
  INVALID_ORDER,
  isUnder,
  PAUSES_MEMO,
  type Pause,
  type PauseOrder,
  pauseFault,
  type ResumeAnswer,
  type ResumeOrder,
  resumeFault,
  standing,
} from '../model/pause.ts';
import { keepRecord, Notes } from './record.ts';

const pause = defineUpdate<Pause, [PauseOrder]>(MESSAGE.pause);
const resume = defineUpdate<ResumeAnswer, [ResumeOrder]>(MESSAGE.resume);

const OPTIONS = {
  startToCloseTimeout: '5 minutes',
  retry: { initialInterval: '500 milliseconds', maximumInterval: '1 minute' },
} as const;
const { wake } = proxyActivities<ControlActivities>({ ...OPTIONS, summary: 'have what waits decided anew' });
const { undo } = proxyActivities<ControlActivities>({ ...OPTIONS, summary: 'cancel what runs, so that it is undone' });

/** The server refuses more than 2,000 updates of one run; stay well below. */
const MAX_UPDATES = 1_500;
/** Milliseconds. Its first order comes with its start; where that was refused, it is not waited for any longer. */
const IDLE = 10_000;

/**
 * `salvor/control`: who has paused what. Its memo has it, so that it is read without a worker. It ends when nothing is
 * paused; an order that comes in that very moment is given again by whoever gives it.
 */
export async function control(input: ControlInput): Promise<void> {
  // Whoever cancels it in Temporal's UI may not know what that would set free: it is ended by resuming.
  await CancellationScope.nonCancellable(() => serve(input));
}

async function serve(input: ControlInput): Promise<void> {
  const notes = new Notes({ kind: 'control', rule: '', scope: '' }, input.notes);
  const orders = new Orders(input.pauses ?? [], notes);
  void CancellationScope.nonCancellable(() => keepRecord(notes));
  setHandler(pause, (order) => orders.pause(order), { validator: (order) => orders.check(order) });
  setHandler(resume, (order) => orders.resume(order), { validator: (order) => refuse(resumeFault(order)) });

  const isFull = (): boolean => workflowInfo().continueAsNewSuggested || orders.updates >= MAX_UPDATES;
  const isOver = (): boolean => orders.heard && orders.pauses.length === 0 && notes.pending.length === 0;
  const isDone = (): boolean => orders.underWay === 0 && (isOver() || isFull());
  while (!isDone()) {
    const { due, updates } = orders;
    const isNews = (): boolean => isDone() || orders.updates !== updates;
    if (due === undefined) await condition(isNews);
    else await condition(isNews, Math.max(1, due - Date.now()), { summary: 'the next pause ends' });
    orders.expire();
  }
  await condition(allHandlersFinished);
  if (isOver()) return;
  const { pauses } = orders;
  // With the memo: a mutation may ask before the next run has begun.
  const next = makeContinueAsNewFunc<typeof control>({ memo: { [PAUSES_MEMO]: pauses } });
  await next({ pauses, notes: notes.carry() });
}

/** What is paused, and all that changes it. */
class Orders {
  pauses: Pause[];
  updates = 0;
  /** Whether there ever was something to keep. */
  heard: boolean;
  /** Activities. */
  underWay = 0;
  readonly #notes: Notes;
  readonly #began = Date.now();

  constructor(pauses: Pause[], notes: Notes) {
    this.pauses = pauses;
    this.heard = pauses.length > 0;
    this.#notes = notes;
    setCurrentDetails(pauseDetails(pauses));
  }

  /** When something ends by itself, in milliseconds since the epoch. */
  get due(): number | undefined {
    if (!this.heard) return this.#began + IDLE;
    const ends = this.pauses.flatMap(({ until }) => (until === undefined ? [] : [Date.parse(until)]));
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  check(order: PauseOrder): void {
    refuse(pauseFault(order, standing(this.pauses, Date.now())));
  }

  pause({ prefix, by, reason, for: ms, undo: undone = false }: PauseOrder): Pause {
    this.#hear();
    const now = Date.now();
    const made: Pause = {
      prefix,
      by,
      reason,
      since: new Date(now).toISOString(),
      ...(ms !== undefined && { until: new Date(now + ms).toISOString() }),
    };
    this.#keep([...this.pauses.filter((one) => one.prefix !== prefix), made]);
    this.#notes.add({ kind: 'pause', pause: made, undo: undone });
    log.info('paused', { prefix, by, undo: undone });
    if (undone) this.#begin(() => undo({ prefix, by, reason }));
    this.#begin(() => wake({ prefix }));
    return made;
  }

  resume({ prefix, by, reason }: ResumeOrder): ResumeAnswer {
    this.#hear();
    const ended = this.pauses.filter((one) => isUnder(one.prefix, prefix));
    this.#keep(this.pauses.filter((one) => !ended.includes(one)));
    this.#notes.add({ kind: 'resume', prefix, by, reason, ended });
    log.info('resumed', { prefix, by, ended: ended.length });
    this.#begin(() => wake({ prefix, resume: { by, reason } }));
    return { ended };
  }

  /** Ends those whose time is over. */
  expire(): void {
    this.heard ||= Date.now() >= this.#began + IDLE;
    const left = standing(this.pauses, Date.now());
    const over = this.pauses.filter((one) => !left.includes(one));
    if (over.length === 0) return;
    this.#keep(left);
    for (const one of over) {
      const { prefix } = one;
      this.#notes.add({ kind: 'resume', prefix, by: 'salvor', reason: 'its time is over', ended: [one] });
      this.#begin(() => wake({ prefix }));
    }
  }

  #hear(): void {
    this.updates += 1;
    this.heard = true;
    this.expire();
  }

  /** The memo is changed by the workflow task that answers the order: whoever has the answer finds it changed. */
  #keep(pauses: Pause[]): void {
    this.pauses = pauses;
    upsertMemo({ [PAUSES_MEMO]: pauses });
    setCurrentDetails(pauseDetails(pauses));
  }

  /** Beside the orders: none waits for what another one has set going. Tried until it is done. */
  #begin(activity: () => Promise<unknown>): void {
    this.underWay += 1;
    void CancellationScope.nonCancellable(activity).finally(() => {
      this.underWay -= 1;
    });
  }
}

function refuse(fault: string | undefined): void {
  if (fault !== undefined) throw ApplicationFailure.nonRetryable(`${fault}. Nothing was changed`, INVALID_ORDER);
}

/** Lines of the list in Temporal's UI. */
const SHOWN = 20;

function pauseDetails(pauses: readonly Pause[]): string {
  if (pauses.length === 0) return 'nothing is paused';
  const lines = pauses.slice(0, SHOWN).map(({ prefix, by, reason, since, until }) => {
    const what = prefix === '' ? '**everything**' : code(prefix);
    const end = until === undefined ? 'until it is resumed' : `until **${until}**`;
    return `- ${what} by ${plain(by)} since ${since}, ${end}${reason === '' ? '' : `: ${plain(reason)}`}`;
  });
  const more = pauses.length > SHOWN ? [`- … and ${pauses.length - SHOWN} more`] : [];
  return [`**Paused (${pauses.length})**`, '', ...lines, ...more].join('\n');
}
