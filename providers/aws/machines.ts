import type { Machine, Machines } from '../machines.ts';
import type { Account } from './account.ts';
import { refusal } from './assess.ts';
import { absence, instanceIn, isLeaving } from './group.ts';
import { completeHooks, heartbeatHooks } from './hooks.ts';

/** The machines of nodes, by the Auto Scaling groups of one account. */
export function machinesOf(account: Account): Machines {
  const find = async (instanceId: string): Promise<Machine | undefined> => {
    const found = await account.find(instanceId);
    return found && { instanceId, ...found };
  };
  return {
    find,
    refusal: async ({ group: name, instanceId }) => {
      const group = await account.group(name);
      const instance = instanceIn(group, instanceId);
      if (!group || !instance) return absence(group, instanceId);
      return isLeaving(instance) ? undefined : refusal(account, group, instance);
    },
    terminate: async (instanceId) => {
      const machine = await find(instanceId);
      // Asked for already, by whomever: asking again is refused.
      if (!machine || isLeaving(machine)) return {};
      const { requestId } = await account.terminate(instanceId);
      return requestId === undefined ? {} : { requestId };
    },
    heartbeat: async ({ group, instanceId: id, state }, hooks) => {
      await heartbeatHooks(account, group, { id, state }, hooks);
    },
    complete: async ({ group, instanceId: id, state }, hooks) => {
      await completeHooks(account, group, { id, state }, hooks);
    },
  };
}
