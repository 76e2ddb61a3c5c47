import { setTimeout as sleep } from 'node:timers/promises';

/** Something that can be killed and brought up again. */
export interface Victim {
  readonly name: string;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Resolves when it runs, which is before it is of use. */
  start(): Promise<void>;
  /** Resolves when it is of use. */
  ready(): Promise<void>;
}

export interface Kill {
  name: string;
  /** Milliseconds since the epoch. */
  at: number;
}

/** Milliseconds. */
const BETWEEN = { least: 500, most: 3_000 };
const DOWN_AT_MOST = 1_500;
/** Of so many that come up again, one is killed while it does: more, and on a slow machine nothing would ever run. */
const SPARED = 4;

/** Kills one of the victims that are up every half to three seconds, and brings it up again a little later. */
export class Chaos {
  readonly kills: Kill[] = [];
  readonly #victims: readonly Victim[];
  readonly #up: Set<Victim>;
  readonly #random: () => number;
  readonly #stopping = new AbortController();
  readonly #revivals = new Set<Promise<void>>();
  #running: Promise<void> | undefined;

  constructor(victims: readonly Victim[], random: () => number) {
    this.#victims = victims;
    this.#up = new Set(victims);
    this.#random = random;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves when all are up again; rejects where one could not be started. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await Promise.all(this.#revivals);
    await Promise.all([...this.#up].map((victim) => victim.ready()));
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#pause(BETWEEN.least + this.#random() * (BETWEEN.most - BETWEEN.least));
      if (this.#stopping.signal.aborted) return;
      const victim = this.#victims[Math.floor(this.#random() * this.#victims.length)];
      // One that is down is spared, and so are the others: else the last that stands would always be the next to fall.
      if (!victim || !this.#up.delete(victim)) continue;
      this.kills.push({ name: victim.name, at: Date.now() });
      await victim.kill();
      const revival = this.#revive(victim);
      this.#revivals.add(revival);
      // A failure is for `stop`, which awaits it.
      revival.catch(() => undefined);
    }
  }

  async #revive(victim: Victim): Promise<void> {
    await this.#pause(this.#random() * DOWN_AT_MOST);
    await victim.start();
    if (this.#random() >= 1 / SPARED) await victim.ready();
    this.#up.add(victim);
  }

  async #pause(ms: number): Promise<void> {
    // Cut short where the chaos ends: what is down then comes up at once.
    await sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
