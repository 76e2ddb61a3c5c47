interface Job<T> {
  item: T;
  size: number;
  done(): void;
  failed(error: unknown): void;
}

/**
 * What comes while a transaction runs shares the next one, so that under load many pages cost one commit, and alone a page
 * waits for nobody.
 */
export class Batcher<T> {
  readonly #write: (items: T[]) => Promise<void>;
  readonly #most: number;
  readonly #isOfAll: (error: unknown) => boolean;
  #waiting: Job<T>[] = [];
  #running: Promise<void> | undefined;

  /**
   * @param most sizes in one transaction, added up; a single item may be larger
   * @param isOfAll whether an error would be the same for each item alone, also for those that wait; after any other they
   *   are tried one by one, so that one bad page does not keep others off the record
   */
  constructor(options: {
    write(items: T[]): Promise<void>;
    most: number;
    isOfAll(error: unknown): boolean;
  }) {
    this.#write = options.write;
    this.#most = options.most;
    this.#isOfAll = options.isOfAll;
  }

  add(item: T, size: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ item, size, done: resolve, failed: reject });
    this.#running ??= this.#run();
    return promise;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Whoever calls in the same turn is in the first transaction too.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#attempt(this.#next());
    this.#running = undefined;
  }

  #next(): Job<T>[] {
    let size = 0;
    let count = 0;
    for (const job of this.#waiting) {
      size += job.size;
      if (count > 0 && size > this.#most) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #attempt(jobs: Job<T>[]): Promise<void> {
    try {
      await this.#write(jobs.map(({ item }) => item));
      for (const { done } of jobs) done();
    } catch (error) {
      // Those who wait would fail one transaction after the other, and while more comes than fails they would pile up.
      if (this.#isOfAll(error)) for (const { failed } of [...jobs, ...this.#waiting.splice(0)]) failed(error);
      else if (jobs.length === 1) for (const { failed } of jobs) failed(error);
      else for (const job of jobs) await this.#attempt([job]);
    }
  }
}
