import type { Change } from '../../model/change.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import { FinalError } from '../errors.ts';
import type { Attempt } from '../instance.ts';
import { type Group, groupRefusal, heldByAnother, type Instance, ownDesired } from './group.ts';
import { DESIRED_CAPACITY, fieldsOf, LIFECYCLE_STATE, type Note, wayOf } from './notes.ts';
import { unlessRaising } from './raise.ts';
import { changeOf, nameOf, type Scene, standingOf } from './scene.ts';

/**
 * Takes the instance out of service: EnterStandby, with a decrement where the fields to be held say so. The note comes
 * first, so that whoever finds it on standby also finds by whom.
 *
 * AWS knows no preconditions. So before it writes, an attempt that may not be alone asks whether it still counts; what its
 * client gave up on after six seconds and AWS carries out later all the same is found on standby with the note, or without.
 *
 * @throws FinalError `Replaced` where it is gone, `Contested` where the group is no longer as diagnosed: nothing was touched;
 *   UnavailableError while another remediation sets the desired capacity back
 */
export async function cut(scene: Scene, request: CutRequest, attempt: Attempt): Promise<Change[]> {
  if (request.held.length === 0) return [];
  const group = await scene.account.group(scene.group);
  const standing = standingOf(group, scene.id, request.actor.remediation);
  const nothing = (why: string, type: 'Replaced' | 'Contested') =>
    new FinalError(`did not take ${nameOf(scene)} out of service: ${why}; nothing was touched`, { type });
  if (standing.is === 'gone' || !group) throw nothing(standing.is === 'gone' ? standing.why : '', 'Replaced');
  if (standing.is === 'held' || standing.is === 'replaced') return changesOf(request, standing.note);
  const { instance } = standing;
  // One that is set to a number at this moment would take no note of a decrement.
  unlessRaising(group, scene.id);
  const reason =
    heldByAnother(group, scene.id, request.actor.remediation) ??
    groupRefusal(group) ??
    changed(group, instance, request);
  if (reason) throw nothing(reason, 'Contested');

  const note = noteOf(group, instance, request);
  const mayWrite = async (): Promise<void> => {
    if (Date.now() >= attempt.aloneUntil) await attempt.stillMine();
  };
  await mayWrite();
  await scene.account.note(scene.group, note);
  await mayWrite();
  const answered = await scene.account.enterStandby(scene.group, scene.id, note.way === 'standby');
  return changesOf(request, note, answered);
}

function changed(group: Group, { state }: Instance, { held }: CutRequest): string | undefined {
  if (state !== 'InService') return `it was InService when it was diagnosed and is ${state} now`;
  const desired = held.find(({ field }) => field === DESIRED_CAPACITY);
  if (desired && group.desired !== desired.before)
    return `the desired capacity of its group was ${desired.before} when it was diagnosed and is ${group.desired} now`;
  return undefined;
}

/** What the fields to be held say, for the tag. */
export function noteOf(group: Group, { id }: Instance, { held, actor }: Pick<CutRequest, 'held' | 'actor'>): Note {
  const until = held.find(({ field }) => field === LIFECYCLE_STATE)?.until ?? new Date().toISOString();
  const before = Number(held.find(({ field }) => field === DESIRED_CAPACITY)?.before ?? group.desired);
  return { instance: id, ...actor, until, way: wayOf(held), before, own: ownDesired(group), stage: 'held' };
}

/** By the attempt itself, or by one before it, as the note says. */
const changesOf = (request: CutRequest, note: Note, answered?: Parameters<typeof changeOf>[2]): Change[] =>
  fieldsOf(note)
    .filter(({ field }) => request.held.some((held) => held.field === field))
    .map(({ field, before, set }) =>
      changeOf(request, { what: `${field}: ${before} → ${set}`, field, before, after: set }, answered),
    );
