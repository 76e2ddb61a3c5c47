import type { Owner, VerifyRequest, VerifyResult } from '../../model/ports/instance.ts';
import type { Pulse } from '../instance.ts';
import { beating, Sleeper } from '../pulse.ts';
import { type Group, type Instance, instanceIn, isLeaving, isOnStandby, ownDesired, servingWithout } from './group.ts';
import { completeHooks, heartbeatHooks } from './hooks.ts';
import { wayOf } from './notes.ts';
import type { Scene } from './scene.ts';

/** Milliseconds between two heartbeats of a lifecycle hook, whose shortest timeout is 30 s. */
const HOOKS_EVERY = 10_000;

/**
 * Waits until the group has its desired capacity in service without the old instance, less what did not serve before, and the
 * old one is gone, or going; or, where its replacement was asked for first, on standby. One that waits in lifecycle hooks of the
 * rule is kept there until then.
 */
export async function verify(scene: Scene, request: VerifyRequest, pulse: Pulse): Promise<VerifyResult> {
  const deadline = Date.parse(request.deadline);
  const hooks = request.options?.lifecycleHooks ?? [];
  const sleeper = new Sleeper();
  let said = 0;
  return beating(
    pulse,
    () => undefined,
    async () => {
      for (;;) {
        const group = await scene.account.group(scene.group);
        if (!group)
          return {
            verified: false,
            why: `its Auto Scaling group ${scene.group} was deleted meanwhile: nothing replaces it`,
          };
        const old = instanceIn(group, scene.id);
        const { verified, why } = look(group, old, request);
        const over = Date.now() >= deadline;
        const left = old && (verified || over) && (await completeHooks(scene.account, scene.group, old, hooks));
        if (verified && (!left || over)) return { verified, why };
        if (over) return { verified, why: `not verified before ${request.deadline}: ${why}` };
        if (old && !verified && Date.now() - said >= HOOKS_EVERY) {
          said = Date.now();
          await heartbeatHooks(scene.account, scene.group, old, hooks);
        }
        await sleeper.sleep(Math.min(scene.every, Math.max(0, deadline - Date.now())), pulse.signal);
      }
    },
  );
}

function look(group: Group, old: Instance | undefined, { owner, held = [], instance }: VerifyRequest): VerifyResult {
  const kept = held.length > 0 && wayOf(held) === 'standby-replaced' && old && isOnStandby(old);
  if (old && !kept && !isLeaving(old))
    return { verified: false, why: `the old instance ${instance.uid} is still ${old.state}` };
  const { enough, why } = capacity(group, owner, instance.uid);
  return { verified: enough, why };
}

/** Whether the group has enough in service without the instance: what did not serve before, beside it, is not asked for. */
export function capacity(group: Group, owner: Owner, id: string): { enough: boolean; why: string } {
  const excused = Math.max(0, owner.desired - owner.ready - 1);
  const needed = Math.max(0, ownDesired(group) - excused);
  const ready = servingWithout(group, id);
  const why = `${owner.key} has ${ready} of its desired ${ownDesired(group)} InService and Healthy without it, ${needed} needed`;
  return { enough: ready >= needed, why };
}
