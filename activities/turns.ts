import type { Pulse } from '../providers/instance.ts';

const BEAT_MS = 1_000;

/** Lets so many at a time do what is heavy; who waits says meanwhile that he lives, and ends when he is cancelled. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  /** @returns the turn, which ends when it is disposed of. @throws the signal's reason */
  async next({ signal, beat, last }: Pick<Pulse, 'signal' | 'beat' | 'last'>): Promise<AsyncDisposable> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    // What an earlier attempt had to remember is said on.
    else await this.#handedOver(signal, () => beat(last));
    return { [Symbol.asyncDispose]: async () => this.#over() };
  }

  async #handedOver(signal: AbortSignal, beat: () => void): Promise<void> {
    const beats = setInterval(beat, BEAT_MS);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = () => {
      this.#waiting.splice(this.#waiting.indexOf(resolve), 1);
      reject(signal.reason);
    };
    signal.addEventListener('abort', end, { once: true });
    this.#waiting.push(resolve);
    try {
      await promise;
    } finally {
      clearInterval(beats);
      signal.removeEventListener('abort', end);
    }
  }

  #over(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}
