import type { Held } from '../../model/change.ts';
import { FinalError } from '../errors.ts';
import type { HeldOn, Release } from '../instance.ts';
import type { Account } from './account.ts';
import { forget, howToEnd, repay, restore } from './give-back.ts';
import { type Group, keyOf } from './group.ts';
import { DESIRED_CAPACITY, fieldsOf, unreadableIn } from './notes.ts';
import { type Scene, standingOf } from './scene.ts';

/**
 * Gives back by hand what is held of one instance, as the undo of its remediation would. Its state and the desired capacity of its
 * group are one: ExitStandby gives both back, whichever of the two is asked for.
 *
 * @param dryRun says what would be done, and touches nothing
 */
export async function release(scene: Scene, held: Held, dryRun: boolean): Promise<Release> {
  const { runbook, remediation, object: instance } = held;
  const before = await judge(scene, held);
  if (dryRun) return before;
  if (before.result !== 'given-back') {
    const group = before.result === 'unclear' ? undefined : await scene.account.group(scene.group);
    if (before.result === 'gone')
      return {
        ...before,
        changes: await repay(scene, { step: 'release', actor: { runbook, remediation }, instance }, { group }),
      };
    await forget(scene, group, remediation);
    return before;
  }
  try {
    const request = { step: 'release', actor: { runbook, remediation }, instance, held: [held] };
    const changes = await restore(scene, request);
    const back = changes.find(({ field }) => field === held.field);
    return back ? { result: 'given-back', why: back.what, changes } : { ...(await judge(scene, held)), changes };
  } catch (error) {
    if (error instanceof FinalError && error.type === 'Contested')
      return { result: 'unclear', why: error.message, changes: [] };
    throw error;
  }
}

/** What there is to give back, or why there is nothing. */
async function judge(scene: Scene, held: Held): Promise<Release> {
  const group = await scene.account.group(scene.group);
  const standing = standingOf(group, scene.id, held.remediation);
  const is = (result: Release['result'], why: string): Release => ({ result, why, changes: [] });
  switch (standing.is) {
    case 'gone':
      return is('gone', standing.why);
    case 'held': {
      const desired = group?.desired ?? 0;
      const to = desired + 1;
      const what =
        held.field === DESIRED_CAPACITY
          ? `${DESIRED_CAPACITY}: ${desired} → ${to}`
          : 'LifecycleState: Standby → InService';
      return is('given-back', what);
    }
    case 'replaced':
      return is('unclear', `its replacement was asked for, so it must not come back: ${howToEnd(scene)}`);
    case 'unnoted':
      if (standing.other) return is('kept', `remediation ${standing.other.remediation} holds it now`);
      return is('unclear', 'it is on standby, but it carries no note of this remediation: a person must decide');
    default: {
      if (held.field !== DESIRED_CAPACITY)
        return is('as-before', `its LifecycleState is ${standing.instance.state} already`);
      const desired = group?.desired ?? 0;
      if (desired === held.before) return is('as-before', `the desired capacity is ${desired} already`);
      return is('kept', `it is in service, and the desired capacity is ${desired} by now, which stays so`);
    }
  }
}

/** What these groups of an account say is held of their instances. */
export function findHeld(account: Account, groups: readonly Group[]): HeldOn[] {
  return groups.flatMap((group) => {
    const object = (id: string) => ({ key: keyOf(account.name, group.name, id), uid: id });
    const held = [...group.notes.values()].map((note): HeldOn => {
      const { remediation, runbook, until } = note;
      const of = object(note.instance);
      return {
        object: of,
        holds: fieldsOf(note).map((field) => ({ ...field, object: of, remediation, runbook, until })),
      };
    });
    const problem = (id: string) =>
      `the tag salvor.dev/held/${id} of its Auto Scaling group ${group.name} cannot be read`;
    return [...held, ...unreadableIn(group.tags).map((id): HeldOn => ({ object: object(id), problem: problem(id) }))];
  });
}
