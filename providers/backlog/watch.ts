import type { BacklogResult, Scale, ScalePoint, WatchBacklogRequest, WatchState } from '../../model/ports/scalable.ts';
import { MOST_POINTS, thinned } from '../../model/scaling/chart.ts';
import { type Decision, type ScalingOptions, stalled } from '../../model/scaling/controller.ts';
import { parseTarget } from '../../model/target.ts';
import type { Pulse } from '../instance.ts';
import { beating, Sleeper } from '../pulse.ts';
import type { ScalableProvider } from '../scalable.ts';
import type { Signals } from '../signals.ts';
import { controllerOptions, decideNow, lookBack, newestOf, pointOf } from './look.ts';
import { sightAfter } from './sight.ts';
import { readSignals } from './signals.ts';

/** What an attempt tells the next one. */
interface Memory {
  state: WatchState;
  points: ScalePoint[];
}

/** Looks at signals and replicas until what is set is not what is asked for any more, or something else is to be decided. */
export async function watchBacklog(
  request: WatchBacklogRequest,
  { scalable, signals, pulse }: { scalable: ScalableProvider; signals: Signals; pulse: Pulse },
): Promise<BacklogResult> {
  const memory = (pulse.last as Memory | undefined) ?? { state: request.state, points: [] };
  const watch = new Watch(request, memory, scalable, signals);
  const sleeper = new Sleeper();
  return beating(
    pulse,
    () => watch.memory,
    async () => {
      for (;;) {
        const began = Date.now();
        const result = await watch.look(pulse.signal);
        if (result) return result;
        pulse.beat(watch.memory);
        await sleeper.sleep(request.options.every - (Date.now() - began), pulse.signal);
      }
    },
  );
}

class Watch {
  memory: Memory;
  readonly #request: WatchBacklogRequest;
  readonly #scalable: ScalableProvider;
  readonly #signals: Signals;
  #controller: ScalingOptions;

  constructor(request: WatchBacklogRequest, memory: Memory, scalable: ScalableProvider, signals: Signals) {
    this.memory = memory;
    this.#request = request;
    this.#scalable = scalable;
    this.#signals = signals;
    this.#controller = controllerOptions(request.options, request.scale);
  }

