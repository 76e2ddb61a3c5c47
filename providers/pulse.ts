import { setTimeout as delay } from 'node:timers/promises';
import type { Pulse } from './instance.ts';

const BEAT_MS = 2_000;

/** Does something long while saying, every two seconds, that it is alive, and what the next attempt must know. */
export async function beating<T>(pulse: Pulse, details: () => unknown, work: () => Promise<T>): Promise<T> {
  pulse.beat(details());
  const timer = setInterval(() => pulse.beat(details()), BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/**
 * Sleeps until it is woken, or so many milliseconds have passed. Being woken while not asleep counts for the next sleep,
 * so that nothing is missed between a look and the sleep after it.
 */
export class Sleeper {
  #woken = Promise.withResolvers<void>();

  readonly wake = (): void => this.#woken.resolve();

  /** @throws the signal's reason, at once when it is aborted */
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const over = new AbortController();
    const abort = () => over.abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      const timer = delay(Math.max(0, Math.min(ms, MOST_MS)), undefined, { signal: over.signal });
      await Promise.race([this.#woken.promise, timer.catch(() => undefined)]); // cut short: see the signal below
    } finally {
      over.abort();
      signal.removeEventListener('abort', abort);
      this.#woken = Promise.withResolvers<void>();
    }
    signal.throwIfAborted();
  }
}

/** The longest a timer can be set. */
const MOST_MS = 2 ** 31 - 1;
