import type { Dependency } from '../../../model/breaker/options.ts';
import { covers, equal, type JsonObject } from '../../../model/breaker/patch.ts';
import type { Change, Held } from '../../../model/change.ts';
import type { KeepOpenRequest, KeptOpen, SetSwitchRequest, SwitchReading } from '../../../model/ports/switch.ts';
import { FinalError } from '../../errors.ts';
import { type Attempt, LOST, type Pulse, type Release } from '../../instance.ts';
import { heldUntil, keepOpen } from '../../keep-open.ts';
import type { ReleasableSwitch } from '../../switch-kinds.ts';
import type { Cluster } from '../cluster.ts';
import type { Note } from '../fields.ts';
import { keyOf } from '../owner.ts';
import { giveBack, release } from './close.ts';
import { type Form, type Kept, type Slot, shownText, textOf } from './form.ts';
import { look } from './look.ts';
import { breakerNotes, changeOf, type Live, MANAGER, ownNotes, slotOf, withNotes, writerAt } from './notes.ts';
import { describe, putBackAll, type Switched } from './switched.ts';
import { ObjectWriter } from './writer.ts';

/** Characters of all values that are held: they become a part of histories, and of an annotation. */
const LARGEST_HOLD = 32 * 1024;

/** A switch that is one object of a cluster: opened by changing it, closed by putting back what was there. */
export function objectSwitch(cluster: Cluster, form: Form, dependency: Dependency): ReleasableSwitch {
  return new ObjectSwitch(new ObjectWriter(cluster, form), form, dependency);
}

class ObjectSwitch implements Switched, ReleasableSwitch {
  readonly writer: ObjectWriter;
  readonly form: Form;
  readonly key: string;
  readonly #dependency: Dependency;

  constructor(writer: ObjectWriter, form: Form, dependency: Dependency) {
    this.writer = writer;
    this.form = form;
    this.#dependency = dependency;
    this.key = keyOf(writer.cluster, form.namespace, form);
  }

  async read(): Promise<SwitchReading> {
    const { form, writer } = this;
    const live = await writer.read();
    if (!live) throw this.#missing('UnknownTarget');
    const notes = breakerNotes(live, form);
    const base = putBackAll(form, live, notes);
    const { slots } = await this.#slotsOf(live, base, 'open');
    const object = { key: this.key, uid: live.metadata.uid };
    const held = slots.map(({ field, before, set }) => ({ object, field, before: textOf(before), set: textOf(set) }));
    return { ...this.#position(live, slots, notes), held };
  }

  #position(live: Live, slots: readonly Slot[], notes: readonly Note[]): Pick<SwitchReading, 'position' | 'why'> {
    const { form } = this;
    const is = (what: 'before' | 'set', of: readonly Slot[]) =>
      of.every((slot) => equal(form.read(live, slot.field), slot[what]));
    if (is('set', slots)) {
      const [by] = notes;
      return { position: 'open', why: `${form.title} is as it is when open${by ? `, by ${by.remediation}` : ''}` };
    }
    const noted = notes.map(slotOf);
    if (is('before', slots) && is('before', noted)) return { position: 'closed', why: `${form.title} is not opened` };
    if (noted.length > 0 && is('set', noted)) {
      const { share } = this.#dependency.halfOpen;
      return { position: { share }, why: `${form.title} lets ${share}% through, as ${notes[0]?.remediation} set it` };
    }
    const odd = [...noted, ...slots].filter(({ field, set }) => !equal(form.read(live, field), set));
    const names = odd.map(({ field }) => {
      const by = writerAt(live.metadata, form.path(field), form.read(live, field))?.manager ?? '(not recorded)';
      return `${field}, written by ${by}`;
    });
    return { position: 'mixed', why: `${form.title} is neither as it is when open nor as before: ${names.join('; ')}` };
  }

  async set(request: SetSwitchRequest, attempt: Attempt): Promise<Change[]> {
    const { position } = request;
    if (position === 'closed') return giveBack(this, request, attempt);
    return this.writer.deciding(async (live, tries) => {
      const uid = request.held[0]?.object.uid;
      if (!live || (uid !== undefined && live.metadata.uid !== uid)) throw this.#missing('Replaced');
      const mayWrite = async () => {
        if (tries > 1 || Date.now() >= attempt.aloneUntil) await attempt.stillMine();
      };
      return this.#open(live, { ...request, position }, { since: attempt.since, mayWrite });
    });
  }

