import type { Change } from '../../model/change.ts';
import { formatDuration } from '../../model/duration.ts';
import type { HoldRequest, HoldResult } from '../../model/ports/instance.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import type { Pulse } from '../instance.ts';
import { beating, Sleeper } from '../pulse.ts';
import { noteOf } from './cut.ts';
import { finishReturn, putBack, repay, returned } from './give-back.ts';
import { type Group, type Instance, ownDesired } from './group.ts';
import { changeOf, type Health, healthOf, type Scene, type Standing, standingOf } from './scene.ts';

/** What an attempt tells the next one. */
interface Memory {
  /** ISO time since which it is on standby: before, connections to it may still be drained. */
  outSince?: string;
  /** How often it was healthy and became sick again. */
  flaps: number;
  /** The note was gone and is written anew: once. */
  noted: boolean;
  /** ExitStandby was about to be asked for, with the desired capacity as it was before. */
  returning?: { desired: number };
  /** It was gone, and its desired capacity was about to be given back without it. */
  repaying?: true;
  changes: Change[];
}

/**
 * Waits until the instance has been healthy for `stableFor`, as far as this attempt has seen, and puts it back in service; or
 * until the deadline; or until it is gone. AWS tells nobody of changes, so it looks every few seconds.
 *
 * That somebody changes the desired capacity meanwhile is what scaling is for: it is respected, and said.
 */
export async function hold(scene: Scene, request: HoldRequest, pulse: Pulse): Promise<HoldResult> {
  const memory: Memory = { flaps: 0, noted: false, changes: [], ...(pulse.last as Partial<Memory> | undefined) };
  return beating(
    pulse,
    () => memory,
    () => new Wait({ scene, request, pulse, memory }).until(),
  );
}

interface Given {
  scene: Scene;
  request: HoldRequest;
  pulse: Pulse;
  memory: Memory;
}

class Wait {
  readonly #given: Given;
  /** Milliseconds since the epoch; undefined while it is not healthy. */
  #healthySince: number | undefined;
  #why = 'nobody could look at it';

  constructor(given: Given) {
    this.#given = given;
  }

