import { setTimeout as delay } from 'node:timers/promises';

/** How long a read is tried again: a server that restarts must not refuse what it could have answered a second later. */
const PATIENCE_MS = 5_000;
const WAIT_MS = { first: 100, most: 1_000 };

/**
 * Reads, and again in a moment where that may mend it, for five seconds.
 *
 * @param isPassing whether trying again may mend an error
 * @throws the last error
 */
export async function patiently<T>(read: () => Promise<T>, isPassing: (error: unknown) => boolean): Promise<T> {
  const until = Date.now() + PATIENCE_MS;
  for (let wait = WAIT_MS.first; ; wait = Math.min(wait * 2, WAIT_MS.most)) {
    try {
      return await read();
    } catch (error) {
      if (!isPassing(error) || Date.now() + wait > until) throw error;
    }
    await delay(wait);
  }
}
