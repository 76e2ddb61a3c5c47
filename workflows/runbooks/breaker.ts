import {
  ActivityFailure,
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  condition,
  isCancellation,
  TimeoutFailure,
  workflowInfo,
} from '@temporalio/workflow';
import {
  type BreakerEvent,
  type BreakerState,
  closedState,
  jitterOf,
  step,
  type Transition,
} from '../../model/breaker/machine.ts';
import type { BreakerOrder, Dependency } from '../../model/breaker/options.ts';
import {
  BREAKER_ENDS,
  BREAKER_PENDING,
  type BreakerStanding,
  describeTransition,
  type Stands,
  standingOf,
  standsAs,
} from '../../model/breaker/standing.ts';
import type { Held } from '../../model/change.ts';
import type { DriveBeat, Driven } from '../../model/ports/switch.ts';
import { explain } from '../failures.ts';
import type { Life } from '../life.ts';
import { untilOneEnds } from '../race.ts';
import { driving } from './breaker-steps.ts';
import { DAY, MINUTE } from './steps.ts';

/** Milliseconds of the drive that shows whether it can be driven again. */
const SHORT_DRIVE = 5_000;

/** Milliseconds within which whoever orders is answered; it is obeyed all the same. */
const ANSWER_WITHIN = 12_500;

/** So much of its past is shown. */
const MOST_TRANSITIONS = 200;
/** Milliseconds after which it is driven again where that could not be done; twice as long after each further time. */
const AGAIN_AFTER = 1_000;
const AGAIN_AFTER_AT_MOST = MINUTE;
/** What its escalations are about. */
export type Trouble = 'undriven' | 'unclosed';

/** The breaker of one life: its machine, which the activity drives, and which people and alerts interrupt. */
export class Breaker {
  readonly dependency: Dependency;
  state: BreakerState;
  readonly #life: Life<'circuit-breaker'>;
  readonly #timeline: Transition[];
  readonly #orders: { order: BreakerOrder; obeyed: boolean }[] = [];
  /** Ordered, and the switch does not yet stand so. */
  #underWay: { obeyed: boolean }[] = [];
  #heard = 0;
  #stands: Stands = 'closed';
  /** What cannot be done, and how often it was tried, one after the other. */
  readonly #troubles = new Map<Trouble, { reason: string; times: number }>();

  constructor(life: Life<'circuit-breaker'>, dependency: Dependency) {
    this.#life = life;
    this.dependency = dependency;
    this.state = closedState(Date.now());
    // In a later run it has a past.
    this.#timeline = [...(life.story.breaker?.timeline ?? [])];
    this.#stands = life.story.breaker?.stands ?? 'closed';
    life.onOrder = (order) => this.#take(order);
  }

  /** What happens to it; each change of its state is told, and on record. */
  happens(event: BreakerEvent): void {
    const input = { now: Date.now(), jitter: jitterOf(Math.random()) };
    const { state, transition } = step(this.state, event, this.dependency, input);
    this.#is(state, transition ? [transition] : []);
  }

  orders(order: BreakerOrder): void {
    const { by, reason } = order;
    if (order.order === 'close') this.happens({ kind: 'close', by, why: reason });
    else {
      const until = order.until === undefined ? null : Date.parse(order.until);
      this.happens({ kind: 'open', by, until, why: reason });
    }
  }

  /**
   * Drives it until something is to be done: a state that asks for it, a person, or the alert that is resolved. Where what is
   * open cannot be driven it stays so: people are told, and it is tried again, for to let callers through because a file or an API
   * cannot be read would do harm.
   *
   * @param within milliseconds after which it answers in any case
   */
  async drive(
    summary: string,
    held: Held[],
    within = DAY,
  ): Promise<(Driven['contested'] & { why: string }) | undefined> {
    const { driven, failure } = await this.#drivenOnce(summary, held, this.#isIn('undriven') ? SHORT_DRIVE : within);
    const known = driven ?? lastBeat(failure);
    if (known) this.#takes(known);
    // It has answered how it stands, which a cancelled wait may do.
    if (CancellationScope.current().consideredCancelled) throw new CancelledFailure(this.#life.whoCancelled);
    if (driven?.contested) return { ...driven.contested, why: driven.why ?? '' };
    if (failure) await this.#failed(failure, held);
    else if (driven) await this.calm('undriven');
    // Between two attempts the server ends it at once, without a word of where it stood.
    else
      this.#life.say(
        `nobody drove it when it was stopped: it goes on from where it was known to be, ${this.state.phase}`,
      );
    this.obey();
    return undefined;
  }

