import { alertKey } from '../model/gates.ts';
import type { Queued, ResponderState } from '../model/responder.ts';

/** Bytes of carried state that those who wait may take, whatever `maxQueue` allows. */
const MAX_BYTES = 320 * 1024;

/** About as many bytes as a request takes in carried state: names differ in length, the rest hardly does. */
const sizeOf = ({ target, alertname }: Queued): number => target.length + 3 * alertname.length + 280;

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

  constructor(state: ResponderState) {
    this.#state = state;
    this.waitAtMost = state.rule?.gates.waitAtMost ?? Number.POSITIVE_INFINITY;
    for (const queued of this.all()) this.#count(queued);
  }

  all(): Queued[] {
    return Object.values(this.#state.queue);
  }

  isFull(maxQueue: number): boolean {
    return this.length >= maxQueue || this.#bytes >= MAX_BYTES;
  }

  add(queued: Queued): void {
    this.#state.queue[alertKey(queued)] = queued;
    this.#count(queued);
  }

  remove(queued: Queued): void {
    const key = alertKey(queued);
    delete this.#state.queue[key];
    this.#keys.get(queued.fingerprint)?.delete(key);
    if (this.#keys.get(queued.fingerprint)?.size === 0) this.#keys.delete(queued.fingerprint);
    this.length -= 1;
    this.#bytes -= sizeOf(queued);
  }

  /** Drops the firings of one alert for which `which` holds, and answers them. */
  drop(fingerprint: string, which: (queued: Queued) => boolean): Queued[] {
    const all = [...(this.#keys.get(fingerprint) ?? [])].map((key) => this.#state.queue[key]);
    const dropped = all.filter((queued) => queued !== undefined).filter(which);
    for (const queued of dropped) this.remove(queued);
    return dropped;
  }

  /** Finds anew when the first is due: after something that they wait for has changed. */
  reckon(): void {
    this.due = Math.min(...this.all().map((queued) => this.#dueOf(queued)), Number.POSITIVE_INFINITY);
  }

  #dueOf({ since, notBefore, target }: Queued): number {
    const next = notBefore ?? this.#state.cooling[target] ?? Number.POSITIVE_INFINITY;
    return Math.min(since + this.waitAtMost, next);
  }

  #count(queued: Queued): void {
    const keys = this.#keys.get(queued.fingerprint) ?? new Set();
    this.#keys.set(queued.fingerprint, keys.add(alertKey(queued)));
    this.length += 1;
    this.#bytes += sizeOf(queued);
    this.due = Math.min(this.due, this.#dueOf(queued));
  }
}
