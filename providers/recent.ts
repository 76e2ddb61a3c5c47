interface Read<T> {
  /** When it began: so old is its result at most. */
  at: number;
  result: Promise<T>;
  done: boolean;
}

/**
 * Reads that many ask for at the same time: one that is under way is shared, and so is its result for a while. What failed
 * is not remembered.
 */
export class Recent<T> {
  readonly #maxAge: number;
  /** Oldest first. */
  readonly #reads = new Map<string, Read<T>>();

  /** @param maxAge of a result, in milliseconds since its read began */
  constructor(maxAge: number) {
    this.#maxAge = maxAge;
  }

  get(key: string, read: () => Promise<T>): Promise<T> {
    const now = Date.now();
    this.#forget(now);
    const known = this.#reads.get(key);
    if (known) return known.result;
    const entry: Read<T> = { at: now, result: read(), done: false };
    this.#reads.set(key, entry);
    entry.result.then(
      () => {
        entry.done = true;
      },
      () => this.#reads.delete(key),
    );
    return entry.result;
  }

  #forget(now: number): void {
    for (const [key, { at, done }] of this.#reads) {
      if (now - at <= this.#maxAge) return;
      if (done) this.#reads.delete(key);
    }
  }
}
