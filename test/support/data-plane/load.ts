import { Worker } from 'node:worker_threads';
import type { Answer } from './answers.ts';

export interface LoadOptions {
  url: string;
  /** Requests a second, evenly, whatever comes of those before. */
  perSecond: number;
}

/** What the thread tells. */
export interface FromLoad {
  answers: Answer[];
  /** It has stopped, and every request has come to its end. */
  done: boolean;
}

/**
 * Steady load in a thread of its own, so that it keeps its pace and its clock whatever the test does. An open loop: a request
 * is sent when it is due, not when another has been answered. Nothing is tried again.
 */
export class Load {
  /** Of the requests that have ended so far, in the order of their ends. */
  readonly answers: Answer[] = [];
  readonly #thread: Worker;
  readonly #done: Promise<void>;

  constructor(options: LoadOptions) {
    this.#thread = new Worker(new URL('./load-thread.ts', import.meta.url), { workerData: options, execArgv: [] });
    this.#done = new Promise((resolve, reject) => {
      this.#thread.once('error', reject);
      this.#thread.on('message', ({ answers, done }: FromLoad) => {
        this.answers.push(...answers);
        if (done) resolve();
      });
    });
    // Whoever stops it hears of it.
    this.#done.catch(() => undefined);
  }

  /** Sends no more, and resolves when every request has come to its end. */
  async stop(): Promise<Answer[]> {
    this.#thread.postMessage('stop');
    await this.#done;
    return this.answers;
  }
}
