import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Worker as Thread } from 'node:worker_threads';
import type { History } from '@temporalio/common/lib/proto-utils.js';

/** A history that is to be replayed; read only when its turn comes, so that few are in memory at a time. */
export interface Recorded {
  /** Where there is one; else the history itself may know. */
  workflowId?: string;
  /** Where it is from, for people: a file, or a run. */
  source: string;
  /** The history, or its JSON, as `temporal workflow show --output json` writes it; undefined where it is gone meanwhile. */
  load(): Promise<History | string | undefined>;
}

/** An event of a history. */
export interface EventAt {
  id: number;
  /** As in Temporal's UI: `ActivityTaskScheduled`. */
  type: string;
  /** The runbook's step: `cut (cut its traffic)`; `after …` where the event is of none. */
  step?: string;
}

/** Where the code of today first does something else than what was recorded. */
export interface Divergence {
  /** Undefined where the SDK tells nothing by which it could be found. */
  event?: EventAt;
  /** What the history has: `schedules the activity cut (cut its traffic)`. */
  recorded: string;
  /** What the code does there. */
  code: string;
  /** In the words of the SDK. */
  message: string;
}

export type Verdict =
  | { verdict: 'same' }
  | { verdict: 'diverges'; divergence: Divergence }
  /** The code throws where it did not, or still throws; with the stack of the workflow's code. */
  | { verdict: 'throws'; message: string; stack?: string }
  /** It is no history, or a damaged one. */
  | { verdict: 'unreadable'; message: string };

export type Replayed = { workflowId: string; source: string; events: number } & Verdict;

/** Messages to a thread, and its answers, in the same order. */
export interface ToReplay {
  workflowId?: string;
  history: History | string;
}
export type Answer = { workflowId: string; events: number } & Verdict;

export interface ReplayOptions {
  /** The workflow bundle, as {@link bundleToReplay} reads it. */
  code: string;
  /** Threads, each with a replaying worker of its own. */
  jobs: number;
}

/**
 * Replays histories against the code of a bundle, in parallel; at most one history a thread is in memory.
 *
 * @param on told of each, in the order in which they are done
 * @throws what reading a history throws; or where a thread died
 */
export async function replayAll(
  histories: AsyncIterable<Recorded>,
  { code, jobs }: ReplayOptions,
  on: (replayed: Replayed) => void,
): Promise<void> {
  const source = histories[Symbol.asyncIterator]();
  const lanes = Array.from({ length: jobs }, () => new Lane(code));
  const work = async (lane: Lane): Promise<void> => {
    for (let next = await source.next(); !next.done; next = await source.next()) {
      const { workflowId, source: from, load } = next.value;
      const history = await load();
      if (history !== undefined) on({ source: from, ...(await lane.replay({ workflowId, history })) });
    }
  };
  try {
    await Promise.all(lanes.map(work));
  } finally {
    await source.return?.();
    await Promise.all(lanes.map((lane) => lane.end()));
  }
}

/** One thread, started with its first history. */
class Lane {
  readonly #code: string;
  #thread: Thread | undefined;
  /** Settles what is being replayed, or is the reason why nothing more can be. */
  #settle: { resolve: (answer: Answer) => void; reject: (reason: unknown) => void } | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(code: string) {
    this.#code = code;
  }

  async replay(one: ToReplay): Promise<Answer> {
    this.#thread ??= this.#start();
    const { promise, ...settle } = Promise.withResolvers<Answer>();
    this.#settle = settle;
    this.#thread.postMessage(one);
    return await promise;
  }

  /** Resolves when the thread is gone; where it is in the midst of a history it is ended there. */
  async end(): Promise<void> {
    if (this.#settle) await this.#thread?.terminate();
    else this.#thread?.postMessage(undefined);
    await this.#ended;
  }

  #start(): Thread {
    const file = new URL(`./replay-thread${extname(import.meta.filename)}`, import.meta.url);
    const thread = new Thread(file, { workerData: this.#code });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = promise;
    thread.on('message', (answer: Answer) => {
      const settle = this.#settle;
      this.#settle = undefined;
      settle?.resolve(answer);
    });
    thread.on('error', (error) => this.#settle?.reject(error));
    thread.on('exit', (code) => {
      this.#settle?.reject(new Error(`the thread that replays ended with ${code}`));
      resolve();
    });
    return thread;
  }
}

/**
 * The workflow bundle that is to be tried: the one of this build; from source it is made now.
 *
 * @throws where a path is given and cannot be read
 */
export async function bundleToReplay(path?: string): Promise<string> {
  const built = join(import.meta.dirname, '..', 'workflow-bundle.js');
  try {
    return await readFile(path ?? built, 'utf8');
  } catch (error) {
    if (path !== undefined) throw error;
    const { bundleWorkflows } = await import('./bundle.ts');
    return (await bundleWorkflows()).code;
  }
}
