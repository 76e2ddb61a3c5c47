import type { Change, Held } from '../../../model/change.ts';
import type { GiveScaleBackRequest } from '../../../model/ports/scalable.ts';
import { type Attempt, LOST } from '../../instance.ts';
import type { Cluster } from '../cluster.ts';
import { isStatus } from '../errors.ts';
import { shown } from '../fields.ts';
import { deciding } from '../pod-writer.ts';
import { refOf } from './kinds.ts';
import { isHere, type Sized } from './objects.ts';
import { cutToSecond } from './set.ts';
import { describeSize, SizeWriter } from './writer.ts';

export type GivingBack = Pick<GiveScaleBackRequest, 'step' | 'actor' | 'held' | 'letGo'>;

/**
 * The undo: sets the size to what it was, and sees to it that a write which is still on its way is refused when it arrives. It
 * does not ask whether it still counts: it only ever takes back what this remediation has set, and it must be able to.
 */
export async function giveBack(
  cluster: Cluster,
  { step, actor, held, letGo }: GivingBack,
  { since }: Pick<Attempt, 'since'>,
): Promise<Change[]> {
  const changes: Change[] = [];
  for (const one of held) {
    const { object, field } = one;
    const ref = await refOf(cluster, object.key);
    const made = await deciding<Change[], Sized>(cluster, ref, async (found) => {
      if (!isHere(found, object)) return [];
      const writer = new SizeWriter({ cluster, ref, step, actor, object, field }, found);
      const change = letGo ? await letGoOf(writer, one) : await giveBackSize(writer, one);
      if (change || letGo) return change ? [change] : [];
      const before = givenBackBefore(writer, one, since);
      await overtake(writer);
      return before;
    });
    changes.push(...made);
  }
  return changes;
}

async function giveBackSize(writer: SizeWriter, held: Held): Promise<Change | undefined> {
  const { own, value } = writer;
  const before = (own ?? held).before as number | null;
  if (isOurs(writer, held) && value !== before) return writer.giveBack(before, describeSize(held.field, value, before));
  return letGoOf(writer, held);
}

/** The note goes, and the size stays as it is. */
async function letGoOf(writer: SizeWriter, held: Held): Promise<Change | undefined> {
  const { own, value } = writer;
  if (!own) return undefined;
  const before = own.before as number | null;
  const by = writer.writer?.manager ?? '(not recorded)';
  const state = value === before ? `is ${shown(value)} again already` : `stays ${shown(value)}, set by ${by} meanwhile`;
  return writer.release(`released the hold on ${held.field}, which ${state}`);
}

/** Whether the size is as this remediation has set it. */
export function isOurs(writer: SizeWriter, { set }: Held): boolean {
  const { own, value } = writer;
  if (own) return value === own.set || value === set;
  // A note can get lost, with `kubectl rollout undo`; who wrote the field tells a person's same number from ours.
  return value === set && !writer.othersHold(set) && writer.writer?.manager === writer.manager;
}

/** What an earlier attempt at this undo gave back without being able to tell it. */
function givenBackBefore(writer: SizeWriter, { field, set, before }: Held, since: number): Change[] {
  const last = writer.writer;
  if (writer.value !== before || last?.manager !== writer.manager || !last.time) return [];
  if (Date.parse(last.time) < cutToSecond(since)) return [];
  return [writer.change(field, set, before, `${describeSize(field, set, before)}${LOST}`, { at: last.time })];
}

/** With rights that do not allow the write, a write that is still on its way is refused by them as well. */
async function overtake(writer: SizeWriter): Promise<void> {
  try {
    await writer.overtake();
  } catch (error) {
    if (!isStatus(error, 403)) throw error;
  }
}
