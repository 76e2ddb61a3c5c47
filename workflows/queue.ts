import { alertKey } from '../model/gates.ts';
import type { Queued, ResponderState } from '../model/responder.ts';
import { bytesOf } from './size.ts';

/** Bytes of carried state that those who wait may take, whatever `maxQueue` allows. */
const MAX_BYTES = 320 * 1024;
/** Beside them, of their labels: for silence and escalation, which can do without. Those of one alert are 8 KiB at most. */
const MAX_LABEL_BYTES = 160 * 1024;

/** Those who wait and are looked at again together: at least so many (most of them may be in vain), and at most. */
const FEW = 25;
const MOST = 200;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** How often those are decided anew whose reason may end without a word. */
const EVERY_PAUSED = 5 * MINUTE;
const EVERY_LIMITED = MINUTE;
const FIRST_TRY = 30 * SECOND;
const LAST_TRY = 5 * MINUTE;

/** Those whose reason may be over when a remediation of the scope ends, beside those who wait for nothing else. */
const ENDS_MAY_OPEN: ReadonlySet<string> = new Set(['unavailable', 'limits']);
/**
 * Those whose reason may be over when the control or the limits say so. Not all: a slot that the limits grant, and that is
 * given back because of another gate, would be offered again without end.
 */
const WORD_MAY_OPEN: ReadonlySet<string> = new Set(['paused', 'limits', 'storm']);
/**
 * What was put off by its remediation keeps its time, or the two would go on in a circle; but for where the word is a person's,
 * and the remediation will hear the same.
 */
const WORD_ENDS_PUT_OFF: ReadonlySet<string> = new Set(['paused', 'storm']);

/** What may have ended reasons to wait: an end in the scope, a word from outside, or something that concerns them all. */
type Cause = 'end' | 'word' | 'all';

/**
 * When a request that waits is decided anew, unless an event of this responder tells sooner (milliseconds since the
 * epoch); undefined where only an event will tell.
 *
 * @param until when the gate said that it opens
 * @param tries how often it was decided in a row to wait for this gate
 */
export function nextTry(gate: string, until: number | undefined, tries: number, now: number): number | undefined {
  switch (gate) {
    case 'cooldown':
      return until;
    case 'paused':
    case 'windows':
      return until ?? now + EVERY_PAUSED;
    case 'limits':
      return Math.min(until !== undefined && until > now ? until : Number.POSITIVE_INFINITY, now + EVERY_LIMITED);
    case 'unavailable':
      return now + backoff(tries);
    default:
      return undefined;
  }
}

/** Milliseconds: 30 s, doubled with each try, up to 5 min. */
export const backoff = (tries: number): number => Math.min(LAST_TRY, FIRST_TRY * 2 ** Math.min(tries, 10));

/** About as many bytes as a request takes in carried state: names differ in length, the rest hardly does. */
const sizeOf = ({ target, alertname, approval }: Queued): number =>
  target.length + 3 * alertname.length + 280 + (approval ? 200 + 3 * approval.comment.length : 0);

const labelsSizeOf = ({ labels }: Queued): number => (labels ? bytesOf(labels) : 0);

/** Those who wait, oldest first; keeps what would else be counted anew for each of thousands of alerts. */
export class Queue {
  /** Milliseconds. */
  waitAtMost: number;
  length = 0;
  /** When the first of them is to be decided anew without news (milliseconds since the epoch); infinity for never. */
  due = Number.POSITIVE_INFINITY;
  readonly #state: ResponderState;
  readonly #keys = new Map<string, Set<string>>();
  #bytes = 0;
  #labelBytes = 0;
  /** Something happened since those who wait were last decided: so it is taken to be at the begin of a run. */
  readonly #causes = new Set<Cause>(['end']);
  /** To be decided anew, as soon as it is their turn. */
  readonly #sweep = new Set<string>();
  #reach = 0;

  constructor(state: ResponderState) {
    this.#state = state;
    this.waitAtMost = state.rule?.gates.waitAtMost ?? Number.POSITIVE_INFINITY;
    for (const queued of this.all()) this.#count(queued);
  }

