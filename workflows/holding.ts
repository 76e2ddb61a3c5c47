import { CancellationScope } from '@temporalio/workflow';
import type { AuditEntry, AuditPage } from '../model/audit.ts';
import type { Change, Held } from '../model/change.ts';
import type { Ending, Story } from '../model/remediation.ts';
import { explain, isUntouched } from './failures.ts';
import { type Undo, unreported } from './undo.ts';

/** Of a life, what holding needs. */
interface Keeper {
  readonly story: Story;
  readonly staysHeld: string;
  note(entry: AuditEntry): void;
  page(): AuditPage;
  record(changes: Change[]): void;
  phase(phase: string, text: string, next?: Story['next']): void;
  end(outcome: Ending['outcome'], reason: string): Ending;
}

/** What a remediation holds, and how that is taken back. */
export class Holding {
  readonly #life: Keeper;
  #undos: Undo[] = [];
  #keeps = false;

  constructor(life: Keeper) {
    this.#life = life;
  }

  /**
   * Makes a change that is to be undone if the remediation does not come to a good end. The undo is registered, and what
   * will be held is noted, before the change is made, for a step that timed out may have been applied.
   *
   * @param make is given what has been noted so far, for its activity to write down before it acts
   */
  async change(
    what: string,
    make: (audit: AuditPage) => Promise<Change[]>,
    { held, undo }: { held: Held[]; undo: () => Promise<Change[]> },
  ): Promise<void> {
    const registered: Undo = { what, undo, held, reported: false };
    this.#undos.push(registered);
    this.#life.story.held.push(...held);
    this.#note(held);
    try {
      this.#life.record(await make(this.#life.page()));
      registered.reported = true;
    } catch (error) {
      if (isUntouched(error)) this.#forget(registered);
      throw error;
    }
  }

  /**
   * Sets what is held already to another value, noted before. The undo stays the one of the first change.
   *
   * @param held the same fields with what is set now; where nothing was touched the old ones stand again
   */
  async changeAgain(held: Held[], make: (audit: AuditPage) => Promise<Change[]>): Promise<void> {
    const registered = this.#undos.at(-1);
    const before = registered?.held ?? [];
    this.#hold(registered, held);
    this.#note(held);
    try {
      this.#life.record(await make(this.#life.page()));
      if (registered) registered.reported = true;
    } catch (error) {
      if (isUntouched(error)) {
        this.#hold(registered, before);
        this.#note(before);
      }
      throw error;
    }
  }

  /** Registers again, in a later run, how what is held is taken back. */
  resume(what: string, undo: () => Promise<Change[]>): void {
    this.#undos.push({ what, undo, held: [...this.#life.story.held], reported: true });
  }

  /** What was held has been given back, or is gone: nothing is left to undo. */
  released(): void {
    this.#undos = [];
    this.#release(this.#life.story.held);
  }

  /** From here on what is held stays so where it fails, for giving it back would do harm: only a person's cancel undoes it. */
  keeps(): void {
    this.#keeps = true;
  }

  /** Undoes, newest first, whatever happens; an undo that fails is named in the reason. */
  async giveUp(ending: Ending): Promise<Ending> {
    const life = this.#life;
    if (this.#keeps && ending.outcome === 'failed') return this.#kept(ending);
    if (this.#undos.length > 0) life.phase('undo', ending.reason, { what: 'undo what was done' });
    let { outcome, reason } = ending;
    await CancellationScope.nonCancellable(async () => {
      for (let undo = this.#undos.pop(); undo; undo = this.#undos.pop()) {
        try {
          const back = await undo.undo();
          life.record([...unreported(undo, back), ...back]);
          this.#release(undo.held);
        } catch (error) {
          outcome = 'failed';
          reason = `${reason}; and could not undo "${undo.what}": ${explain(error)}. A person must undo it`;
        }
      }
    });
    return life.end(outcome, reason);
  }

  #kept({ outcome, reason }: Ending): Ending {
    this.#undos = [];
    const { story, staysHeld } = this.#life;
    return this.#life.end(outcome, story.held.length > 0 ? `${reason}. ${staysHeld}` : reason);
  }

  #hold(registered: Undo | undefined, held: Held[]): void {
    const { story } = this.#life;
    const others = story.held.filter((one) => !registered?.held.includes(one));
    story.held = [...others, ...held];
    if (!registered) return;
    registered.held = held;
    registered.reported = false;
  }

  #forget(registered: Undo): void {
    this.#undos = this.#undos.filter((one) => one !== registered);
    this.#release(registered.held);
  }

  #note(held: readonly Held[]): void {
    for (const field of held) this.#life.note({ kind: 'held', held: field });
  }

  #release(released: readonly Held[]): void {
    for (const { object, field } of released) this.#life.note({ kind: 'released', object, field });
    const { story } = this.#life;
    story.held = story.held.filter((held) => !released.includes(held));
  }
}
