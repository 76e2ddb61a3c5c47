import type { Approval } from '../model/approval.ts';
import { alertKey } from '../model/gates.ts';
import type { Answer } from './answers.ts';
import type { Delivered, Undecided } from './desk.ts';

/** A request that is to be decided, and who waits to hear what was decided. */
export type Asked = Undecided & { answer?: Answer | undefined };

/** What came and is not decided, by alert, in the order in which it is decided. */
export class Arrivals {
  #fresh = new Map<string, Asked>();

  get size(): number {
    return this.#fresh.size;
  }

  get requests(): Delivered[] {
    return [...this.#fresh.values()].map(({ request }) => request);
  }

  has(request: Delivered): boolean {
    return this.#fresh.has(alertKey(request));
  }

  add(undecided: Asked): void {
    this.#fresh.set(alertKey(undecided.request), undecided);
  }

  putFirst(some: readonly Asked[]): void {
    if (some.length === 0) return;
    this.#fresh = new Map([...some.map((one): [string, Asked] => [alertKey(one.request), one]), ...this.#fresh]);
  }

  take(most = Number.POSITIVE_INFINITY): Asked[] {
    const taken = [...this.#fresh.values()].slice(0, most);
    for (const { request } of taken) this.#fresh.delete(alertKey(request));
    return taken;
  }

  /** A person has approved what came with this alert. */
  approve(request: Delivered, approval: Approval): void {
    const fresh = this.#fresh.get(alertKey(request));
    if (fresh) fresh.request.approval ??= approval;
  }

  /** Those that are meant are not decided any more. @returns them */
  drop(isMeant: (request: Delivered) => boolean): Asked[] {
    const dropped = [...this.#fresh.values()].filter(({ request }) => isMeant(request));
    for (const { request } of dropped) this.#fresh.delete(alertKey(request));
    return dropped;
  }
}
