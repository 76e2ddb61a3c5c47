import type { Change } from '../../model/change.ts';
import type { ReplaceRequest, ReplaceResult } from '../../model/ports/instance.ts';
import { HeldBack, type Pulse } from '../instance.ts';
import { beating, Sleeper } from '../pulse.ts';
import { refusal } from './assess.ts';
import { noteOf } from './cut.ts';
import { isRefusal } from './errors.ts';
import { repay } from './give-back.ts';
import { type Group, type Instance, instanceIn, isSetBack, onLoan, ownDesired } from './group.ts';
import { completeHooks } from './hooks.ts';
import { DESIRED_CAPACITY, type Note, wayOf } from './notes.ts';
import { announce, raisedBy } from './raise.ts';
import { changeOf, type Scene, type Standing, standingOf } from './scene.ts';
import { capacity } from './verify.ts';

/** What an attempt tells the next one: what it was about to ask for, and what it did. */
interface Memory {
  asked?: 'capacity' | 'termination';
  changes: Change[];
}

/**
 * Out on standby with a decrement: sets the desired capacity back, which starts the replacement, and terminates the instance.
 * Out with a replacement: terminates it once its group has its desired capacity without it. Never makes the group smaller.
 *
 * Each call is said before it is made, and looked after before it is made again; that the capacity is set back, in the note too. Once the capacity is back the note says
 * `standby-replaced`: whoever takes over then neither sets it again nor puts the instance back.
 */
export async function replace(scene: Scene, request: ReplaceRequest, pulse: Pulse): Promise<ReplaceResult> {
  const memory: Memory = { changes: [], ...(pulse.last as Partial<Memory> | undefined) };
  try {
    return await beating(
      pulse,
      () => memory,
      () => new Replacing({ scene, request, pulse, memory }).until(),
    );
  } catch (error) {
    if (!(error instanceof HeldBack)) throw error;
    return { verdict: 'held-back', why: error.message, changes: memory.changes, objection: error.objection };
  }
}

interface Given {
  scene: Scene;
  request: ReplaceRequest;
  pulse: Pulse;
  memory: Memory;
}

class Replacing {
  readonly #given: Given;
  #why = 'the deadline had passed before it could be asked for';
  /** The desired capacity was another one than expected on the look before this one. */
  #surprised = false;
  #respected = '';
  #refused = false;

  constructor(given: Given) {
    this.#given = given;
  }