  async #open(
    live: Live,
    request: SetSwitchRequest & { position: Kept },
    { since, mayWrite }: { since: number; mayWrite: () => Promise<void> },
  ): Promise<Change[]> {
    const { form } = this;
    const { remediation, runbook } = request.actor;
    const own = ownNotes(live, form, remediation);
    this.#checkUntouched(live, request, own);
    const base = putBackAll(form, live, own);
    const { slots, made } = await this.#slotsOf(live, base, request.position);
    const until = heldUntil(request.held, request.dependency);
    const object = { key: this.key, uid: live.metadata.uid };
    const notes = slots.map(
      ({ field, before, set }): Note => ({
        ...{ object, field, before: textOf(before), set: textOf(set), remediation, runbook, until },
      }),
    );
    const wanted = withNotes(form.want(base, request.position), live, own, notes);
    const at = { step: request.step, ...object };
    // What was noted and is not set any more is given back by this.
    const fields = [...new Set([...own, ...notes].map(({ field }) => field))];
    const moved = fields.filter((field) => !equal(form.read(live, field), form.read(made, field)));
    if (moved.length === 0 && sameNotes(own, notes)) return this.#madeBefore(live, at, own, since);
    await mayWrite();
    const { auditId } = await this.writer.write(live, wanted);
    return moved.map((field) => {
      const [before, after] = [textOf(form.read(live, field)), textOf(form.read(made, field))];
      return changeOf({ ...at, auditId }, { what: describe(form, field, before, after), field, before, after });
    });
  }

  /** What an earlier attempt at this has done without being able to tell. */
  #madeBefore(
    live: Live,
    at: { step: string; key: string; uid: string },
    own: readonly Note[],
    since: number,
  ): Change[] {
    const { form } = this;
    return own.flatMap(({ field, before, set }) => {
      const writer = writerAt(live.metadata, form.path(field), form.read(live, field));
      // Times of writers are cut to the second.
      const isOf = writer?.manager === MANAGER && writer.time !== undefined;
      if (!isOf || Date.parse(writer.time ?? '') < Math.floor(since / 1000) * 1000) return [];
      const what = `${describe(form, field, before, set)}${LOST}`;
      return [changeOf({ ...at, answered: writer.time }, { what, field, before, after: set })];
    });
  }

  /** @throws FinalError `Contested` where it is not as it was read, or another remediation holds it */
  #checkUntouched(live: Live, { held, actor }: SetSwitchRequest, own: readonly Note[]): void {
    const { form } = this;
    const refuse = (why: string) =>
      new FinalError(`did not open ${form.title}: ${why}; nothing was touched`, { type: 'Contested' });
    const other = breakerNotes(live, form).find(
      ({ remediation }) => !own.some((note) => note.remediation === remediation),
    );
    if (other) throw refuse(`remediation ${other.remediation} holds ${other.field} until ${other.until}`);
    if (own.some(({ remediation }) => remediation === actor.remediation)) return;
    const base = putBackAll(form, live, own);
    for (const { field, before } of held) {
      const found = textOf(form.read(base, field));
      if (found === before) continue;
      const by = writerAt(live.metadata, form.path(field), form.read(live, field))?.manager ?? '(not recorded)';
      const [was, is] = [shownText(before), shownText(found)];
      throw refuse(`${field} was ${was} when it was read and is ${is} now, set by ${by}`);
    }
  }

  /** Its fields, with the values that the API makes of what is asked for. @throws FinalError `Invalid` */
  async #slotsOf(live: Live, base: JsonObject, position: Kept): Promise<{ slots: Slot[]; made: JsonObject }> {
    const { form, writer } = this;
    const wanted = form.want(base, position);
    const made: JsonObject = equal(live, wanted) ? live : ((await writer.tried(live, wanted)) ?? wanted);
    const slots = form.slots(base, made, position);
    const dropped = form.slots(base, wanted, position).find(({ field, set }) => !covers(form.read(made, field), set));
    if (slots.length === 0 && dropped)
      throw new FinalError(
        `${form.title}: opening it would change nothing, for the API drops ${dropped.field}: expected a field that it knows`,
        { type: 'Invalid' },
      );
    const size = slots.reduce((sum, { before, set }) => sum + `${textOf(before)}${textOf(set)}`.length, 0);
    if (size <= LARGEST_HOLD) return { slots, made };
    throw new FinalError(
      `${form.title}: what opening it changes has ${size} characters, before and after, and at most ${LARGEST_HOLD} can be held: expected a patch of less`,
      { type: 'Invalid' },
    );
  }

  async keepOpen(request: KeepOpenRequest, pulse: Pulse): Promise<KeptOpen> {
    return keepOpen(request, pulse, (mayAssert) => look(this, request, mayAssert, () => pulse.stillMine()));
  }

  owns(field: string): boolean {
    return this.form.owns(field);
  }

  release(held: Held, dryRun: boolean): Promise<Release> {
    return release(this, held, dryRun);
  }

  #missing(type: 'UnknownTarget' | 'Replaced'): FinalError {
    const what = type === 'Replaced' ? 'is not there any more, or another object has its name' : 'does not exist';
    return new FinalError(`${this.form.title} ${what} in cluster ${this.writer.cluster}; nothing was touched`, {
      type,
    });
  }
}

/** Until when is no part of it: what is held stays held as it was noted. */
const sameNotes = (a: readonly Note[], b: readonly Note[]): boolean =>
  a.length === b.length && a.every((one) => b.some((other) => equal(identity(one), identity(other))));

const identity = ({ field, before, set, remediation }: Note): JsonObject => ({ field, before, set, remediation });
