/** Milliseconds between two steps of the queue, and between two looks at who works on it. */
const STEP = 100;
const LOOK = 500;

export interface QueueOptions {
  /** Of its metrics. */
  labels: Record<string, string>;
  /** How many work on it now. */
  workers: () => Promise<number>;
  /** Items a second that one of them serves. */
  perWorker: number;
}

/**
 * A queue that is worked on: the more are ready, the more items a second. It tells of itself by metrics, as its exporter would.
 */
export class Queue {
  /** Items a second that come. */
  arrivalRate = 0;
  waiting = 0;
  /** The most that have ever waited. */
  worst = 0;
  ready = 0;
  /** Items a second that all of them together serve at most: what they all wait for is elsewhere. */
  most = Number.POSITIVE_INFINITY;
  readonly #options: QueueOptions;
  readonly #timers: NodeJS.Timeout[];
  #arrived = 0;
  #served = 0;
  #last = Date.now();

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#timers = [setInterval(() => this.#step(), STEP), setInterval(() => void this.#look(), LOOK)];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** As Prometheus scrapes it. */
  metrics(): string[] {
    const named = Object.entries(this.#options.labels).map(([label, value]) => `${label}="${value}"`);
    const labels = `{${named.join(',')}}`;
    return [
      `queue_length${labels} ${this.waiting}`,
      `queue_arrivals_total${labels} ${this.#arrived}`,
      `queue_served_total${labels} ${this.#served}`,
    ];
  }

  #step(): void {
    const now = Date.now();
    const seconds = (now - this.#last) / 1_000;
    this.#last = now;
    const arrived = this.arrivalRate * seconds;
    this.#arrived += arrived;
    this.waiting += arrived;
    const rate = Math.min(this.most, this.ready * this.#options.perWorker);
    const served = Math.min(this.waiting, rate * seconds);
    this.waiting -= served;
    this.#served += served;
    this.worst = Math.max(this.worst, this.waiting);
  }

  async #look(): Promise<void> {
    try {
      this.ready = await this.#options.workers();
    } catch {
      // The API is busy: as many work on it as before.
    }
  }
}
