import type { Held } from '../../../model/change.ts';
import type { HeldOn, Release } from '../../instance.ts';
import type { Account } from '../account.ts';
import { type Group, keyOf, ownDesired, ownNote } from '../group.ts';
import { DESIRED_CAPACITY, hasUnreadableSize, noteKey, SIZE } from '../notes.ts';
import { type GroupScene, resized } from './scene.ts';
import { giveBack, wayBack } from './write.ts';

/**
 * Gives back by hand what is held of the size of a group, as the undo of its remediation would.
 *
 * @param dryRun says what would be done, and touches nothing
 */
export async function releaseSize(scene: GroupScene, held: Held, dryRun: boolean): Promise<Release> {
  const before = judge(held, await scene.account.group(scene.group));
  if (dryRun || before.result === 'gone' || before.result === 'unclear') return before;
  const { remediation, runbook, object } = held;
  const scale = { by: { object, field: DESIRED_CAPACITY, value: Number(held.before) } };
  // What else a reading has is not needed on the way back.
  const request = { step: 'release', actor: { runbook, remediation }, scale, held: [held] };
  const changes = await giveBack(scene, request, { stillMine: async () => undefined });
  return { ...before, changes };
}

/** What there is to give back, or why there is nothing. */
function judge(held: Held, group: Group | undefined): Release {
  const is = (result: Release['result'], why: string): Release => ({ result, why, changes: [] });
  const { object, remediation } = held;
  if (!group || group.arn !== object.uid) return is('gone', 'the Auto Scaling group does not exist any more');
  const note = ownNote(group, held);
  if (group.size && !note) return is('kept', `remediation ${group.size.remediation} holds it now`);
  const now = ownDesired(group);
  const { to, ours } = wayBack(group, { note, held: [held], found: held.before });
  if (ours && !note)
    return is(
      'unclear',
      `the ${DESIRED_CAPACITY} is ${group.desired}, as Salvor set it, but the group carries no note of remediation ${remediation}: a person must decide`,
    );
  if (ours) return is('given-back', resized({ step: 'release', object, from: now, to }, group, NOW).what);
  if (now === to) return is('as-before', `the ${DESIRED_CAPACITY} is ${group.desired} already`);
  return is('kept', `somebody else has set the ${DESIRED_CAPACITY} to ${group.desired} meanwhile, which stays so`);
}

/** Only its words are wanted. */
const NOW = { at: '' };

/** What these groups of an account say is held of their size. */
export function findHeldSizes(account: Account, groups: readonly Group[]): HeldOn[] {
  return groups.flatMap((group): HeldOn[] => {
    const object = { key: keyOf(account.name, group.name), uid: group.arn };
    const { size } = group;
    if (hasUnreadableSize(group.tags))
      return [{ object, problem: `the tag ${noteKey(SIZE)} of the Auto Scaling group ${group.name} cannot be read` }];
    if (!size) return [];
    const { before, set, remediation, runbook, until } = size;
    return [{ object, holds: [{ object, field: DESIRED_CAPACITY, before, set, remediation, runbook, until }] }];
  });
}
