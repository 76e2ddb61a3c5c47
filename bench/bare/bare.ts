import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Answer, Order, Way } from './messages.ts';

/** Bare Temporal in a process of its own, on the server that Salvor is measured on. */
export class Bare {
  readonly taskQueue: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, taskQueue: string) {
    this.#child = child;
    this.taskQueue = taskQueue;
  }

  static async start(address: string): Promise<Bare> {
    const taskQueue = `bare-${randomUUID().slice(0, 8)}`;
    const child = fork(join(import.meta.dirname, 'process.ts'), [address, taskQueue], { execArgv: [] });
    await answerOf(child, 'ready');
    return new Bare(child, taskQueue);
  }

  /** So many starts, one every `gapMs`; answers their latencies in milliseconds. */
  async paced(count: number, gapMs: number, way: Way): Promise<number[]> {
    return (await this.#ask({ kind: 'paced', count, gapMs, way })).latencies;
  }

  /** Answers the milliseconds until all are started. */
  async burst(count: number, atOnce: number, way: Way): Promise<number> {
    return (await this.#ask({ kind: 'burst', count, atOnce, way })).took;
  }

  async #ask<K extends Order['kind']>(order: Order & { kind: K }): Promise<Extract<Answer, { kind: K }>> {
    const answer = answerOf(this.#child, order.kind);
    this.#child.send(order);
    return await answer;
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }
}

async function answerOf<K extends Answer['kind']>(child: ChildProcess, kind: K): Promise<Extract<Answer, { kind: K }>> {
  const end = new AbortController();
  try {
    const [answer] = (await Promise.race([
      once(child, 'message', end),
      once(child, 'exit', end).then(([code]) => {
        throw new Error(`the process of bare Temporal ended with ${code}`);
      }),
    ])) as [Answer];
    if (answer.kind !== kind) throw new Error(`bare Temporal answered ${answer.kind} in place of ${kind}`);
    return answer as Extract<Answer, { kind: K }>;
  } finally {
    end.abort();
  }
}
