import { alertKey } from '../model/gates.ts';
import { MOST_REMEMBERED, type Remembered } from '../model/remediation.ts';
import type { Request } from '../model/request.ts';
import type { ResponderState } from '../model/responder.ts';
import { bytesOf } from './size.ts';

/** How long a settled alert that keeps firing is remembered (milliseconds); after that it is looked at afresh. */
const REMEMBER = 24 * 60 * 60_000;
const MAX_SETTLED = 2_500;
/** In which an end may be told twice (milliseconds): its activity is tried again for as long as the record cannot be written. */
export const TOLD_TWICE = 60 * 60_000;
const MAX_DROPPED = 200;
/** Bytes of carried state; the server refuses a payload beyond 2 MiB. */
const MAX_CARRIED = 512 * 1024;

type Firing = Pick<Request, 'fingerprint' | 'startsAt'>;
type Kept = 'settled' | 'cooling' | 'attempts' | 'proposed' | 'dropped' | 'memory';

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

  refuse(alert: Firing, reason: string, now: number, remember = REMEMBER): void {
    this.#state.settled[alertKey(alert)] = { outcome: 'refused', reason: reason.slice(0, 120), until: now + remember };
  }

  /** The request of this run was dropped with its end. */
  dropped(runId: string, now: number): void {
    this.#state.dropped = { ...this.#state.dropped, [runId]: now + TOLD_TWICE };
    this.#drop('dropped', Object.keys(this.#state.dropped).length - MAX_DROPPED);
  }

  /** What a runbook wants remembered of a target; of too much what would be forgotten first is left out. */
  remember(target: string, news: Record<string, Remembered | null>): void {
    const kept: Record<string, Remembered> = { ...this.#state.memory?.[target] };
    for (const [key, one] of Object.entries(news)) {
      if (one) kept[key] = one;
      else delete kept[key];
    }
    const latest = Object.entries(kept).sort(([, a], [, b]) => b.until - a.until);
    this.#keep(target, Object.fromEntries(latest.slice(0, MOST_REMEMBERED)));
  }

  wasDropped(runId: string): boolean {
    return this.#state.dropped?.[runId] !== undefined;
  }

  /** @param per milliseconds over which failed attempts are counted */
  forget(now: number, per: number): void {
    const { cooling, settled, attempts, dropped = {} } = this.#state;
    for (const [target, until] of Object.entries(cooling)) if (until <= now) delete cooling[target];
    for (const [runId, until] of Object.entries(dropped)) if (until <= now) delete dropped[runId];
    for (const [key, { until }] of Object.entries(settled)) if (until <= now) delete settled[key];
    for (const [target, kept] of Object.entries(this.#state.memory ?? {}))
      this.#keep(target, Object.fromEntries(Object.entries(kept).filter(([, { until }]) => until > now)));
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
    const remembered = Object.values(this.#state.memory ?? {}).flatMap((kept) => Object.values(kept));
    return Math.max(
      ...failed,
      ...Object.values(cooling),
      ...[...Object.values(settled), ...remembered].map(({ until }) => until),
    );
  }

  get isTooLarge(): boolean {
    return bytesOf(this.#state) > MAX_CARRIED;
  }

  /** Forgets what matters least until the state is small enough to be carried. */
  fit(): void {
    // What is open or waits is bounded where it is admitted, and never forgotten. A proposal that is forgotten goes on: a
    // repeat of its alert, which would propose the same again, finds it.
    for (const kept of ['settled', 'memory', 'cooling', 'attempts', 'proposed'] as const) {
      const count = () => Object.keys(this.#state[kept] ?? {}).length;
      for (let left = count(); left > 0; left = count()) {
        if (!this.isTooLarge) return;
        this.#drop(kept, Math.ceil(left / 4));
      }
    }
  }

  /** Without an entry for a target of which nothing is known, or it would never end. */
  #keep(target: string, kept: Record<string, Remembered>): void {
    const memory = { ...this.#state.memory, [target]: kept };
    if (Object.keys(kept).length === 0) delete memory[target];
    this.#state.memory = Object.keys(memory).length > 0 ? memory : undefined;
  }

  /** Those that would be forgotten first anyhow. */
  #drop(kept: Kept, count: number): void {
    if (count <= 0) return;
    const all: Record<string, Value> = this.#state[kept] ?? {};
    const entries = Object.entries(all).map(([key, value]) => ({ key, until: untilOf(value) }));
    for (const { key } of entries.sort((a, b) => a.until - b.until).slice(0, count)) delete all[key];
  }
}

type Value = NonNullable<ResponderState[Kept]>[string];

function untilOf(value: Value): number {
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) return Math.max(...value.map(({ at }) => at));
  if ('until' in value && typeof value.until === 'number') return value.until;
  if ('since' in value && typeof value.since === 'number') return value.since;
  return Math.max(...Object.values(value as Record<string, Remembered>).map(({ until }) => until));
}
