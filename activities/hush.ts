import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { labelFingerprint } from '../model/alertmanager.ts';
import type { HushActivities, HushRequest } from '../model/herald.ts';
import { MESSAGE } from '../model/names.ts';
import { OWN_LABEL } from '../model/routing.ts';
import {
  type Alertmanager,
  AlertmanagerError,
  type Silence,
  type SilenceMatcher,
} from '../providers/alertmanager/client.ts';

/** All in milliseconds. */
export interface HushTiming {
  /** How far ahead the silence ends: it outlives a dead worker by no more. */
  lasts: number;
  extendEvery: number;
  /** How soon it is tried again when no Alertmanager answers. */
  retryEvery: number;
  /** How often the alert is looked for. */
  lookEvery: number;
}

const TIMING: HushTiming = { lasts: 60_000, extendEvery: 18_000, retryEvery: 3_000, lookEvery: 10_000 };

export interface HushOptions {
  /** Every member of one cluster; none: nothing is silenced. */
  alertmanagers: readonly Alertmanager[];
  client: Client;
  timing?: Partial<HushTiming>;
}

/** What an attempt tells the next one. */
interface Progress {
  /** ID of the silence. */
  silence?: string | undefined;
  told: boolean;
  /** Of the alert, where they had to be looked for: it may be resolved by the next time. */
  labels?: Record<string, string> | undefined;
}

const BEAT_MS = 2_000;

export function hushActivities({ alertmanagers, client, timing: given }: HushOptions): HushActivities {
  const timing = { ...TIMING, ...given };
  return {
    async hush(asked) {
      if (alertmanagers.length === 0) return 'the alert is not silenced: no Alertmanager is configured';
      const context = Context.current();
      const { cancellationSignal } = context;
      const last = context.info.heartbeatDetails as Progress | undefined;
      const labels = last?.labels ?? (await labelsOf(alertmanagers, asked, cancellationSignal));
      if (labels === undefined)
        return 'the alert is not silenced: no silence could match it exactly, for its labels are not on record as they are (a secret was removed, they are too long, or it waited with too many others), and no Alertmanager has it now';
      const request = { ...asked, labels };
      const keeper = new SilenceKeeper(alertmanagers, request, timing, last?.silence);
      const watcher = new AlertWatcher(alertmanagers, request, client, last?.told ?? false);
      const looked = isExact(asked) ? undefined : labels;
      const beat = (): void =>
        context.heartbeat({ silence: keeper.id, told: watcher.told, labels: looked } satisfies Progress);
      const over = new AbortController();
      const signal = AbortSignal.any([cancellationSignal, over.signal]);
      beat();
      const beating = setInterval(beat, BEAT_MS);
      const watching = watcher.watch(timing.lookEvery, signal);
      try {
        return await keeper.keep(signal);
      } catch (error) {
        // Where the worker shuts down the next one takes it up; whatever else happens, it ends by itself.
        if (context.cancellationDetails?.cancelRequested) await keeper.end();
        throw cancellationSignal.aborted ? cancellationSignal.reason : error;
      } finally {
        over.abort();
        clearInterval(beating);
        await watching;
      }
    },
  };
}

/** With the labels of the alert as they are. */
type Hushed = HushRequest & { labels: Record<string, string> };

const isExact = (asked: HushRequest): asked is Hushed =>
  asked.labels !== undefined && labelFingerprint(asked.labels) === asked.fingerprint;

/** All of the alert's. Undefined where nobody has them any more. @throws where no Alertmanager answers */
async function labelsOf(
  members: readonly Alertmanager[],
  asked: HushRequest,
  signal: AbortSignal,
): Promise<Record<string, string> | undefined> {
  if (isExact(asked)) return asked.labels;
  const looks = await Promise.allSettled(members.map((member) => member.alertsNamed(asked.alertname, signal)));
  const found = looks.flatMap((look) => (look.status === 'fulfilled' ? look.value : []));
  const it = found.find(({ labels }) => labelFingerprint(labels) === asked.fingerprint);
  const failed = looks.find((look) => look.status === 'rejected');
  // One that does not answer may be the one that has it.
  if (it === undefined && failed) throw failed.reason;
  return it?.labels;
}

/** How often the end is tried, and the first pause in between; it doubles. */
const END_TRIES = 5;
const END_PAUSE_MS = 250;

/** One silence, whichever member of the cluster has made it: they tell one another. */
class SilenceKeeper {
  /** Of the silence, once it is known. */
  id: string | undefined;
  readonly #labels: Record<string, string>;
  readonly #matchers: SilenceMatcher[];
  readonly #comment: string;
  readonly #timing: HushTiming;
  /** The one that answered last comes first. */
  #members: readonly Alertmanager[];

  constructor(
    members: readonly Alertmanager[],
    { labels, target, rule, remediation }: Hushed,
    timing: HushTiming,
    id: string | undefined,
  ) {
    this.#members = members;
    this.#labels = labels;
    this.#timing = timing;
    this.id = id;
    this.#matchers = matchersOf(labels);
    // By it an attempt knows what the one before it has made.
    this.#comment = `Salvor works on ${target} (rule ${rule}, remediation ${remediation}). It ends with that work.`;
  }

