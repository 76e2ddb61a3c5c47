import type { ProviderReading } from '../../scalable.ts';
import { exclusion, type Group, isServing, keyOf, ownDesired, ownNote, sizeHeldByAnother } from '../group.ts';
import { DESIRED_CAPACITY, hasUnreadableSize, noteKey, SIZE } from '../notes.ts';
import { type GroupScene, limitsOf, refOf } from './scene.ts';

/**
 * A fresh look at a group. Its size is its desired capacity, with what Salvor's own drains have on standby for a while: those come
 * back by themselves.
 *
 * @param remediation whose own hold is no reason not to touch it
 * @param uid its ARN, of an earlier look
 */
export async function read(scene: GroupScene, remediation: string, uid?: string): Promise<ProviderReading> {
  const group = await scene.account.group(scene.group);
  if (!group) return { verdict: 'gone', why: `the Auto Scaling group ${scene.group} does not exist` };
  if (uid !== undefined && group.arn !== uid)
    return { verdict: 'gone', why: `another Auto Scaling group bears the name ${scene.group} now` };
  const refused = heldAlready(group, remediation) ?? (await refusal(scene, group));
  if (refused !== undefined) return { verdict: 'protected', why: refused };

  const object = refOf(scene, group);
  const desired = ownDesired(group);
  const { min, max } = limitsOf(group);
  const noted = ownNote(group, { remediation })?.set;
  return {
    verdict: 'found',
    ...(noted !== undefined && { noted }),
    version: `${group.desired} (${group.min} to ${group.max})`,
    scale: {
      object,
      by: { object, field: DESIRED_CAPACITY, value: desired },
      why: await whyOf(scene, group),
      desired,
      ready: group.instances.filter(isServing).length,
      min,
      max,
      workload: keyOf(scene.account.name, group.name),
    },
  };
}

/** Why the size is not to be changed now; undefined where it may be. */
export async function refusal(scene: GroupScene, group: Group): Promise<string | undefined> {
  const excluded = exclusion(group);
  if (excluded !== undefined) return excluded;
  const suspended = ['Launch', 'Terminate'].find((process) => group.suspended.has(process));
  if (suspended !== undefined)
    return `the process ${suspended} of the Auto Scaling group ${group.name} is suspended, so its size would not follow. Resume it, or do without Salvor here`;
  const counted = group.unit ?? (group.instances.some((one) => one.weighted) ? 'the weights of instances' : undefined);
  if (counted !== undefined)
    return `the desired capacity of the Auto Scaling group ${group.name} counts ${counted}, and not instances: how many more are needed cannot be told from the signals`;
  const refreshing = await scene.account.refreshing(group.name);
  return refreshing && `an instance refresh of the Auto Scaling group ${group.name} runs (${refreshing})`;
}

/** Why nobody else may set the size now: another remediation does, or may do so. */
export function heldAlready(group: Group, remediation: string): string | undefined {
  if (hasUnreadableSize(group.tags))
    return `the tag ${noteKey(SIZE)} of the Auto Scaling group ${group.name} cannot be read, so nobody knows what its size goes back to: a person must remove the tag`;
  return sizeHeldByAnother(group, remediation);
}

async function whyOf({ account, policies }: GroupScene, { name }: Group): Promise<string> {
  const others = await policies.get(name, () => account.policies(name));
  const own = `its size is its ${DESIRED_CAPACITY}, within its own MinSize and MaxSize`;
  if (others.length === 0) return own;
  const set = others.length === 1 ? 'sets it too' : 'set it too';
  return `${own}; ${others.join(', ')} ${set}: what a policy sets meanwhile is respected, also where it takes away what Salvor has added`;
}
