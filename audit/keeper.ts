import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AuditStream } from '../model/audit.ts';
import type { AuditMetrics } from './metrics.ts';
import type { AuditStore } from './store.ts';
import { StoreUnavailableError } from './unavailable.ts';

export interface KeeperOptions {
  store: AuditStore;
  /** The history of an execution as protobuf JSON; `gone` where Temporal has none any more. */
  fetchHistory(stream: AuditStream): Promise<{ json: string; events: number } | 'running' | 'gone'>;
  /** Whether Temporal says that the execution has ended. */
  isOver(stream: AuditStream): Promise<boolean>;
  logger: Pick<Logger, 'info' | 'warn'>;
  metrics?: AuditMetrics;
  /** Milliseconds between two rounds; default 1,000. */
  every?: number;
}

export interface Keeper {
  /** Resolves when the round that is under way has come to its end. */
  stop(): Promise<void>;
}

const EVERY = 1_000;
/** Histories in one round, so that an end never waits long. */
const HISTORIES = 20;
/** Milliseconds after which a history is asked for again. */
const AGAIN = 10_000;
/** A remediation that has been running for so long is asked after, so often. */
const LONG = 10 * 60_000;
const LOOK_EVERY = 5 * 60_000;
const LOOKED_AT = 1_000;

/**
 * Keeps the store in order while workers write to it: chains heads into the log, keeps the histories of what has ended, and
 * notes the end of remediations that ended without a word. Any number of processes may do it at once.
 */
export function startKeeper(options: KeeperOptions): Keeper {
  const { every = EVERY } = options;
  const round = new Round(options);
  const stopping = new AbortController();
  const repeat = async (work: (stopping: AbortSignal) => Promise<void>): Promise<void> => {
    while (!stopping.signal.aborted) {
      await work(stopping.signal);
      // Not in step with the other processes.
      await sleep(every * (0.75 + Math.random() / 2), undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  // Beside each other: what is asked of Temporal may take long, and sealing does not wait for it.
  const running = Promise.all([repeat((until) => round.seal(until)), repeat((until) => round.ask(until))]);
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

class Round {
  readonly #options: KeeperOptions;
  /** Histories that could not be had, by stream: not before this time again. */
  readonly #later = new Map<string, number>();
  #nextLook = 0;
  /** Said once: a store that is down for an hour is one message. */
  readonly #troubles = new Map<string, string>();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  async seal(stopping: AbortSignal): Promise<void> {
    await this.#try('sealing', () => this.#seal(stopping));
  }

  /** What Temporal knows of remediations that have ended. */
  async ask(stopping: AbortSignal): Promise<void> {
    await this.#try('keeping histories', () => this.#keepHistories(stopping));
    if (Date.now() < this.#nextLook) return;
    const looked = await this.#try('looking for remediations that ended without a word', () =>
      this.#noteTerminated(stopping),
    );
    if (looked) this.#nextLook = Date.now() + LOOK_EVERY;
  }

  async #try(what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      if (this.#troubles.delete(what)) this.#options.logger.info(`audit: ${what} works again`);
      return true;
    } catch (error) {
      this.#options.metrics?.errors.inc({ operation: 'keeper' });
      // The words change as a database goes down and comes up; the trouble is one.
      const trouble = error instanceof StoreUnavailableError ? error.name : String(error);
      if (this.#troubles.get(what) !== trouble)
        this.#options.logger.warn({ err: error }, `audit: ${what} failed; it is tried again`);
      this.#troubles.set(what, trouble);
      return false;
    }
  }

  async #seal(stopping: AbortSignal): Promise<void> {
    let sealed: number | undefined;
    do sealed = await this.#options.store.seal();
    while (sealed !== undefined && sealed > 0 && !stopping.aborted);
  }

  async #keepHistories(stopping: AbortSignal): Promise<void> {
    const { store, fetchHistory } = this.#options;
    const now = Date.now();
    for (const [id, after] of this.#later) if (after <= now) this.#later.delete(id);
    const ended = await store.withoutHistory(HISTORIES + this.#later.size);
    let failure: unknown;
    for (const stream of ended.filter(({ id }) => !this.#later.has(id)).slice(0, HISTORIES)) {
      if (stopping.aborted) return;
      this.#later.set(stream.id, now + AGAIN);
      try {
        const history = await fetchHistory(stream);
        if (history === 'running') continue;
        if (history === 'gone') await store.historyGone(stream.id);
        else await store.keepHistory(stream.id, history);
        this.#later.delete(stream.id);
      } catch (error) {
        // The others are not to wait for the one that cannot be had.
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  async #noteTerminated(stopping: AbortSignal): Promise<void> {
    const { store, isOver, logger } = this.#options;
    for (const stream of await store.runningSince(new Date(Date.now() - LONG).toISOString(), LOOKED_AT)) {
      if (stopping.aborted) return;
      if (!(await isOver(stream))) continue;
      // It may have ended since the list was read; its own record is in before it ends, so now is the time to look.
      const [now] = (await store.findStreams(stream.id)).filter(({ id }) => id === stream.id);
      if (now?.outcome !== 'running') continue;
      const reason = 'it ended without a word: terminated, or timed out, in Temporal';
      const entry = { kind: 'ended' as const, outcome: 'terminated' as const, reason, lines: [] };
      await store.append({ stream, notes: [{ key: 'terminated', at: new Date().toISOString(), entry }] });
      logger.warn({ target: stream.target, workflowId: stream.workflowId, runId: stream.id }, `audit: ${reason}`);
    }
  }
}