  /** Makes it, and moves its end on. @returns why it is given up */
  async keep(signal: AbortSignal): Promise<string> {
    const { log } = Context.current();
    let failing = false;
    for (;;) {
      let wait = this.#timing.extendEvery;
      try {
        // Not cut short by a cancel: what is on its way could not be found and ended.
        const refused = await this.#extend();
        if (refused !== undefined) return refused;
        failing = false;
      } catch (error) {
        if (!failing) log.warn(`the alert is not silenced: ${messageOf(error)}; it is tried again`);
        failing = true;
        wait = this.#timing.retryEvery;
      }
      await sleep(wait, undefined, { signal });
    }
  }

  /** Ends it at once; resolves with the first member that answers. Never throws: it ends by itself soon. */
  async end(): Promise<void> {
    let pause = END_PAUSE_MS;
    for (let tries = 1; ; tries += 1) {
      try {
        return await Promise.any(this.#members.map((member) => this.#endAt(member)));
      } catch (error) {
        if (tries === END_TRIES) {
          const why = (error as AggregateError).errors.map(messageOf).join('; ');
          Context.current().log.warn(`could not end its silence, which ends by itself within a minute: ${why}`);
          return;
        }
      }
      await sleep(pause);
      pause *= 2;
    }
  }

  async #extend(): Promise<string | undefined> {
    let failure: unknown;
    for (const member of this.#members) {
      try {
        const refused = await this.#extendAt(member);
        this.#members = [member, ...this.#members.filter((other) => other !== member)];
        return refused;
      } catch (error) {
        if (error instanceof AlertmanagerError && error.status === 400)
          return `the alert is not silenced: ${error.message}`;
        failure = error;
      }
    }
    throw failure;
  }

  async #extendAt(member: Alertmanager): Promise<string | undefined> {
    const known = this.id === undefined ? undefined : await member.silence(this.id);
    if (known !== undefined && wasEndedByHand(known))
      return 'the alert is no longer silenced: somebody has ended the silence, and Salvor makes no other';
    const current = known !== undefined && isOn(known) ? known : (await this.#mineAt(member))[0];
    const now = Date.now();
    this.id = await member.setSilence({
      ...(current && { id: current.id }),
      matchers: this.#matchers,
      // With another start it would be another silence.
      startsAt: current?.startsAt ?? new Date(now).toISOString(),
      endsAt: new Date(now + this.#timing.lasts).toISOString(),
      createdBy: 'salvor',
      comment: this.#comment,
    });
    return undefined;
  }

  async #endAt(member: Alertmanager): Promise<void> {
    for (const { id } of await this.#mineAt(member)) await member.expire(id);
  }

  /** Those that this hush has made, and that have not ended. */
  async #mineAt(member: Alertmanager): Promise<Silence[]> {
    const all = await member.silences(this.#labels);
    return all.filter((one) => one.createdBy === 'salvor' && one.comment === this.#comment && isOn(one));
  }
}

/** Each label exactly; and never an alert of Salvor's own. */
function matchersOf(labels: Readonly<Record<string, string>>): SilenceMatcher[] {
  const all = Object.entries({ ...labels, [OWN_LABEL]: '' });
  // In one order: with another it would be another silence.
  all.sort(([one], [other]) => (one < other ? -1 : 1));
  return all.map(([name, value]) => ({ name, value, isRegex: false, isEqual: true }));
}

const isOn = ({ status }: Silence): boolean => status.state !== 'expired';

/** One that is ended has this end from the moment at which it was; one that has run out had it long before. */
const wasEndedByHand = (silence: Silence): boolean =>
  !isOn(silence) && Math.abs(Date.parse(silence.endsAt) - Date.parse(silence.updatedAt)) < 1_000;

/** While Temporal does not answer, the end of the activity does not wait for it. */
const TELL_MS = 5_000;

/** Alertmanager does not tell that a silenced alert is resolved: it is looked for. */
class AlertWatcher {
  /** Whether it was told that the alert is resolved, which is told once. */
  told: boolean;
  readonly #members: readonly Alertmanager[];
  readonly #request: Hushed;
  readonly #client: Client;

  constructor(members: readonly Alertmanager[], request: Hushed, client: Client, told: boolean) {
    this.#members = members;
    this.#request = request;
    this.#client = client;
    this.told = told;
  }

  /** Resolves when it has been told, or is aborted. */
  async watch(every: number, signal: AbortSignal): Promise<void> {
    const { tell, labels } = this.#request;
    let absent = 0;
    while (tell && !this.told) {
      await sleep(every, undefined, { signal }).catch(() => undefined); // cut short: see the signal below
      if (signal.aborted) return;
      const looks = await Promise.allSettled(this.#members.map((member) => member.alerts(labels, signal)));
      const found = looks.flatMap((look) => (look.status === 'fulfilled' ? [look.value.length] : []));
      // One that does not answer says nothing, neither yes nor no.
      if (found.length === 0) continue;
      absent = found.every((count) => count === 0) ? absent + 1 : 0;
      if (absent >= 2) this.told = await this.#tell(tell);
    }
  }

  async #tell({ responder, batch }: NonNullable<HushRequest['tell']>): Promise<boolean> {
    const signal = () => this.#client.workflow.getHandle(responder).signal(MESSAGE.alerts, batch);
    try {
      await this.#client.withDeadline(Date.now() + TELL_MS, signal);
      return true;
    } catch (error) {
      // It has ended: nobody waits for it.
      if (error instanceof WorkflowNotFoundError) return true;
      Context.current().log.warn(`could not tell that the alert is resolved: ${messageOf(error)}; it is tried again`);
      return false;
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