  async until(): Promise<ReplaceResult> {
    const { scene, request, pulse } = this.#given;
    const sleeper = new Sleeper();
    await sleeper.sleep(Date.parse(request.notBefore) - Date.now(), pulse.signal);
    for (;;) {
      const result = await this.#step().catch((error: unknown) => {
        // It was overtaken by somebody between the look and the call: the next look says by what.
        if (!isRefusal(error) || this.#refused) throw error;
        this.#refused = true;
        return undefined;
      });
      if (result) return result;
      await sleeper.sleep(scene.every, pulse.signal);
    }
  }

  get #held() {
    return this.#given.request.held ?? [];
  }

  async #step(): Promise<ReplaceResult | undefined> {
    const { scene, request, memory } = this.#given;
    const group = await scene.account.group(scene.group);
    const standing = standingOf(group, scene.id, request.actor.remediation);
    if (standing.is === 'gone' || !group) return this.#gone(group, standing.is === 'gone' ? standing.why : '');
    if (standing.is !== 'held' && standing.is !== 'replaced' && standing.is !== 'unnoted')
      return this.#inService(standing);
    if (standing.is === 'unnoted' && standing.other)
      return this.#failed(`remediation ${standing.other.remediation} holds it now`);
    const { instance } = standing;
    const note = standing.is === 'unnoted' ? this.#unnoted(group, instance) : standing.note;

    if (this.#isOver()) {
      const why = `it could not be replaced before ${request.deadline}: ${this.#why}`;
      return { verdict: 'blocked', why, changes: memory.changes };
    }
    if (instance.state !== 'Standby') return this.#wait(`it is still ${instance.state}`);
    const refused = await refusal(scene.account, group, instance);
    if (refused) return this.#wait(refused);
    if (note.way === 'standby') {
      if (!(await this.#raise(group, note))) return undefined;
    } else if (wayOf(this.#held) === 'standby-replaced') {
      const { enough, why } = capacity(group, request.owner, scene.id);
      if (!enough) return this.#wait(`its replacement is not in service yet: ${why}`);
    }
    return this.#terminate();
  }

  #isOver(): boolean {
    return Date.now() >= Date.parse(this.#given.request.deadline);
  }

  #wait(why: string): undefined {
    this.#why = why;
    return undefined;
  }

  /** Somebody has taken the note away: as the workflow has it. */
  #unnoted(group: Group, instance: Instance): Note {
    const note = noteOf(group, instance, { held: this.#held, actor: this.#given.request.actor });
    return note.way === 'standby' ? { ...note, own: note.before } : note;
  }

  /**
   * Sets the desired capacity back to what it was, with regard to what else Salvor has on standby in this group. Where somebody
   * else has changed it meanwhile, that is respected.
   *
   * @returns whether it is done with
   */
  async #raise(group: Group, note: Note): Promise<boolean> {
    const { scene, memory } = this.#given;
    // Who has not asked yet cannot tell by the numbers while another one asks.
    if (memory.asked !== 'capacity' && raisedBy(group, note.instance)) return this.#setBack(group, note);
    // Without a note of it the instance is not among what Salvor has taken away.
    const own = group.notes.has(note.instance) ? ownDesired(group) : group.desired + 1;
    const target = group.desired + 1;
    if (isSetBack(group, note) || (memory.asked === 'capacity' && own === note.own + 1)) {
      this.#raised(group.desired - 1, group.desired);
    } else if (own !== note.own) {
      // Another remediation may be between its two calls.
      if (!this.#surprised) {
        this.#surprised = true;
        this.#wait('the desired capacity is not what it was, and is looked at again');
        return false;
      }
      this.#respected = `; somebody else changed the desired capacity of ${scene.group} meanwhile (without Salvor it was ${note.own}, and is ${own}), which is respected: it was not set back`;
    } else if (target > group.max) {
      this.#respected = `; the desired capacity was not set back to ${target}, for MaxSize is ${group.max} now`;
    } else if (!(await this.#setBack(group, note))) {
      return false;
    }
    await scene.account.note(scene.group, { ...note, way: 'standby-replaced', stage: 'held' });
    return true;
  }

  /** @returns whether it was asked for; where not, another look decides */
  async #setBack(group: Group, note: Note): Promise<boolean> {
    const { scene, memory, pulse } = this.#given;
    await pulse.stillMine();
    const own = group.notes.has(note.instance) ? note.own : group.desired + onLoan(group) + 1;
    const now = memory.asked === 'capacity' ? group : await announce(scene, group, { ...note, own });
    if (typeof now === 'string') {
      this.#wait(now);
      return false;
    }
    if (now.desired !== group.desired) {
      this.#wait('the desired capacity was changed at this moment, and is looked at again');
      return false;
    }
    await this.#about('capacity');
    const after = now.desired + 1;
    this.#raised(now.desired, after, await scene.account.setDesired(scene.group, after));
    return true;
  }

  #raised(before: number, after: number, answered?: Parameters<typeof changeOf>[2]): void {
    const { request, memory, pulse } = this.#given;
    const what = `${DESIRED_CAPACITY}: ${before} → ${after}`;
    memory.changes.push(changeOf(request, { what, field: DESIRED_CAPACITY, before, after }, answered));
    pulse.beat(memory);
  }

  async #terminate(): Promise<ReplaceResult | undefined> {
    const { scene, memory, pulse, request } = this.#given;
    await this.#about('termination');
    const answered = await scene.account.terminate(scene.id);
    memory.changes.push(changeOf(request, termination('terminated the instance'), answered));
    pulse.beat(memory);
    await scene.account.unnote(scene.group, scene.id);
    if (this.#hooks.length > 0) return undefined;
    return this.#done();
  }

  /** Those that are Salvor's to complete here: where the replacement is yet to be verified, that is done first. */
  get #hooks(): string[] {
    return wayOf(this.#held) === 'standby-replaced' ? (this.#given.request.options?.lifecycleHooks ?? []) : [];
  }

  async #gone(group: Group | undefined, why: string): Promise<ReplaceResult | undefined> {
    const { scene, request, memory } = this.#given;
    memory.changes.push(...(await repay(scene, request, { group, asked: memory.asked === 'capacity' })));
    if (memory.asked !== 'termination') return { verdict: 'gone', why, changes: memory.changes };
    if (!memory.changes.some(({ field }) => field === 'termination'))
      memory.changes.push(changeOf(request, termination('terminated the instance')));
    const leaving = instanceIn(group, scene.id);
    if (group && leaving && this.#hooks.length > 0) {
      const left = await completeHooks(scene.account, group.name, leaving, this.#hooks);
      if (left && !this.#isOver()) return this.#wait(left);
    }
    return this.#done();
  }

  #done(): ReplaceResult {
    const { scene, memory } = this.#given;
    return {
      verdict: 'replaced',
      why: `its termination was asked for, and ${scene.group} keeps its size${this.#respected}`,
      changes: memory.changes,
    };
  }

  #inService({ is, instance: { state } }: Extract<Standing, { instance: Instance }>): ReplaceResult {
    const who = is === 'returned' || is === 'free' ? 'Salvor itself, or somebody else,' : 'somebody else';
    return this.#failed(`it is ${state} again: ${who} took it out of standby meanwhile`);
  }

  #failed(why: string): ReplaceResult {
    return { verdict: 'failed', why: `${why}; it was not terminated`, changes: this.#given.memory.changes };
  }

  /** Says what is about to be asked for, and asks whether it may be. */
  async #about(asked: NonNullable<Memory['asked']>): Promise<void> {
    const { memory, pulse } = this.#given;
    memory.asked = asked;
    pulse.beat(memory);
    await pulse.stillMine();
  }
}

const termination = (what: string) => ({ what, field: 'termination', before: null, after: null });