  /** One look. @returns what is to be decided; nothing where all stays as it is */
  async look(signal: AbortSignal): Promise<BacklogResult | undefined> {
    const { target, actor, scale: found, options, unheld } = this.#request;
    const reading = await this.#scalable.read(actor.remediation, found.object.uid);
    if (reading.verdict === 'gone') return { verdict: 'gone', why: reading.why, points: this.memory.points };
    // What is set stays so while it is not to be touched: an instance refresh ends, and a person takes his mark away again.
    if (reading.verdict === 'protected')
      return unheld ? this.#result('overruled', reading.why, { by: reading.why, to: null }) : this.#later(reading.why);
    const { scale, noted } = reading;
    // Its own limits may change meanwhile; what it goes back to does not.
    this.#controller = controllerOptions(options, { ...found, max: scale.max });
    const overruled = await this.#overruledBy(scale, noted);
    if (overruled) return overruled;

    const to = Date.now();
    const window = { from: to - lookBack(options), to, step: options.every };
    const asked = { options, target: parseTarget(target), strict: false };
    const { samples, problems } = await readSignals(this.#signals, asked, window, signal);
    const { state: before, points } = this.memory;
    const { state, decision } = decideNow(before.controller, scale, newestOf(samples), this.#controller);
    const remembered = this.#remembered({ ...before, controller: state }, scale, decision);
    const sight = sightAfter(remembered, { decision, problems, tellAfter: options.stalledAfter });
    // What is not told yet, because this attempt dies, is the next one's to tell.
    const kept = sight.verdict ? remembered : sight.state;
    this.memory = { state: kept, points: thinned([...points, pointOf(decision)], MOST_POINTS / 2) };
    const why = [decision.reason, ...problems].join('; ');
    if (sight.verdict) return this.#result(sight.verdict, why, { state: sight.state });
    return this.#verdict(decision, scale, why);
  }

  /**
   * Replicas of which no more are asked for when it is over: those that there were. Of an autoscaler that is more than its
   * minimum, which it then goes back to: how many there are is its own matter again.
   */
  get #enough(): number {
    return Math.max(this.#controller.min, this.#request.scale.desired);
  }

  /** What is set; where it is left to its default, the least that it may be. */
  get #set(): number {
    return this.#request.set ?? this.#controller.min;
  }

  /** Somebody else has set its size, or something else sets it now. */
  async #overruledBy({ by }: Scale, noted: number | undefined): Promise<BacklogResult | undefined> {
    const { scale: found, set, unheld } = this.#request;
    const { object, field } = found.by;
    if (by.object.key !== object.key || by.object.uid !== object.uid || by.field !== field) {
      const who = `${by.field} of ${by.object.key}`;
      return this.#result('overruled', `its size is set by ${who} now, not by ${field} of ${object.key}`, {
        ...{ by: who, to: by.value },
      });
    }
    if (by.value === set) return undefined;
    // An attempt may have set it that could not say so, and another was not let.
    if (by.value === noted && !unheld)
      return this.#result('adopted', `its ${field} is ${noted}, which Salvor itself has set`, { to: noted });
    const who = (await this.#scalable.whoSet(found)) ?? 'somebody else';
    const why = `${who} set ${field} from ${set ?? 'absent'} to ${by.value ?? 'absent'}`;
    return this.#result('overruled', why, { by: who, to: by.value });
  }

  #remembered(state: WatchState, { ready, desired: wanted }: Scale, { at, hold, desired }: Decision): WatchState {
    const { unheld, scale: found } = this.#request;
    const { min } = this.#controller;
    const set = this.#set;
    const unreadyBefore = Math.max(0, found.desired - found.ready);
    const { goodSince = at, unready, blind, controller } = state;
    // Not to know what one replica serves is no reason to hold what is not held.
    const isKnown = hold !== 'missing-data' && (hold !== 'partial-data' || unheld === true);
    const isEnough = unheld ? desired <= wanted : set === min && desired <= this.#enough;
    const isGood = isKnown && isEnough;
    const isSlow = set > min && ready < set - unreadyBefore;
    return {
      controller,
      ...(blind && { blind }),
      ...(isGood && { goodSince }),
      ...(isSlow && { unready: unready && unready.ready >= ready ? unready : { ready, since: at } }),
    };
  }

  #verdict({ at, desired }: Decision, now: Scale, why: string): BacklogResult | undefined {
    const { unheld, capped, options } = this.#request;
    const set = this.#set;
    const { goodSince, unready, controller } = this.memory.state;
    if (unready && desired >= set && at - unready.since >= options.readyWithin)
      return this.#result('unready', `${unready.ready} of ${set} are ready, and no more of them became so; ${why}`);
    const stall = set > this.#controller.min ? stalled(controller, this.#controller) : undefined;
    if (stall) return this.#result('stalled', stall.reason);
    // What an autoscaler of its own has added is no size that Salvor has to set.
    const to = desired <= this.#enough ? this.#controller.min : desired;
    const isMore = to > set && to > now.desired && !capped;
    if (isMore || (to < set && !unheld)) return this.#result('scale', why, { to });
    if (goodSince !== undefined && at - goodSince >= options.goodFor) return this.#result('good', why);
    return this.#later(why, at);
  }

  #later(why: string, at = Date.now()): BacklogResult | undefined {
    return at >= Date.parse(this.#request.deadline) ? this.#result('later', why) : undefined;
  }

  #result(verdict: Exclude<BacklogResult['verdict'], 'gone'>, why: string, more: object = {}): BacklogResult {
    return { verdict, why, ...this.memory, ...more } as BacklogResult;
  }
}
