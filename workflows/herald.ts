import {
  ActivityCancellationType,
  CancellationScope,
  condition,
  continueAsNew,
  defineSignal,
  log,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import type { EndedAlert, HeraldActivities, HeraldInput, HeraldOrder, OwnAlert, Proclaimed } from '../model/herald.ts';
import { code, plain } from '../model/markdown.ts';
import { MESSAGE } from '../model/names.ts';
import { OPEN_MEMO, type OpenMemo } from '../model/standing.ts';
import { bytesOf } from './size.ts';
import { ownWatchQueue } from './waits.ts';

const order = defineSignal<[HeraldOrder]>(MESSAGE.herald);

/** The server refuses more than 10,000 signals of one run. */
const MAX_SIGNALS = 8_000;

const proclaiming = (): HeraldActivities =>
  proxyActivities<HeraldActivities>({
    summary: 'post its alerts, and again while they are open',
    taskQueue: ownWatchQueue(),
    startToCloseTimeout: '1 day',
    heartbeatTimeout: '10 seconds',
    // The next must not begin before it is over: it would open again what the next has ended. It is about a second.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' },
  });

/**
 * One for the fleet (`salvor/herald`): Salvor's own alerts that are open. One activity posts them for as long as they are;
 * it is begun anew when the list changes, with all that changed meanwhile, which costs twelve events of the history however
 * much it is. It ends when nothing is open and every end has been posted. Cancelled, it leaves what is open to end by
 * itself, within five minutes.
 */
export async function herald(input: HeraldInput = {}): Promise<void> {
  const board = new Board(input);
  let signals = 0;
  setHandler(order, (given) => {
    signals += 1;
    board.take(given);
  });
  const isFull = (): boolean => workflowInfo().continueAsNewSuggested || signals >= MAX_SIGNALS;
  // It is started by a signal, which it may not have heard yet.
  await condition(() => signals > 0 || !board.isEmpty);

  while (!board.isEmpty) {
    const list = board.list();
    setCurrentDetails(detailsOf(list.open));
    upsertMemo({ [OPEN_MEMO]: countsOf(list.open) });
    const scope = new CancellationScope();
    const proclaimed = scope.run(() => proclaiming().proclaim(list));
    const over = proclaimed.then(
      () => true,
      () => true,
    );
    const changed = condition(() => board.changed || isFull()).then(() => false);
    const cancelling = !(await Promise.race([over, changed]));
    if (cancelling) scope.cancel();
    try {
      board.close(list, await proclaimed);
    } catch (error) {
      // It had not begun yet, or its worker has died meanwhile: whatever it did, the next one does it again.
      if (!cancelling || CancellationScope.current().consideredCancelled) throw error;
    }
    if (isFull()) await continueAsNew<typeof herald>(board.list());
  }
}

/** Open at once: beyond it the oldest are ended, so that the newest are heard. */
const MOST = 500;
/** Of JSON, of what is open and of what has ended: both are one payload, of which the server takes 2 MiB. */
const MOST_BYTES = 1_024 * 1_024;
const MOST_ENDED_BYTES = 512 * 1_024;

interface List {
  open: OwnAlert[];
  ended: EndedAlert[];
}

/** What is open, the oldest first, and what has ended and may not have been told yet. */
class Board {
  readonly #open: Map<string, OwnAlert>;
  #ended: EndedAlert[];
  /** Since the last list. */
  changed = false;

  constructor({ open = [], ended = [] }: HeraldInput) {
    this.#open = new Map(open.map((alert) => [alert.id, alert]));
    this.#ended = ended;
  }

  get isEmpty(): boolean {
    return this.#open.size === 0 && this.#ended.length === 0;
  }

  list(): List {
    this.changed = false;
    return { open: [...this.#open.values()], ended: [...this.#ended] };
  }

  take({ raise = [], clear = [] }: HeraldOrder): void {
    for (const id of clear) this.#end(id);
    for (const alert of raise) this.#raise(alert);
    this.#bound();
  }

  /** @param list what it was given that has now come to an end */
  close(list: List, { over, posted }: Proclaimed): void {
    const told = new Set(posted.map((at) => list.ended[at]));
    this.#ended = this.#ended.filter((alert) => !told.has(alert));
    const ids = new Set(over);
    // What was raised anew meanwhile is another one.
    for (const alert of list.open) if (ids.has(alert.id) && this.#open.get(alert.id) === alert) this.#end(alert.id);
  }

  #raise(alert: OwnAlert): void {
    const before = this.#open.get(alert.id);
    // The order has come twice.
    if (before && JSON.stringify(before) === JSON.stringify(alert)) return;
    // To Alertmanager an alert is its labels: the one before would stay open.
    if (before && !isSame(before, alert)) this.#end(alert.id);
    this.#ended = this.#ended.filter((ended) => !isSame(ended, alert));
    this.#open.delete(alert.id);
    this.#open.set(alert.id, alert);
    this.changed = true;
  }

  #end(id: string): void {
    const alert = this.#open.get(id);
    if (alert === undefined) return;
    this.#open.delete(id);
    const { summary } = alert.annotations;
    const annotations: Record<string, string> = summary === undefined ? {} : { summary };
    this.#ended.push({ ...alert, annotations, endedAt: new Date().toISOString() });
    this.changed = true;
  }

  #bound(): void {
    const oldest = [...this.#open.values()].slice(0, outOf([...this.#open.values()], MOST_BYTES));
    for (const { id, alertname, annotations } of oldest) {
      log.warn('too many alerts of its own are open: the oldest is ended', { id, alertname, ...annotations });
      this.#end(id);
    }
    // Those end by themselves within five minutes.
    this.#ended = this.#ended.slice(outOf(this.#ended, MOST_ENDED_BYTES));
  }
}

const isSame = (one: OwnAlert, other: OwnAlert): boolean =>
  one.id === other.id &&
  one.alertname === other.alertname &&
  Object.keys(one.labels).length === Object.keys(other.labels).length &&
  Object.entries(one.labels).every(([name, value]) => other.labels[name] === value);

/** How many of the first have no room. */
function outOf(alerts: readonly OwnAlert[], room: number): number {
  let left = room;
  const last = alerts.findLastIndex((alert) => {
    left -= bytesOf(alert);
    return left < 0;
  });
  return Math.max(last + 1, alerts.length - MOST);
}

function countsOf(open: readonly OwnAlert[]): OpenMemo {
  const escalations = open.filter(({ alertname }) => alertname === 'SalvorEscalation').length;
  return { escalations, approvals: open.length - escalations };
}

/** Lines that Temporal's UI shows. */
const MOST_LINES = 20;

function detailsOf(open: readonly OwnAlert[]): string {
  const lines = open
    .slice(-MOST_LINES)
    .reverse()
    .map(({ alertname, startsAt, annotations, labels }) => {
      const about = code(labels['salvor_target'] ?? labels['salvor_scope'] ?? '');
      return `- ${alertname} ${about}, since ${startsAt}: ${plain(annotations['summary'] ?? '')}`;
    });
  const more = open.length - lines.length;
  return [`**${open.length}** open`, ...lines, ...(more > 0 ? [`- and ${more} before them`] : [])].join('\n');
}
