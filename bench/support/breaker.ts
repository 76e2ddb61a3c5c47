import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { openTime } from '../../model/breaker/machine.ts';
import { MESSAGE, remediationId } from '../../model/names.ts';
import type { Story } from '../../model/remediation.ts';
import { until } from './product.ts';

/** What an open breaker adds to its history. */
export interface LongCost {
  /** Events until it was open for the first time. */
  begin: number;
  relapses: number;
  /** Events since then, for each relapse. */
  perRelapse: number;
  /** Relapses, by the machine: of the first hour, and of every later one, in which it is open for `maxOpen` each time. */
  firstHour: number;
  laterHour: number;
}

const HOUR = 3_600_000;
/** Milliseconds until what a transition has set off is in the history. */
const SETTLED = 3_000;

/** A breaker at default settings of a dependency that never recovers: its history, counted each time that it was opened. */
export class Longrun {
  readonly #client: Client;
  readonly #id: string;
  /** Events of its history, by how often it had been opened. */
  readonly #events = new Map<number, number>();
  #follows = true;
  readonly #following: Promise<void>;

  constructor(client: Client, dependency: string) {
    this.#client = client;
    this.#id = remediationId(`dependency/${dependency}`);
    this.#following = this.#follow();
  }

  async stop(): Promise<void> {
    this.#follows = false;
    await this.#following;
  }

  /** When it has relapsed so often. */
  async cost(relapses: number, options: { openFor: number; maxOpen: number }): Promise<LongCost> {
    await until(`${relapses} relapses`, () => Math.max(0, ...this.#events.keys()) > relapses, HOUR, 500);
    const [first, last] = [Math.min(...this.#events.keys()), Math.max(...this.#events.keys())];
    const [begin = Number.NaN, end = Number.NaN] = [this.#events.get(first), this.#events.get(last)];
    return { begin, relapses: last - first, perRelapse: (end - begin) / (last - first), ...perHour(options) };
  }

  async #follow(): Promise<void> {
    while (this.#follows) {
      await sleep(SETTLED);
      // It has not begun yet, or a busy worker has not answered: asked again.
      await this.#look().catch(() => undefined);
    }
  }

  /** What a relapse has set off must be in the history: counted again until it is opened once more. */
  async #look(): Promise<void> {
    const handle = this.#client.workflow.getHandle(this.#id);
    const { breaker } = await handle.query<Story>(MESSAGE.story);
    const opened = breaker?.timeline.filter(({ to }) => to === 'open').length ?? 0;
    const { events } = await handle.fetchHistory();
    if (opened > 0 && breaker?.state.phase === 'open') this.#events.set(opened, events?.length ?? 0);
  }
}

function perHour(options: { openFor: number; maxOpen: number }): Pick<LongCost, 'firstHour' | 'laterHour'> {
  let relapses = 0;
  for (let time = openTime(options, 0, 1); time < HOUR; time += openTime(options, relapses, 1)) relapses += 1;
  return { firstHour: relapses, laterHour: HOUR / options.maxOpen };
}
