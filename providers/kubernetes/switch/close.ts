import { equal, type JsonObject } from '../../../model/breaker/patch.ts';
import type { Change, Held } from '../../../model/change.ts';
import type { SetSwitchRequest } from '../../../model/ports/switch.ts';
import { FinalError } from '../../errors.ts';
import { type Attempt, LOST, type Release } from '../../instance.ts';
import { HELD_FIELD, type Note } from '../fields.ts';
import { shownText, textOf } from './form.ts';
import { breakerNotes, changeOf, type Live, MANAGER, ownNotes, slotOf, withNotes, writerAt } from './notes.ts';
import { describe, putBackAll, type Switched } from './switched.ts';

type Closing = Pick<SetSwitchRequest, 'step' | 'actor' | 'held' | 'anyones'>;

/**
 * The undo: puts back what was there, and sees to it that an opening which is still on its way is refused when it arrives. It
 * does not ask whether it still counts: it only ever takes back what this remediation has set. What somebody else has changed
 * meanwhile stays as it is.
 *
 * @throws FinalError `Contested` where a field is as it was set, but neither the note nor its last writer is Salvor's
 */
export async function giveBack(it: Switched, request: Closing, { since }: Pick<Attempt, 'since'>): Promise<Change[]> {
  const { writer, form } = it;
  return writer.deciding(async (live) => {
    const uid = request.held[0]?.object.uid;
    if (!live || (uid !== undefined && live.metadata.uid !== uid)) return [];
    const notes = request.anyones ? breakerNotes(live, form) : ownNotes(live, form, request.actor.remediation);
    const unnoted = unnotedOf(it, live, request.held, notes);
    const closed = closedOf(it, live, [...notes, ...unnoted], notes);
    if (!equal(live, closed)) {
      const { auditId } = await writer.write(live, closed);
      return changesOf(it, live, closed, [...notes, ...unnoted], { step: request.step, auditId });
    }
    const made = request.held.flatMap((held) => closedBefore(it, live, held, { step: request.step, since }));
    if (request.held.length > 0) await writer.overtake(live, request.actor);
    return made;
  });
}

const closedOf = ({ form }: Switched, live: Live, held: readonly Note[], notes: readonly Note[]): JsonObject =>
  withNotes(putBackAll(form, live, held), live, notes, []);

/** What is as it was set although its note is not there: Salvor's where it wrote it last. */
function unnotedOf({ form }: Switched, live: Live, held: readonly Held[], notes: readonly Note[]): Held[] {
  return held.filter((one) => {
    const found = textOf(form.read(live, one.field));
    if (notes.some(({ field }) => field === one.field) || found !== one.set || found === one.before) return false;
    const by = writerAt(live.metadata, form.path(one.field), form.read(live, one.field))?.manager ?? '(not recorded)';
    if (by === MANAGER) return true;
    const how = `once it is clear that it should be closed, set it back to ${shownText(one.before)}`;
    throw new FinalError(
      `did not close ${form.title}: ${one.field} is as it is when open, but its note is not there, and ${by} wrote it last, not Salvor; nothing was touched. A person must decide: ${how}`,
      { type: 'Contested' },
    );
  });
}

/** What is put back; of what stays as somebody else has set it, that its hold is over. */
function changesOf(
  { form, key }: Switched,
  live: Live,
  closed: JsonObject,
  held: readonly Note[],
  of: { step: string; auditId?: string | undefined },
): Change[] {
  const at = { ...of, key, uid: live.metadata.uid };
  return held.map((one) => {
    const [before, after] = [textOf(form.read(live, one.field)), textOf(form.read(closed, one.field))];
    if (before !== after)
      return changeOf(at, { what: describe(form, one.field, before, after), field: one.field, before, after });
    const by = writerAt(live.metadata, form.path(one.field), form.read(live, one.field))?.manager ?? '(not recorded)';
    const state =
      before === one.before
        ? `is ${shownText(before)} again already`
        : `stays ${shownText(before)}, set by ${by} meanwhile`;
    const what = `released the hold on ${form.title}: ${one.field}, which ${state}`;
    return changeOf(at, { what, field: HELD_FIELD, before: JSON.stringify(one), after: null });
  });
}

/** What an earlier attempt at this has put back without being able to tell. */
function closedBefore(
  { form, key }: Switched,
  live: Live,
  { field, before, set }: Held,
  { step, since }: { step: string; since: number },
): Change[] {
  const found = form.read(live, field);
  const last = writerAt(live.metadata, form.path(field), found);
  if (textOf(found) !== before || last?.manager !== MANAGER || last.time === undefined) return [];
  // Times of writers are cut to the second.
  if (Date.parse(last.time) < Math.floor(since / 1000) * 1000) return [];
  const what = `${describe(form, field, set, before)}${LOST}`;
  return [
    changeOf({ step, key, uid: live.metadata.uid, answered: last.time }, { what, field, before: set, after: before }),
  ];
}

/** Gives back one held field by hand, without its remediation. @param dryRun says what would be done, and touches nothing */
export async function release(it: Switched, held: Held, dryRun: boolean): Promise<Release> {
  const { form, writer } = it;
  const live = await writer.read();
  const is = (result: Release['result'], why: string, changes: Change[] = []): Release => ({ result, why, changes });
  if (!live || live.metadata.uid !== held.object.uid)
    return is('gone', `${form.title} is not there any more, or another object has its name`);
  const note = ownNotes(live, form, held.remediation).find(({ field }) => field === held.field);
  const found = textOf(form.read(live, held.field));
  const set = note?.set ?? held.set;
  const before = note?.before ?? held.before;
  if (found !== set && found !== before && !isPartly(it, live, note ?? held))
    return note && !dryRun
      ? is('kept', kept(it, live, held), await giveBackOne(it, held))
      : is('kept', kept(it, live, held));
  if (found === before && !note) return is('as-before', `${held.field} is ${shownText(found)} already`);
  if (dryRun) return is('given-back', describe(form, held.field, found, before));
  try {
    const changes = await giveBackOne(it, held);
    return found === before
      ? is('as-before', `${held.field} is ${shownText(found)} already`, changes)
      : is('given-back', describe(form, held.field, found, before), changes);
  } catch (error) {
    if (error instanceof FinalError && error.type === 'Contested') return is('unclear', error.message);
    throw error;
  }
}

/** Of an object that was made as a whole only that is given back which nobody else has added to it. */
const isPartly = ({ form }: Switched, live: Live, held: Held): boolean =>
  !equal(form.putBack(live, slotOf(held)), live);

function kept({ form }: Switched, live: Live, { field }: Held): string {
  const found = form.read(live, field);
  const by = writerAt(live.metadata, form.path(field), found)?.manager ?? '(not recorded)';
  return `${field} was changed to ${shownText(textOf(found))} by ${by} meanwhile, and stays so`;
}

async function giveBackOne(it: Switched, held: Held): Promise<Change[]> {
  return it.writer.deciding(async (live) => {
    if (!live || live.metadata.uid !== held.object.uid) return [];
    const notes = ownNotes(live, it.form, held.remediation).filter(({ field }) => field === held.field);
    const unnoted = unnotedOf(it, live, [held], notes);
    const closed = closedOf(it, live, [...notes, ...unnoted], notes);
    if (equal(live, closed)) return [];
    const { auditId } = await it.writer.write(live, closed);
    return changesOf(it, live, closed, [...notes, ...unnoted], { step: 'release', auditId });
  });
}
