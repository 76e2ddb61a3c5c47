import { setTimeout as sleep } from 'node:timers/promises';

/** Something that can be killed and brought up again. */
export interface Victim {
  readonly name: string;
  readonly isUp: boolean;
  /** SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface Kill {
  name: string;
  /** Milliseconds since the epoch. */
  at: number;
}

/** Milliseconds. */
const BETWEEN = { least: 500, most: 3_000 };
const DOWN_AT_MOST = 1_500;

/** Kills one of the victims every half to three seconds, and brings each up again a little later. */
export class Chaos {
  readonly kills: Kill[] = [];
  readonly #victims: readonly Victim[];
  readonly #random: () => number;
  readonly #stopping = new AbortController();
  readonly #revivals = new Set<Promise<void>>();
  #running: Promise<void> | undefined;

  constructor(victims: readonly Victim[], random: () => number) {
    this.#victims = victims;
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
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#pause(BETWEEN.least + this.#random() * (BETWEEN.most - BETWEEN.least));
      if (this.#stopping.signal.aborted) return;
      const up = this.#victims.filter(({ isUp }) => isUp);
      const victim = up[Math.floor(this.#random() * up.length)];
      const down = this.#random() * DOWN_AT_MOST;
      if (!victim) continue;
      this.kills.push({ name: victim.name, at: Date.now() });
      await victim.kill();
      const revival = this.#pause(down).then(() => victim.start());
      this.#revivals.add(revival);
      // A failure is for `stop`, which awaits it.
      revival.catch(() => undefined);
    }
  }

  async #pause(ms: number): Promise<void> {
    // Cut short where the chaos ends: what is down then comes up at once.
    await sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
