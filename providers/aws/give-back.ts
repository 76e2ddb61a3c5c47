import type { Change } from '../../model/change.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import { isRefusal } from './errors.ts';
import { type Group, ownDesired } from './group.ts';
import { DESIRED_CAPACITY, LIFECYCLE_STATE } from './notes.ts';
import { unlessRaising } from './raise.ts';
import { changeOf, nameOf, type Scene, type Standing, standingOf } from './scene.ts';

type Request = Pick<CutRequest, 'step' | 'actor' | 'instance' | 'held'>;

/**
 * The undo: back in service, which adds the one back to the desired capacity. Only what this remediation took out, by its note;
 * never an instance whose replacement was asked for.
 *
 * @throws FinalError `Contested` where a person must decide; UnavailableError while it is on its way to standby
 */
export async function restore(scene: Scene, request: Request): Promise<Change[]> {
  if (request.held.length === 0) return [];
  const group = await scene.account.group(scene.group);
  const standing = standingOf(group, scene.id, request.actor.remediation);
  switch (standing.is) {
    case 'gone':
      return repay(scene, request, { group });
    case 'free':
      return [];
    case 'taken':
      await scene.account.unnote(scene.group, scene.id);
      return [];
    case 'returned':
      return finishReturn(scene, request, standing);
    case 'replaced':
      throw stays(scene);
    case 'unnoted':
      if (standing.other) return [];
      throw unclear(scene);
    case 'held':
      return putBack(scene, request, { group, standing, mayWrite: async () => undefined });
  }
}

/**
 * ExitStandby. The note says before it that this is under way, so that whoever looks after a crash knows who did it.
 *
 * @throws FinalError `Contested` where there is no room for it; UnavailableError where it cannot be done yet
 */
export async function putBack(
  scene: Scene,
  request: Request,
  {
    group,
    standing: { instance, note },
    mayWrite,
  }: { group: Group | undefined; standing: Extract<Standing, { is: 'held' }>; mayWrite: () => Promise<void> },
): Promise<Change[]> {
  if (!group) return [];
  if (instance.state !== 'Standby')
    throw new UnavailableError(`${nameOf(scene)} is still ${instance.state}: it can come back once it is on Standby`);
  if (group.desired >= group.max)
    throw new FinalError(
      `did not put ${nameOf(scene)} back in service: the desired capacity of its group was raised to ${group.desired} meanwhile, and with it the group would be above its MaxSize ${group.max}; it stays on standby. A person must decide: raise MaxSize and take it out of standby, or terminate it`,
      { type: 'Contested' },
    );
  await mayWrite();
  await scene.account.note(scene.group, { ...note, stage: 'returning' });
  try {
    const answered = await scene.account.exitStandby(scene.group, scene.id);
    const changes = returned(request, group.desired, answered);
    await scene.account.unnote(scene.group, scene.id);
    return changes;
  } catch (error) {
    // It was overtaken by somebody; the next look says by what.
    if (isRefusal(error)) throw new UnavailableError(error.message, { cause: error });
    throw error;
  }
}

/** It is in service again by an earlier attempt of this remediation: only the note is left to be taken away. */
export async function finishReturn(
  scene: Scene,
  request: Request,
  { note }: Extract<Standing, { is: 'returned' }>,
): Promise<Change[]> {
  await scene.account.unnote(scene.group, scene.id);
  return returned(request, note.before - 1);
}

/** @param desired of the group, while it was out */
export const returned = (request: Request, desired: number, answered?: Parameters<typeof changeOf>[2]): Change[] => {
  const after = desired + 1;
  const fields = [
    { field: LIFECYCLE_STATE, before: 'Standby', after: 'InService', what: `${LIFECYCLE_STATE}: Standby → InService` },
    { field: DESIRED_CAPACITY, before: desired, after, what: `${DESIRED_CAPACITY}: ${desired} → ${after}` },
  ];
  return fields.map((field) => changeOf(request, field, answered));
};

/**
 * The instance is gone, so that no ExitStandby gives its group back the one that was taken from its desired capacity: it is set
 * back here, unless somebody else has changed it meanwhile. The note goes.
 *
 * @param asked whether an earlier attempt may have asked for it, and could not report it
 * @throws UnavailableError while another remediation sets it back
 */
export async function repay(
  scene: Scene,
  request: Pick<Request, 'step' | 'actor' | 'instance'>,
  { group, asked = false, mayWrite }: { group: Group | undefined; asked?: boolean; mayWrite?: () => Promise<void> },
): Promise<Change[]> {
  const note = group?.notes.get(scene.id);
  if (!group || note?.remediation !== request.actor.remediation) return [];
  const { desired, max } = group;
  const set = (before: number, after: number, answered?: Parameters<typeof changeOf>[2]): Change => {
    const what = `${DESIRED_CAPACITY}: ${before} → ${after}`;
    return changeOf(request, { what, field: DESIRED_CAPACITY, before, after }, answered);
  };
  const changes: Change[] = [];
  const own = ownDesired(group);
  if (note.way === 'standby' && own === note.own - 1 && desired < max) {
    unlessRaising(group, scene.id);
    await mayWrite?.();
    changes.push(set(desired, desired + 1, await scene.account.setDesired(scene.group, desired + 1)));
  } else if (note.way === 'standby' && own === note.own && (asked || note.stage === 'raising')) {
    changes.push(set(desired - 1, desired));
  }
  await scene.account.unnote(scene.group, scene.id);
  return changes;
}

/** It is not held any more, its note may be left. */
export async function forget(scene: Scene, group: Group | undefined, remediation: string): Promise<void> {
  if (group?.notes.get(scene.id)?.remediation === remediation) await scene.account.unnote(scene.group, scene.id);
}

const stays = (scene: Scene): FinalError =>
  new FinalError(
    `did not put ${nameOf(scene)} back in service: its replacement was asked for, so its group would be one too large, and would terminate one of its own choice; it stays on standby. A person must decide: ${howToEnd(scene)}`,
    { type: 'Contested' },
  );

const unclear = (scene: Scene): FinalError =>
  new FinalError(
    `did not put ${nameOf(scene)} back in service: it is on standby, but the note of the cut (tag salvor.dev/held/${scene.id} of the group) is not there; nothing was touched. A person must decide: take it out of standby (aws autoscaling exit-standby), or ${howToEnd(scene)}`,
    { type: 'Contested' },
  );

export const howToEnd = ({ account, id }: Scene): string =>
  `terminate it once it is not needed any more (aws autoscaling terminate-instance-in-auto-scaling-group --region ${account.region} --instance-id ${id} --no-should-decrement-desired-capacity)`;
