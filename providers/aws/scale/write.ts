import type { Change, Held } from '../../../model/change.ts';
import type { GiveScaleBackRequest, Scale, ScaleToRequest } from '../../../model/ports/scalable.ts';
import { FinalError, UnavailableError } from '../../errors.ts';
import type { Attempt } from '../../instance.ts';
import { isRefusal } from '../errors.ts';
import { type Group, onLoan, ownDesired, ownNote } from '../group.ts';
import { DESIRED_CAPACITY, type SizeNote } from '../notes.ts';
import { heldAlready, refusal } from './read.ts';
import { type GroupScene, limitsOf, nameOf, resized } from './scene.ts';

/**
 * Sets the desired capacity, within the group's own limits, whatever its cooldown. The note comes first, so that whoever finds it
 * changed also finds by whom.
 *
 * AWS knows no preconditions: what was read a moment before is the best there is. So an attempt asks whether it still counts
 * before it writes, and again where it may not be alone any more.
 *
 * @throws FinalError `Replaced` where it is another group, `Contested` where it is not as it was read: nothing was touched
 */
export async function scaleTo(scene: GroupScene, request: ScaleToRequest, attempt: Attempt): Promise<Change[]> {
  const { actor, scale, to, step } = request;
  const object = scale.by.object;
  const nothing = (why: string, type: 'Replaced' | 'Contested') =>
    new FinalError(`did not set ${nameOf(scene)} to ${to}: ${why}; nothing was touched`, { type });
  const group = await scene.account.group(scene.group);
  if (!group) throw nothing('it does not exist any more', 'Replaced');
  if (group.arn !== object.uid) throw nothing('another group bears its name now', 'Replaced');
  const note = ownNote(group, actor);
  const now = ownDesired(group);
  // An earlier attempt has done it, and could not report it.
  if (now === to && note?.set === to)
    return note.from === to ? [] : [resized({ step, object, from: note.from, to }, group)];
  const reason =
    (request.adopt && `it is ${now} now`) ??
    heldAlready(group, actor.remediation) ??
    moved(now, [request.from, note?.set]) ??
    beyond(group, to) ??
    (await refusal(scene, group));
  if (reason !== undefined) throw nothing(reason, 'Contested');
  if (now === to) return [];

  await attempt.stillMine();
  const before = note?.before ?? Number(scale.by.value ?? now);
  await scene.account.noteSize(scene.group, { ...actor, until: untilOf(request.held), before, from: now, set: to });
  if (Date.now() >= attempt.aloneUntil) await attempt.stillMine();
  return [await set(scene, group, { step, object, from: now, to })];
}

/**
 * Sets the desired capacity back to what it was, as near as the group's own limits allow by now, unless somebody else has set it
 * meanwhile; then the note goes.
 */
export async function giveBack(
  scene: GroupScene,
  { actor, scale, held, step, letGo }: Omit<GiveScaleBackRequest, 'scale'> & { scale: Pick<Scale, 'by'> },
  attempt: Pick<Attempt, 'stillMine'>,
): Promise<Change[]> {
  const object = scale.by.object;
  const group = await scene.account.group(scene.group);
  if (!group || group.arn !== object.uid) return [];
  const note = ownNote(group, actor);
  const { before, to, ours, lost } = wayBack(group, { note, held, found: scale.by.value });
  if (!note && (group.size !== undefined || before === undefined || !ours)) return [];
  await attempt.stillMine();
  if (letGo) {
    await scene.account.unnote(scene.group, DESIRED_CAPACITY);
    return [];
  }
  const changes: Change[] = [];
  if (ours && before !== undefined) {
    const now = ownDesired(group);
    await scene.account.noteSize(scene.group, { ...actor, until: untilOf(held), before, from: now, set: to });
    changes.push(await set(scene, group, { step, object, from: now, to }));
  } else if (lost) {
    changes.push(resized({ step, object, ...lost }, group));
  }
  await scene.account.unnote(scene.group, DESIRED_CAPACITY);
  return changes;
}

/** What giving back would do. */
export interface WayBack {
  /** Undefined where nobody knows it. */
  before: number | undefined;
  /** That, or the nearest within the group's own limits now. */
  to: number;
  /** The desired capacity is as Salvor set it, and not yet what it goes back to. */
  ours: boolean;
  /** An earlier attempt has given it back, and could not report it. */
  lost?: { from: number; to: number };
}

export function wayBack(
  group: Group,
  { note, held, found }: { note: SizeNote | undefined; held: readonly Held[]; found: Held['before'] },
): WayBack {
  const own = held.find(({ field }) => field === DESIRED_CAPACITY);
  const before = numberOf(note?.before ?? own?.before ?? found);
  const now = ownDesired(group);
  const { min, max } = limitsOf(group);
  const to = Math.max(min, Math.min(max, before ?? now));
  // What the runbook itself has set before, step by step, is no way back that was lost.
  const returned = note !== undefined && now === to && note.set === to && note.from !== to && own?.set !== to;
  const ours = now !== to && [note?.from, note?.set, own?.set].includes(now);
  return { before, to, ours, ...(returned && { lost: { from: note.from, to } }) };
}

/** @throws UnavailableError too where AWS refuses it: what was read a moment before was overtaken, and another look says by what */
async function set(scene: GroupScene, group: Group, resize: Parameters<typeof resized>[0]): Promise<Change> {
  try {
    const answered = await scene.account.setDesired(scene.group, resize.to - onLoan(group));
    return resized(resize, group, answered);
  } catch (error) {
    if (isRefusal(error)) throw new UnavailableError(error.message, { cause: error });
    throw error;
  }
}

function moved(now: number, expected: readonly (number | null | undefined)[]): string | undefined {
  if (expected.includes(now)) return undefined;
  return `somebody else has set its desired capacity to ${now} meanwhile (it was ${expected[0]})`;
}

function beyond(group: Group, to: number): string | undefined {
  const { min, max } = limitsOf(group);
  if (to > max) return `its own MaxSize is ${max}`;
  if (to >= min) return undefined;
  const lent = min - group.min;
  return `its own MinSize is ${group.min}${lent === 0 ? '' : `, and ${lent} more is on standby`}`;
}

const untilOf = (held: readonly Held[]): string =>
  held.find(({ field }) => field === DESIRED_CAPACITY)?.until ?? new Date().toISOString();

const numberOf = (value: Held['before'] | undefined): number | undefined =>
  typeof value === 'number' ? value : undefined;