  /** @returns neither where it was stopped, for somebody asks for something */
  async #drivenOnce(
    summary: string,
    held: Held[],
    within: number,
  ): Promise<{ driven?: Driven; failure?: unknown } | Record<string, never>> {
    const { dependency, state } = this;
    const { actor } = this.#life;
    const stands = this.#stands === 'closing' ? { stands: this.#stands } : {};
    const request = { dependency, actor, state, held, ...stands, step: 'drive', deadline: this.#life.in(within) };
    const [ended] = await untilOneEnds<{ driven?: Driven; failure?: unknown }, void>(
      () =>
        driving(summary)({ ...request, audit: this.#life.notesSoFar() }).then(
          (driven) => ({ driven }),
          (failure: unknown) => {
            if (isCancellation(failure)) throw failure;
            return { failure };
          },
        ),
      () => condition(() => this.isAsked),
    );
    return ended ?? {};
  }

  #takes({ changes, state, transitions }: Pick<Driven, 'changes' | 'state' | 'transitions'>): void {
    this.#life.record(changes);
    this.#is(state, transitions);
  }

  /** @throws the failure, where nothing is open that could suffer by the end */
  async #failed(failure: unknown, held: Held[]): Promise<void> {
    // What does not answer while it is stopped for an order is not tried again by the server: the order counts all the same.
    if (this.isAsked) return this.#life.say(`what drove it did not answer in the end (${explain(failure)})`);
    if (isTimeout(failure)) return this.#life.say(`no worker has driven it in time (${explain(failure)}): again`);
    if (held.length === 0) throw failure;
    await this.trouble('undriven', `it stays open, and cannot be driven: ${explain(failure)}`);
    await condition(() => this.isAsked, this.backoff('undriven'));
  }

  /** People are told for as long as it lasts, once for each reason. Then it is to be tried again after a while. */
  async trouble(what: Trouble, reason: string): Promise<void> {
    const { reason: told, times = 0 } = this.#troubles.get(what) ?? {};
    this.#troubles.set(what, { reason, times: times + 1 });
    if (told === reason) return;
    this.#life.say(reason);
    await this.#life.alerts.escalate(what, reason);
  }

  async calm(what: Trouble): Promise<void> {
    if (this.#troubles.delete(what)) this.#life.say(OVER[what]);
    // It may have been told in an earlier run.
    await this.#life.alerts.calm(what);
  }

  #isIn(what: Trouble): boolean {
    return this.#troubles.has(what);
  }

  /** Milliseconds until it is to be tried again: twice as long after each further time. */
  backoff(what: Trouble): number {
    const times = this.#troubles.get(what)?.times ?? 0;
    return Math.min(AGAIN_AFTER_AT_MOST, AGAIN_AFTER * 2 ** Math.min(10, Math.max(0, times - 1)));
  }

  /** An order, or the news that the alert is resolved, waits to be obeyed. */
  get isAsked(): boolean {
    return this.#orders.length > 0 || this.#life.hints > this.#heard;
  }

  /** To be open: also where its time was up before anybody could open it, for whoever drove it had died. */
  get isOpen(): boolean {
    return standsAs(this.state.phase) === 'open';
  }

  /** It is being set, and not known to stand as the state says. */
  isUnderWay(stands: Stands): void {
    this.#stands = stands;
    this.#tell();
  }

  /** The switch stands as the state says. */
  stands(): void {
    this.#stands = standsAs(this.state.phase);
    this.#tell();
    for (const one of this.#underWay) one.obeyed = true;
    this.#underWay = [];
  }

  /** Nobody waits for anything to be obeyed, or heard: a run may end. Whose order has just been obeyed is answered first. */
  async rests(): Promise<boolean> {
    await condition(() => this.isAsked || allHandlersFinished());
    return !this.isAsked;
  }

  /** What people, and the alert, ask for. */
  obey(): void {
    if (this.#life.hints > this.#heard) {
      this.#heard = this.#life.hints;
      this.#life.say('the alert is resolved: the next trial is brought forward');
      this.happens({ kind: 'resolved' });
    }
    for (const one of this.#orders.splice(0)) {
      this.orders(one.order);
      this.#underWay.push(one);
    }
  }

  async #take(order: BreakerOrder): Promise<BreakerStanding> {
    const one = { order, obeyed: false };
    this.#orders.push(one);
    const isOver = () => one.obeyed || this.#life.over || this.#life.givesUp;
    const inTime = await condition(isOver, ANSWER_WITHIN);
    // To answer how it stands would be to say that it was obeyed.
    if (!inTime) throw ApplicationFailure.nonRetryable(this.#whyNotYet(), BREAKER_PENDING);
    if (!one.obeyed)
      throw ApplicationFailure.nonRetryable('it ended before it could obey: order it again', BREAKER_ENDS);
    const { dependency, state } = this;
    return standingOf(dependency.name, state, workflowInfo().firstExecutionRunId, this.#stands);
  }

  #whyNotYet(): string {
    const [trouble] = [...this.#troubles.values()];
    return `it was taken, and is not done yet; Salvor goes on trying. ${trouble?.reason ?? 'Its switch is still being set'}`;
  }

  #is(state: BreakerState, transitions: readonly Transition[]): void {
    this.state = state;
    for (const one of transitions) {
      const { to, reason, until, cause, relapses } = one;
      this.#timeline.push(one);
      const next = NEXT[to];
      const ends = until === null ? {} : { until: new Date(until).toISOString() };
      this.#life.phase(to, describeTransition(one), { what: next, ...ends });
      this.#life.evidence('breaker', to, reason, { cause, relapses, at: one.at, until });
    }
    this.#timeline.splice(0, this.#timeline.length - MOST_TRANSITIONS);
    this.#tell();
  }

  #tell(): void {
    this.#life.story.breaker = { state: this.state, timeline: this.#timeline, stands: this.#stands };
  }
}

/** Only once its whole time was up, or while it was stopped: the server retries every other. */
const isTimeout = (failure: unknown): boolean =>
  failure instanceof ActivityFailure && failure.cause instanceof TimeoutFailure;

/** What it said last of where it stands, and of what it has done. */
function lastBeat(failure: unknown): DriveBeat | undefined {
  const cause = failure instanceof ActivityFailure ? failure.cause : undefined;
  const said =
    cause instanceof TimeoutFailure
      ? cause.lastHeartbeatDetails
      : cause instanceof ApplicationFailure
        ? cause.details?.[0]
        : undefined;
  const beat = said as Partial<DriveBeat> | undefined;
  return beat?.state && beat.transitions && beat.changes ? (beat as DriveBeat) : undefined;
}

const OVER = { undriven: 'it is driven again', unclosed: 'its switch is closed now' } as const;

const NEXT = {
  closed: 'look whether it stays healthy',
  confirming: 'open it where its failure is confirmed, else leave it alone',
  open: 'try the dependency',
  'half-open': 'close it when the trials succeed, else open it again',
};