  all(): Queued[] {
    return Object.values(this.#state.queue);
  }

  has(alert: { fingerprint: string; startsAt: string }): boolean {
    return this.#state.queue[alertKey(alert)] !== undefined;
  }

  isFull(maxQueue: number): boolean {
    return this.length >= maxQueue || this.#bytes >= MAX_BYTES;
  }

  /** Some of them are to be decided anew at once. */
  get isWoken(): boolean {
    return this.length > 0 && (this.#causes.size > 0 || this.#sweep.size > 0);
  }

  wake(cause: Cause): void {
    this.#causes.add(cause);
  }

  /**
   * Those to be decided anew now, oldest first: not more than may find room, or their evidence would be read in vain.
   *
   * @param mayAct whether there is room for it
   * @returns `more`: others, who came before whoever comes now, are still to be decided
   */
  next(now: number, room: number, mayAct: (queued: Queued) => boolean): { chunk: Queued[]; more: boolean } {
    this.#gather(now);
    const chunk: Queued[] = [];
    let more = false;
    if (this.#sweep.size > 0) {
      this.#reach = Math.min(MOST, Math.max(2 * this.#reach, room, FEW));
      for (const queued of this.all()) {
        const key = alertKey(queued);
        if (!this.#sweep.has(key)) continue;
        if (chunk.length === this.#reach) {
          more = true;
          break;
        }
        this.#sweep.delete(key);
        if (mayAct(queued)) chunk.push(queued);
        // Only an end makes room, and that wakes it.
        else queued.notBefore = undefined;
      }
    }
    if (!more) this.#reach = 0;
    return { chunk, more };
  }

  /** It was not decided after all. */
  again(queued: Queued): void {
    this.#sweep.add(alertKey(queued));
  }

  /** Without its labels, where those who came before have left no room for them. */
  add(queued: Queued): void {
    if (this.#labelBytes + labelsSizeOf(queued) > MAX_LABEL_BYTES) queued.labels = undefined;
    this.#state.queue[alertKey(queued)] = queued;
    this.#count(queued);
  }

  /** It goes by another key from now on. */
  rename(queued: Queued, target: string): void {
    this.#bytes += target.length - queued.target.length;
    queued.target = target;
  }

  /** Makes room in the state. */
  forgetLabels(): void {
    for (const queued of this.all()) queued.labels = undefined;
    this.#labelBytes = 0;
  }

  remove(queued: Queued): void {
    const key = alertKey(queued);
    delete this.#state.queue[key];
    this.#sweep.delete(key);
    this.#keys.get(queued.fingerprint)?.delete(key);
    if (this.#keys.get(queued.fingerprint)?.size === 0) this.#keys.delete(queued.fingerprint);
    this.length -= 1;
    this.#bytes -= sizeOf(queued);
    this.#labelBytes -= labelsSizeOf(queued);
  }

  /** Drops the firings of one alert for which `which` holds, and answers them. */
  drop(fingerprint: string, which: (queued: Queued) => boolean): Queued[] {
    const all = [...(this.#keys.get(fingerprint) ?? [])].map((key) => this.#state.queue[key]);
    const dropped = all.filter((queued) => queued !== undefined).filter(which);
    for (const queued of dropped) this.remove(queued);
    return dropped;
  }

  /** Takes out those who have waited for as long as they may, and answers them. */
  expire(now: number): Queued[] {
    if (now < this.due) return [];
    const expired = this.all().filter(({ since }) => since + this.waitAtMost <= now);
    for (const queued of expired) this.remove(queued);
    return expired;
  }

  /** Finds anew when the first is due: after they were decided, or what they wait for has changed. */
  reckon(): void {
    this.due = Math.min(...this.all().map((queued) => this.#dueOf(queued)), Number.POSITIVE_INFINITY);
  }

  /** For the next run, which takes those to be woken that wait for nothing that has a time. */
  settle(): void {
    for (const queued of this.all())
      if (this.#isStirred(queued) || this.#sweep.has(alertKey(queued))) queued.notBefore = undefined;
  }

  #gather(now: number): void {
    if (this.#causes.size === 0 && now < this.due) return;
    for (const queued of this.all())
      if (this.#isStirred(queued) || (queued.notBefore ?? Number.POSITIVE_INFINITY) <= now)
        this.#sweep.add(alertKey(queued));
    this.#causes.clear();
  }

  #isStirred({ gate, notBefore, putOff }: Queued): boolean {
    const causes = this.#causes;
    if (putOff && notBefore !== undefined) return causes.has('word') && WORD_ENDS_PUT_OFF.has(gate);
    return (
      causes.has('all') ||
      (causes.has('end') && (notBefore === undefined || ENDS_MAY_OPEN.has(gate))) ||
      (causes.has('word') && WORD_MAY_OPEN.has(gate))
    );
  }

  #dueOf({ since, notBefore }: Queued): number {
    return Math.min(since + this.waitAtMost, notBefore ?? Number.POSITIVE_INFINITY);
  }

  #count(queued: Queued): void {
    const keys = this.#keys.get(queued.fingerprint) ?? new Set();
    this.#keys.set(queued.fingerprint, keys.add(alertKey(queued)));
    this.length += 1;
    this.#bytes += sizeOf(queued);
    this.#labelBytes += labelsSizeOf(queued);
    this.due = Math.min(this.due, this.#dueOf(queued));
  }
}
