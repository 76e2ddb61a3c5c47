import {
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  condition,
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
import { type BreakerStanding, describeTransition, standingOf } from '../../model/breaker/standing.ts';
import type { Held } from '../../model/change.ts';
import type { Driven } from '../../model/ports/switch.ts';
import type { Life } from '../life.ts';
import { untilOneEnds } from '../race.ts';
import { driving } from './breaker-steps.ts';
import { DAY } from './steps.ts';

/** So much of its past is shown. */
const MOST_TRANSITIONS = 200;

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

  constructor(life: Life<'circuit-breaker'>, dependency: Dependency) {
    this.#life = life;
    this.dependency = dependency;
    this.state = closedState(Date.now());
    // In a later run it has a past.
    this.#timeline = [...(life.story.breaker?.timeline ?? [])];
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

  /** Drives it until something is to be done: a state that asks for it, a person, or the alert that is resolved. */
  async drive(summary: string, held: Held[]): Promise<(Driven['contested'] & { why: string }) | undefined> {
    const { dependency, state } = this;
    const { actor } = this.#life;
    const request = { dependency, actor, state, held, step: 'drive', deadline: this.#life.in(DAY) };
    const [driven] = await untilOneEnds(
      () => driving(summary)({ ...request, audit: this.#life.notesSoFar() }),
      () => condition(() => this.#orders.length > 0 || this.#life.hints > this.#heard),
    );
    if (driven) {
      this.#life.record(driven.changes);
      this.#is(driven.state, driven.transitions);
    }
    // It has answered how it stands, which a cancelled wait may do.
    if (CancellationScope.current().consideredCancelled) throw new CancelledFailure(this.#life.whoCancelled);
    if (driven?.contested) return { ...driven.contested, why: driven.why ?? '' };
    this.#obey();
    return undefined;
  }

  /** The switch stands as the state says. */
  stands(): void {
    for (const one of this.#underWay) one.obeyed = true;
    this.#underWay = [];
  }

  /** Nobody waits for anything to be obeyed, or heard: a run may end. Whose order has just been obeyed is answered first. */
  async rests(): Promise<boolean> {
    const isAsked = () => this.#orders.length > 0 || this.#life.hints > this.#heard;
    await condition(() => isAsked() || allHandlersFinished());
    return !isAsked();
  }

  #obey(): void {
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
    await condition(() => one.obeyed || this.#life.over);
    const { dependency, state } = this;
    return standingOf(dependency.name, state, workflowInfo().firstExecutionRunId);
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
    this.#life.story.breaker = { state, timeline: this.#timeline };
  }
}

const NEXT = {
  closed: 'look whether it stays healthy',
  confirming: 'open it where its failure is confirmed, else leave it alone',
  open: 'try the dependency',
  'half-open': 'close it when the trials succeed, else open it again',
};
