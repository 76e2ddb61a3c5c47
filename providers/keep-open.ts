import type { Dependency } from '../model/breaker/options.ts';
import type { Change, ObjectRef } from '../model/change.ts';
import type { KeepOpenRequest, KeptOpen } from '../model/ports/switch.ts';
import { FinalError } from './errors.ts';
import type { Pulse } from './instance.ts';
import { beating, Sleeper } from './pulse.ts';

/** What one look at an open switch has found. */
export interface Look {
  /** What was set again. */
  changes: Change[];
  /** Somebody else has changed it: who, as far as that is known. */
  contest?: { by: string; object: ObjectRef };
  /** It must not be set again, whatever was before: Salvor itself gave it back, or it is gone. For people. */
  over?: string;
}

/** What an attempt tells the next one. */
interface Memory {
  contests: string[];
  changes: Change[];
}

/**
 * Looks every so often until the deadline, and again. A switch that cannot be asked is asked again at the next look: that
 * nobody can tell does not mean that it is closed.
 *
 * @param look `mayAssert`: whether what somebody else has changed may be set again; that is done once
 */
export async function keepOpen(
  request: KeepOpenRequest,
  pulse: Pulse,
  look: (mayAssert: boolean) => Promise<Look>,
): Promise<KeptOpen> {
  const memory: Memory = { contests: [], changes: [], ...(pulse.last as Partial<Memory> | undefined) };
  return beating(
    pulse,
    () => memory,
    () => new Watch(request, pulse, memory, look).until(),
  );
}

class Watch {
  readonly #request: KeepOpenRequest;
  readonly #pulse: Pulse;
  readonly #memory: Memory;
  readonly #look: (mayAssert: boolean) => Promise<Look>;
  #silent: string | undefined;

  constructor(request: KeepOpenRequest, pulse: Pulse, memory: Memory, look: (mayAssert: boolean) => Promise<Look>) {
    this.#request = request;
    this.#pulse = pulse;
    this.#memory = memory;
    this.#look = look;
  }

  async until(): Promise<KeptOpen> {
    const { signal } = this.#pulse;
    const { deadline, dependency } = this.#request;
    const sleeper = new Sleeper();
    try {
      for (;;) {
        const result = await this.#once();
        if (result) return result;
        const left = Date.parse(deadline) - Date.now();
        if (left <= 0) return this.#result(this.#silent ?? 'it stayed open until its time was up');
        await sleeper.sleep(Math.min(left, dependency.assertEvery), signal);
      }
    } catch (error) {
      // What was set again must not be lost with the wait: nobody else would tell of it.
      if (signal.aborted && this.#pulse.isCancelled?.()) return this.#result('it was stopped');
      throw error;
    }
  }

  async #once(): Promise<KeptOpen | undefined> {
    const { contests, changes } = this.#memory;
    let found: Look;
    try {
      found = await this.#look(contests.length === 0);
      this.#silent = undefined;
    } catch (error) {
      if (error instanceof FinalError || this.#pulse.signal.aborted) throw error;
      if (!isSilence(error)) throw error;
      this.#silent = `how it stands could not be told in the end: ${error.message}`;
      return undefined;
    }
    changes.push(...found.changes);
    if (!found.contest) return undefined;
    contests.push(found.contest.by);
    if (found.over !== undefined) return this.#result(found.over, found.contest);
    if (contests.length < 2) return undefined;
    const by = contests.at(-1) ?? '';
    return this.#result(
      `${by} changed it, twice by now, while Salvor held it; Salvor no longer asserts it`,
      found.contest,
    );
  }

  #result(why: string, contested?: KeptOpen['contested']): KeptOpen {
    return { changes: this.#memory.changes, why, ...(contested && { contested }) };
  }
}

/** Whether it only says that there was no answer that can be used now. */
const isSilence = (error: unknown): error is Error =>
  error instanceof Error && (error.name === 'UnavailableError' || error.name === 'ApiError');

/** When nobody should hold it any more, where no earlier hold says so. */
export const heldUntil = (held: readonly { until: string }[], { maxOpen }: Dependency): string =>
  held[0]?.until ?? new Date(Date.now() + maxOpen).toISOString();
