import { setTimeout as delay } from 'node:timers/promises';

/**
 * Looks until `look` answers something other than undefined or false; for what offers no event to await.
 * @param within milliseconds
 * @param every milliseconds between two looks
 */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  within = 90_000,
  every = 50,
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
    await delay(every);
  }
  throw new Error(`not within ${within} ms: ${what}`, { cause: last });
}

/** Asks again where no answer came in time: that the machine was busy for seconds says nothing of what is asked. */
export async function inTime<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!/nothing within \d+ s/.test(String(error))) throw error;
    }
  }
}

/** A promise with its settling functions: a door that a test opens. */
export function door<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve };
}