  async until(): Promise<HoldResult> {
    const { pulse, request, scene } = this.#given;
    const deadline = Date.parse(request.deadline);
    const sleeper = new Sleeper();
    for (;;) {
      const result = await this.#look().catch((error: unknown) => {
        if (!(error instanceof UnavailableError)) throw error;
        this.#healthySince = undefined;
        this.#why = error.message;
        // What it is now must be known before anything follows from it.
        if (Date.now() >= deadline) throw error;
        return undefined;
      });
      if (result) return result;
      const stable = this.#healthySince === undefined ? deadline : this.#healthySince + request.stableFor;
      const next = scene.every * (1 + Math.random());
      await sleeper.sleep(Math.min(next, Math.max(50, Math.min(stable, deadline) - Date.now())), pulse.signal);
    }
  }

  async #look(): Promise<HoldResult | undefined> {
    const { scene, request } = this.#given;
    const { remediation } = request.actor;
    const group = await scene.account.group(scene.group);
    const standing = standingOf(group, scene.id, remediation);
    switch (standing.is) {
      case 'gone':
        return this.#gone(group, standing.why);
      case 'free':
        return this.#isBack(standing.instance, this.#lostReturn());
      case 'returned':
        return this.#isBack(standing.instance, await finishReturn(scene, this.#asked(), standing));
      case 'taken':
        return this.#contested('somebody else', `it is ${standing.instance.state} again`);
      case 'unnoted':
        return this.#unnoted(group, standing);
      case 'replaced':
        this.#why = 'its replacement was asked for already, so it does not come back';
        return this.#unlessOver();
      case 'held':
        return this.#held(group, standing);
    }
  }

  async #held(group: Group | undefined, standing: Extract<Standing, { is: 'held' }>): Promise<HoldResult | undefined> {
    const { scene, request, memory, pulse } = this.#given;
    if (standing.instance.state === 'Standby') memory.outSince ??= new Date().toISOString();
    const health = await healthOf(scene, standing.instance, request.options ?? {}, pulse.signal);
    const flapped = this.#note(health);
    if (flapped) return flapped;
    if (this.#healthySince !== undefined && Date.now() - this.#healthySince >= request.stableFor)
      return this.#giveBack(group, standing);
    return this.#unlessOver();
  }

  /** How it is now. Where it became sick too often, waiting longer will not help. */
  #note({ healthy, why }: Health): HoldResult | undefined {
    const { request, memory } = this.#given;
    this.#why = why;
    if (healthy) {
      this.#healthySince ??= Date.now();
      return undefined;
    }
    if (this.#healthySince !== undefined) memory.flaps += 1;
    this.#healthySince = undefined;
    const most = request.options?.flaps;
    if (most === undefined || memory.flaps < most) return undefined;
    return this.#sick(`it became sick again ${memory.flaps} times while it was held: ${why}`, { flapped: true });
  }

  async #giveBack(group: Group | undefined, standing: Extract<Standing, { is: 'held' }>): Promise<HoldResult> {
    const { scene, request, memory, pulse } = this.#given;
    const { note } = standing;
    const mayWrite = async (): Promise<void> => {
      memory.returning = { desired: group?.desired ?? note.before - 1 };
      pulse.beat(memory);
      await pulse.stillMine();
    };
    try {
      const changes = await putBack(scene, this.#asked(), { group, standing, mayWrite });
      const after = (await this.#afterwards()) ?? group;
      const now = after && ownDesired(after);
      const moved =
        now === undefined || now === note.own
          ? ''
          : `; somebody else changed the desired capacity of ${scene.group} meanwhile (without Salvor it would have been ${note.own}, and is ${now}), which is respected`;
      const why = `healthy for ${formatDuration(request.stableFor)} without a break${moved}`;
      return { verdict: 'recovered', why, changes: [...memory.changes, ...changes] };
    } catch (error) {
      if (error instanceof FinalError && error.type === 'Contested')
        return { verdict: 'contested', why: error.message, changes: memory.changes, manager: 'somebody else' };
      throw error;
    }
  }

  /** What has come of it; that nobody can tell right now takes nothing from what was done. */
  async #afterwards(): Promise<Group | undefined> {
    const { account, group } = this.#given.scene;
    try {
      return await account.group(group);
    } catch (error) {
      if (error instanceof UnavailableError) return undefined;
      throw error;
    }
  }

  /** In service again, and it was Salvor: an attempt that could not report it, an undo, or `salvor release`. */
  async #isBack(instance: Instance, changes: Change[]): Promise<HoldResult> {
    const { scene, request, memory, pulse } = this.#given;
    const all = [...memory.changes, ...changes];
    const { healthy, why } = await healthOf(scene, instance, request.options ?? {}, pulse.signal);
    if (healthy)
      return {
        verdict: 'recovered',
        why: `put back in service by an attempt that could not report it: ${why}`,
        changes: all,
      };
    return {
      verdict: 'given-back',
      why: `Salvor itself put it back in service; since then: ${why}`,
      changes: all,
    };
  }

  async #gone(group: Group | undefined, why: string): Promise<HoldResult> {
    const { scene, memory, pulse } = this.#given;
    const mayWrite = async (): Promise<void> => {
      memory.repaying = true;
      pulse.beat(memory);
      await pulse.stillMine();
    };
    const changes = await repay(scene, this.#asked(), { group, asked: memory.repaying === true, mayWrite });
    return { verdict: 'gone', why, changes: [...memory.changes, ...changes] };
  }

  #lostReturn(): Change[] {
    const { returning } = this.#given.memory;
    return returning ? returned(this.#asked(), returning.desired) : [];
  }

  async #unnoted(
    group: Group | undefined,
    { instance, other }: Extract<Standing, { is: 'unnoted' }>,
  ): Promise<HoldResult | undefined> {
    const { scene, request, memory, pulse } = this.#given;
    if (other || memory.noted || !group)
      return this.#contested(
        other ? `remediation ${other.remediation}` : 'somebody else',
        'its note (a tag of the group) was taken away or replaced',
      );
    memory.noted = true;
    pulse.beat(memory);
    await pulse.stillMine();
    const note = noteOf(group, instance, request);
    const own = note.way === 'standby' ? note.own + 1 : note.own;
    const answered = await scene.account.note(scene.group, { ...note, own });
    const what = 'noted again that Salvor holds its LifecycleState, for the note was gone';
    const field = { what, field: `tag salvor.dev/held/${scene.id}`, before: null, after: note.way };
    memory.changes.push(changeOf({ ...request, step: 'hold' }, field, answered));
    return undefined;
  }

  #contested(manager: string, what: string): HoldResult {
    const { scene, memory } = this.#given;
    const why = `${manager} took ${scene.id} out of Salvor's hands: ${what}. It is left as it is; CloudTrail tells who it was`;
    return { verdict: 'contested', why, changes: memory.changes, manager };
  }

  #unlessOver(): HoldResult | undefined {
    const { request } = this.#given;
    if (Date.now() < Date.parse(request.deadline)) return undefined;
    return this.#sick(
      this.#healthySince === undefined
        ? `it did not recover in time: ${this.#why}`
        : `${this.#why}, but not yet for ${formatDuration(request.stableFor)}`,
    );
  }

  #sick(why: string, more: { flapped?: true } = {}): HoldResult {
    const { outSince, changes } = this.#given.memory;
    return { verdict: 'sick', why, changes, ...(outSince !== undefined && { outSince }), ...more };
  }

  #asked() {
    const { step, actor, instance, held } = this.#given.request;
    return { step, actor, instance, held };
  }
}
