import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { ActivityCancelledError, ActivityNotFoundError, type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { EndedAlert, HeraldActivities, HeraldInput, HeraldOrder, OwnAlert } from '../model/herald.ts';
import { HERALD_ID, MESSAGE, WORKFLOW } from '../model/names.ts';
import { OWN_LABEL } from '../model/routing.ts';
import {
  type Alertmanager,
  AlertmanagerError,
  PLAIN_NAME,
  type PostedAlert,
} from '../providers/alertmanager/client.ts';
import type { Fence } from './attempt.ts';

/** Hands an order to `salvor/herald`; the same order twice changes nothing more. */
export function heraldOf({ client, taskQueue }: { client: Client; taskQueue: string }) {
  return async (order: HeraldOrder): Promise<void> => {
    const { raise = [], clear = [] } = order;
    if (raise.length > 0) {
      const input: HeraldInput = {};
      await client.workflow.signalWithStart(WORKFLOW.herald, {
        workflowId: HERALD_ID,
        taskQueue,
        signal: MESSAGE.herald,
        signalArgs: [order],
        args: [input],
        staticSummary: "Salvor's own alerts that are open",
      });
    } else if (clear.length > 0) {
      try {
        await client.workflow.getHandle(HERALD_ID).signal(MESSAGE.herald, order);
      } catch (error) {
        // It does not run: nothing is open.
        if (!(error instanceof WorkflowNotFoundError)) throw error;
      }
    }
  };
}

/** All in milliseconds. */
export interface HeraldTiming {
  /** For how long an alert is open after it was posted last. */
  lasts: number;
  repeatEvery: number;
  /** How soon one that did not take them is tried again. */
  retryEvery: number;
  lookEvery: number;
  /** How often it asks whether the list has changed: an order is out within this time and a moment. */
  askEvery: number;
}

const TIMING: HeraldTiming = {
  lasts: 300_000,
  repeatEvery: 60_000,
  retryEvery: 5_000,
  lookEvery: 30_000,
  askEvery: 1_000,
};

export interface HeraldOptions {
  herald: (order: HeraldOrder) => Promise<void>;
  /** Every member; none: nothing is posted. */
  alertmanagers: readonly Alertmanager[];
  /** Whether the target of an escalation is well again; never rejects. */
  isWell: (alert: OwnAlert) => Promise<boolean>;
  fence: Fence;
  /** Temporal's UI, and the namespace of the runs. */
  ui?: { url: string; namespace: string } | undefined;
  timing?: Partial<HeraldTiming>;
}

export function heraldActivities(options: HeraldOptions): HeraldActivities {
  const { herald, alertmanagers, isWell, fence, ui } = options;
  const timing = { ...TIMING, ...options.timing };
  const health = new Health(isWell, timing.lookEvery);
  return {
    herald,
    async proclaim({ open, ended }) {
      if (alertmanagers.length === 0) return { over: open.map(({ id }) => id), posted: ended.map((_, at) => at) };
      const context = Context.current();
      const over = new AbortController();
      const signal = AbortSignal.any([context.cancellationSignal, over.signal]);
      const poster = new Poster({ alertmanagers, open, ended, timing, ui, signal });
      const posting = poster.keepPosting();
      try {
        const ids = await Promise.race([
          health.untilOver(open, signal),
          untilPast(open, signal),
          ...(open.length === 0 ? [poster.allPosted.then(() => [])] : []),
          untilAsked(fence, timing.askEvery, signal).then(() => []),
        ]);
        return { over: ids, posted: poster.posted };
      } catch (error) {
        // The list has changed. Anything else (the worker shuts down, another attempt has begun) ends this attempt only.
        if (context.cancellationDetails?.cancelRequested) return { over: [], posted: poster.posted };
        throw context.cancellationSignal.aborted ? context.cancellationSignal.reason : error;
      } finally {
        over.abort();
        // Nothing of it is on its way when the next begins.
        await posting;
      }
    },
  };
}

/** Heartbeats; resolves when the activity is to end, which the usual heartbeat would tell up to three seconds later. */
async function untilAsked(fence: Fence, every: number, signal: AbortSignal): Promise<void> {
  const context = Context.current();
  for (;;) {
    context.heartbeat();
    try {
      await fence(context.info.taskToken, undefined);
    } catch (error) {
      if (error instanceof ActivityCancelledError) return;
      if (error instanceof ActivityNotFoundError) throw error;
      // Temporal does not answer: what is open stays open meanwhile.
    }
    await sleep(every, undefined, { signal });
  }
}

/** The longest that a timer can be set. */
const MOST_MS = 2 ** 31 - 1;

/** Resolves with the IDs of those that have ended by themselves. */
async function untilPast(open: readonly OwnAlert[], signal: AbortSignal): Promise<string[]> {
  const next = Math.min(
    ...open.map(({ until }) => (until === undefined ? Number.POSITIVE_INFINITY : Date.parse(until))),
  );
  while (next > Date.now()) await sleep(Math.min(next - Date.now(), MOST_MS), undefined, { signal });
  return open.filter(({ until }) => until !== undefined && Date.parse(until) <= Date.now()).map(({ id }) => id);
}

interface Posting extends Pick<HeraldOptions, 'alertmanagers' | 'ui'> {
  open: readonly OwnAlert[];
  ended: readonly EndedAlert[];
  timing: HeraldTiming;
  signal: AbortSignal;
}

/** A clock of Alertmanager that is behind by less than this takes an end for one: else it would be in its future. */
const SKEW_MS = 5_000;

/** Each Alertmanager has a loop of its own: one that is down holds no other back. */
class Poster {
  readonly #given: Posting;
  /** By position in `ended`: those that have heard of it. */
  readonly #heard: Set<Alertmanager>[];
  readonly #all = Promise.withResolvers<void>();

  constructor(given: Posting) {
    this.#given = given;
    this.#heard = given.ended.map(() => new Set());
  }

  /** Resolves when no end needs posting any more. */
  get allPosted(): Promise<void> {
    return this.#all.promise;
  }

  get posted(): number[] {
    const { ended, alertmanagers, timing } = this.#given;
    return ended.flatMap(({ endedAt }, at) => {
      // An Alertmanager that was never reached has ended it by itself.
      const old = Date.parse(endedAt) + timing.lasts < Date.now();
      return old || this.#heard[at]?.size === alertmanagers.length ? [at] : [];
    });
  }

  /** Resolves when it is aborted and nothing is on its way. */
  async keepPosting(): Promise<void> {
    await Promise.allSettled(this.#given.alertmanagers.map((alertmanager) => this.#keepTelling(alertmanager)));
  }

  async #keepTelling(alertmanager: Alertmanager): Promise<void> {
    const { timing, signal, ended } = this.#given;
    const { log } = Context.current();
    let failing = false;
    for (;;) {
      let wait = timing.repeatEvery;
      try {
        await this.#tell(alertmanager);
        if (failing) log.info("an Alertmanager takes Salvor's alerts again", { alertmanager: alertmanager.url });
        failing = false;
      } catch (error) {
        signal.throwIfAborted();
        if (!failing) log.warn(`Salvor's own alerts are not told everywhere: ${messageOf(error)}; it is tried again`);
        failing = true;
        wait = timing.retryEvery;
      }
      if (this.posted.length === ended.length) this.#all.resolve();
      await sleep(wait, undefined, { signal });
    }
  }

  async #tell(alertmanager: Alertmanager): Promise<void> {
    const { open, ended, timing, signal } = this.#given;
    const now = Date.now();
    const ends = (alert: OwnAlert): number =>
      Math.min(now + timing.lasts, alert.until === undefined ? Number.POSITIVE_INFINITY : Date.parse(alert.until));
    const posts = [
      ...open.filter((alert) => ends(alert) > now).map((alert) => this.#posted(alert, ends(alert))),
      ...ended.map((alert) => this.#posted(alert, Date.parse(alert.endedAt) - SKEW_MS)),
    ];
    await postPlainly(alertmanager, posts, signal);
    for (const heard of this.#heard) heard.add(alertmanager);
  }

  #posted({ id, alertname, labels, annotations, startsAt, run }: OwnAlert, endsAt: number): PostedAlert {
    const { ui } = this.#given;
    const link =
      ui &&
      `${ui.url.replace(/\/+$/, '')}/namespaces/${encodeURIComponent(ui.namespace)}/workflows/${encodeURIComponent(run.workflowId)}/${run.runId}/history`;
    return {
      labels: { ...labels, alertname, [OWN_LABEL]: id },
      annotations: { ...annotations, ...(link && { temporal: link }) },
      startsAt,
      endsAt: new Date(Math.max(endsAt, Date.parse(startsAt))).toISOString(),
      ...(link && { generatorURL: link }),
    };
  }
}

/** What Alertmanager refuses for the name of a label (of another version's alert, or redacted) it gets without that label. */
async function postPlainly(alertmanager: Alertmanager, posts: PostedAlert[], signal: AbortSignal): Promise<void> {
  try {
    await alertmanager.post(posts, signal);
  } catch (error) {
    if (!(error instanceof AlertmanagerError) || error.status !== 400) throw error;
    // It has taken the others of the call.
    const odd = posts.filter(({ labels }) => !Object.keys(labels).every(isPlain));
    if (odd.length === 0) throw error;
    const entries = (labels: Record<string, string>) => Object.entries(labels).filter(([name]) => isPlain(name));
    const plain = odd.map((post) => ({ ...post, labels: Object.fromEntries(entries(post.labels)) }));
    await alertmanager.post(plain, signal);
  }
}

const isPlain = (name: string): boolean => PLAIN_NAME.test(name);

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Targets looked at side by side. */
const WIDTH = 10;

/**
 * Whether the targets of escalations are well again. It remembers from one activity to the next on this worker: the list may
 * change more often than it looks.
 */
class Health {
  readonly #isWell: HeraldOptions['isWell'];
  readonly #every: number;
  /** IDs of those that were well at the last look. */
  #well = new Set<string>();
  #lookedAt = 0;

  constructor(isWell: HeraldOptions['isWell'], every: number) {
    this.#isWell = isWell;
    this.#every = every;
  }

  /** Resolves with the IDs of those whose targets were healthy, or gone, twice in a row. */
  async untilOver(open: readonly OwnAlert[], signal: AbortSignal): Promise<string[]> {
    const escalations = open.filter(
      ({ alertname, target }) => alertname === 'SalvorEscalation' && target !== undefined,
    );
    if (Date.now() - this.#lookedAt > 2 * this.#every) {
      this.#lookedAt = Date.now();
      this.#well.clear();
    }
    for (;;) {
      await sleep(Math.max(0, this.#lookedAt + this.#every - Date.now()), undefined, { signal });
      const well = await this.#wellOf(escalations);
      signal.throwIfAborted();
      const over = [...well].filter((id) => this.#well.has(id));
      this.#well = well;
      this.#lookedAt = Date.now();
      if (over.length > 0) return over;
    }
  }

  async #wellOf(escalations: readonly OwnAlert[]): Promise<Set<string>> {
    const well = new Set<string>();
    const waiting = [...escalations];
    const work = async (): Promise<void> => {
      for (let alert = waiting.pop(); alert; alert = waiting.pop()) if (await this.#isWell(alert)) well.add(alert.id);
    };
    await Promise.all(Array.from({ length: WIDTH }, work));
    return well;
  }
}
