import { alertKey } from '../model/gates.ts';
import type { Request } from '../model/request.ts';
import type { ResponderState } from '../model/responder.ts';
import { bytesOf } from './size.ts';

/** How long a settled alert that keeps firing is remembered (milliseconds); after that it is looked at afresh. */
const REMEMBER = 24 * 60 * 60_000;
const MAX_SETTLED = 2_500;
/** Bytes of carried state; the server refuses a payload beyond 2 MiB. */
const MAX_CARRIED = 512 * 1024;

type Firing = Pick<Request, 'fingerprint' | 'startsAt'>;
type Kept = 'settled' | 'cooling' | 'attempts';

/** What a responder knows of the past, and forgets. All times in milliseconds since the epoch. */
export class Memory {
  readonly #state: ResponderState;

  constructor(state: ResponderState) {
    this.#state = state;
  }

  /** About this firing nothing new needs be done, for as long as it is remembered. */
  settle(alert: Firing, outcome: string, now: number, remember = REMEMBER): void {
    this.#state.settled[alertKey(alert)] = { outcome, until: now + remember };
  }

  refuse(alert: Firing, reason: string, now: number): void {
    this.#state.settled[alertKey(alert)] = { outcome: 'refused', reason: reason.slice(0, 120), until: now + REMEMBER };
  }

  /** @param per milliseconds over which failed attempts are counted */
  forget(now: number, per: number): void {
    const { cooling, settled, attempts } = this.#state;
    for (const [target, until] of Object.entries(cooling)) if (until <= now) delete cooling[target];
    for (const [key, { until }] of Object.entries(settled)) if (until <= now) delete settled[key];
    for (const [target, failed] of Object.entries(attempts)) {
      const counted = failed.filter(({ at }) => at > now - per);
      if (counted.length > 0) attempts[target] = counted;
      else delete attempts[target];
    }
    this.#drop('settled', Object.keys(settled).length - MAX_SETTLED);
  }

  /** When the last of it may be forgotten. */
  last(per: number): number {
    const { attempts, cooling, settled } = this.#state;
    const failed = Object.values(attempts).flatMap((times) => times.map(({ at }) => at + per));
    return Math.max(...failed, ...Object.values(cooling), ...Object.values(settled).map(({ until }) => until));
  }

  /** Forgets what matters least until the state is small enough to be carried. */
  fit(): void {
    // What is open or waits is bounded where it is admitted, and never forgotten.
    for (const kept of ['settled', 'cooling', 'attempts'] as const) {
      for (let left = Object.keys(this.#state[kept]).length; left > 0; left = Object.keys(this.#state[kept]).length) {
        if (bytesOf(this.#state) <= MAX_CARRIED) return;
        this.#drop(kept, Math.ceil(left / 4));
      }
    }
  }

  /** Those that would be forgotten first anyhow. */
  #drop(kept: Kept, count: number): void {
    if (count <= 0) return;
    const entries = Object.entries(this.#state[kept]).map(([key, value]) => ({ key, until: untilOf(value) }));
    for (const { key } of entries.sort((a, b) => a.until - b.until).slice(0, count)) delete this.#state[kept][key];
  }
}

function untilOf(value: ResponderState[Kept][string]): number {
  if (typeof value === 'number') return value;
  return Array.isArray(value) ? Math.max(...value.map(({ at }) => at)) : value.until;
}
