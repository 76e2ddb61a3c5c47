import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds that anything may take, the chaos being what it is. */
const PATIENCE = 10 * 60_000;
const LOOK_EVERY = 1_000;

/** Looks once a second until `look` answers something other than undefined or false; where it throws, it looks again. */
export async function patiently<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  within = PATIENCE,
): Promise<T> {
  const deadline = Date.now() + within;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(LOOK_EVERY);
  }
  throw new Error(`not within ${within / 1000} s: ${what}`, { cause: last });
}
