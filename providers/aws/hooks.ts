import type { Account } from './account.ts';
import { isRefusal } from './errors.ts';
import type { Instance } from './group.ts';

const WAITING = 'Terminating:Wait';

/** Those of the hooks that the instance waits in, as far as AWS tells: which of them are done with it does not say. */
async function waitingIn(
  account: Account,
  group: string,
  { state }: Pick<Instance, 'state'>,
  hooks: readonly string[],
): Promise<string[]> {
  return state === WAITING ? account.terminationHooks(group, hooks) : [];
}

/** Says of each of these hooks in which it waits that it is still worked on. */
export async function heartbeatHooks(
  account: Account,
  group: string,
  instance: Pick<Instance, 'id' | 'state'>,
  hooks: readonly string[],
): Promise<void> {
  for (const hook of await waitingIn(account, group, instance, hooks))
    await unlessDone(() => account.heartbeat(group, instance.id, hook));
}

/**
 * Lets it go on, as far as these hooks keep it.
 *
 * @returns why that cannot be said yet: it has not come to its hooks; undefined when nothing is left to be done
 */
export async function completeHooks(
  account: Account,
  group: string,
  instance: Pick<Instance, 'id' | 'state'>,
  hooks: readonly string[],
): Promise<string | undefined> {
  if (instance.state === 'Terminating' && (await account.terminationHooks(group, hooks)).length > 0)
    return `it is ${instance.state}, and has not come to its lifecycle hooks yet`;
  for (const hook of await waitingIn(account, group, instance, hooks))
    await unlessDone(() => account.complete(group, instance.id, hook));
  return undefined;
}

/** A hook that somebody has completed already, or whose time is over, has no active action any more. */
async function unlessDone(call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (!isRefusal(error) || !/no active lifecycle action/i.test(error.message)) throw error;
  }
}
