import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { MESSAGE } from '../model/names.ts';
import type { Batch } from '../model/request.ts';
import { MAX_BYTES, MAX_REQUESTS } from '../model/routing.ts';
import { signalResponder } from '../providers/temporal/responder.ts';
import { failureOf, isOutOfReach } from './failure.ts';
import type { GatewayMetrics } from './metrics.ts';

/** Milliseconds that Temporal has for one signal, retries of the client included; where it refuses connections, fewer. */
const SIGNAL_WITHIN = 5_000;

/** Milliseconds: a job that has fewer left when its turn comes is not sent. */
const LEAST = 500;

interface Job {
  batch: Batch;
  /** Milliseconds since the epoch after which nobody waits for it any more. */
  end: number;
  done(): void;
  failed(error: unknown): void;
}

/**
 * Hands batches to responders, each in a signal that also starts the responder where none runs. A responder is sent one
 * signal at a time, and what comes for it meanwhile, of whichever webhook, shares the next one, in the order in which it
 * came: alone a batch waits for nobody, and a storm of webhooks costs a few signals.
 */
export class Courier {
  readonly #client: Client;
  readonly #taskQueue: string;
  readonly #metrics: GatewayMetrics;
  /** Jobs that wait for the signal under way, by responder and version of the rule. */
  readonly #waiting = new Map<string, Job[]>();

  constructor(client: Client, taskQueue: string, metrics: GatewayMetrics) {
    this.#client = client;
    this.#taskQueue = taskQueue;
    this.#metrics = metrics;
  }

  /** Resolves when Temporal has taken the batch. */
  send(batch: Batch, end: number): Promise<void> {
    const { rule, ruleDigest, scope } = batch;
    const key = JSON.stringify([rule.name, ruleDigest, scope]);
    const { promise, resolve: done, reject: failed } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(key);
    waiting?.push({ batch, end, done, failed });
    if (waiting === undefined) {
      const jobs = [{ batch, end, done, failed }];
      this.#waiting.set(key, jobs);
      void this.#sendAll(key, jobs);
    }
    return promise;
  }

  async #sendAll(key: string, waiting: Job[]): Promise<void> {
    while (waiting.length > 0) {
      const jobs = fitting(waiting);
      const inTime = jobs.filter(({ end }) => end - Date.now() >= LEAST);
      // With too little time left it would fail, and those with it that have more.
      for (const job of jobs) if (!inTime.includes(job)) job.failed(tooLate());
      const error = await this.#sendTogether(inTime);
      // What keeps one signal from Temporal keeps the next one too: nobody waits for it in vain.
      if (error !== undefined && isOutOfReach(failureOf(error))) for (const job of waiting.splice(0)) job.failed(error);
    }
    this.#waiting.delete(key);
  }

  /** @returns why Temporal did not take them, where it did not */
  async #sendTogether(jobs: Job[]): Promise<unknown> {
    if (!isSome(jobs)) return undefined;
    const stop = this.#metrics.signalSeconds.startTimer();
    try {
      const end = Math.min(...jobs.map((job) => job.end));
      const batch = merged(jobs);
      await this.#client.withDeadline(Math.min(Date.now() + SIGNAL_WITHIN, end), () => this.#signal(batch));
      this.#metrics.batches.inc({ rule: batch.rule.name });
      for (const job of jobs) job.done();
      return undefined;
    } catch (error) {
      for (const job of jobs) job.failed(error);
      return error;
    } finally {
      stop();
    }
  }

  async #signal(batch: Batch): Promise<void> {
    const at = { client: this.#client, taskQueue: this.#taskQueue };
    await signalResponder(at, batch, { signal: MESSAGE.alerts, argument: batch });
  }
}

const isSome = (jobs: Job[]): jobs is [Job, ...Job[]] => jobs.length > 0;

/** As the client's own error where a call did not end in time. */
const tooLate = (): Error =>
  Object.assign(new Error('its turn came too late: other signals to the same responder took all of its time'), {
    code: DEADLINE_EXCEEDED,
    details: '',
    metadata: {},
  });

/** Of gRPC. */
const DEADLINE_EXCEEDED = 4;

/** Takes as many from the front as one signal may have. */
function fitting(waiting: Job[]): Job[] {
  const [first, ...others] = waiting as [Job, ...Job[]];
  let requests = first.batch.requests.length;
  let bytes = others.length > 0 ? bytesOf(first.batch) : 0;
  const next = others.findIndex(({ batch }) => {
    requests += batch.requests.length;
    bytes += bytesOf(batch);
    return requests > MAX_REQUESTS || bytes > MAX_BYTES;
  });
  const fit = next === -1 ? others : others.slice(0, next);
  waiting.splice(0, 1 + fit.length);
  return [first, ...fit];
}

function merged([{ batch }, ...others]: [Job, ...Job[]]): Batch {
  if (others.length === 0) return batch;
  // A delivery of its own: with the alert it names a start, and parts of one webhook may travel in different signals.
  const requests = [batch, ...others.map((job) => job.batch)].flatMap((one) => one.requests);
  return { ...batch, delivery: randomUUID(), requests };
}

const bytesOf = (batch: Batch): number => Buffer.byteLength(JSON.stringify(batch));
