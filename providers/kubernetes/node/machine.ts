import { UnavailableError } from '../../errors.ts';
import type { Pulse } from '../../instance.ts';
import type { Machine, Machines } from '../../machines.ts';
import { Sleeper } from '../../pulse.ts';
import type { Node } from '../objects.ts';
import type { Memory } from './drain.ts';
import { instanceIdOf } from './pool.ts';

/** AWS lets a hook wait for 30 s at the least. */
const HEARTBEAT_MS = 20_000;
const LOOK_MS = 2_000;

const WAITS = 'Terminating:Wait';
const isEnding = ({ state }: Machine): boolean => state.startsWith('Terminat');

/** Keeps the termination hooks that the rule names from running out while the node is worked on. */
export class Hooks {
  readonly #machines: Machines | undefined;
  readonly #hooks: readonly string[];
  #last = Number.NEGATIVE_INFINITY;

  constructor(machines: Machines | undefined, hooks: readonly string[] = []) {
    this.#machines = machines;
    this.#hooks = hooks;
  }

  async heartbeat(node: Node): Promise<void> {
    const instance = instanceIdOf(node.spec);
    if (!this.#machines || this.#hooks.length === 0 || instance === undefined) return;
    if (performance.now() - this.#last < HEARTBEAT_MS) return;
    this.#last = performance.now();
    try {
      const machine = await this.#machines.find(instance);
      if (machine?.state === WAITS) await this.#machines.heartbeat(machine, this.#hooks);
    } catch (error) {
      // The next one may come through in time, and without any the drain is done all the same.
      if (!(error instanceof UnavailableError)) throw error;
    }
  }
}

export interface Terminating {
  machines: Machines | undefined;
  hooks: readonly string[];
  /** The rule wants it terminated; otherwise only the hooks of one that is ending anyway are completed. */
  terminate: boolean;
  deadline: number;
  memory: Memory;
  pulse: Pulse;
}

const unknownMachine = (providerID: string | undefined): string =>
  `its machine is not known: its spec.providerID is ${providerID ?? '(none)'}, and only aws:///<zone>/<instance id> can be terminated`;

const noAccount = (instanceId: string): string =>
  `its machine ${instanceId} cannot be terminated: no account of \`aws:\` is configured for the cluster (clusters[].aws)`;

const inNoGroup = (instanceId: string): string =>
  `its machine ${instanceId} is in no Auto Scaling group, or not there any more`;

const mustStay = ({ instanceId, group }: Machine, refusal: string): string =>
  `its machine ${instanceId} of ${group} must not be terminated: ${refusal}`;

/** Why the machine of a node could not be terminated, as far as can be told beforehand; undefined where nothing objects. */
export async function keptMachine({ spec }: Node, machines: Machines | undefined): Promise<string | undefined> {
  const instanceId = instanceIdOf(spec);
  if (instanceId === undefined) return unknownMachine(spec?.providerID);
  if (!machines) return noAccount(instanceId);
  const machine = await machines.find(instanceId);
  if (!machine) return inNoGroup(instanceId);
  const refusal = isEnding(machine) ? undefined : await machines.refusal(machine);
  return refusal === undefined ? undefined : mustStay(machine, refusal);
}

/**
 * Terminates the machine of an empty node, and lets it go on where it waits in the hooks that the rule names.
 *
 * @returns why it could not be terminated; undefined where it was, or where that was not asked for
 */
export async function letMachineGo(given: Terminating): Promise<string | undefined> {
  const { machines, hooks, terminate, memory } = given;
  const instanceId = instanceIdOf(memory);
  if (!terminate && (!machines || hooks.length === 0 || instanceId === undefined)) return undefined;
  if (instanceId === undefined) return unknownMachine(memory.providerID);
  if (!machines) return noAccount(instanceId);
  const machine = await machines.find(instanceId);
  if (terminate) {
    const refused = await terminateMachine(given, machines, { instanceId, machine });
    if (refused !== undefined) return refused;
  }
  if (hooks.length > 0 && (memory.terminated || (machine && isEnding(machine))))
    await completeHooks(given, machines, instanceId);
  return undefined;
}

async function terminateMachine(
  { memory, pulse }: Terminating,
  machines: Machines,
  { instanceId, machine }: { instanceId: string; machine: Machine | undefined },
): Promise<string | undefined> {
  if (memory.terminated) return undefined;
  if (!machine || isEnding(machine)) {
    if (memory.terminating) memory.terminated = { at: new Date().toISOString(), lost: true };
    else if (!machine) return inNoGroup(instanceId);
    return undefined;
  }
  const refusal = await machines.refusal(machine);
  if (refusal !== undefined) return mustStay(machine, refusal);
  memory.terminating = true;
  pulse.beat(memory);
  await pulse.stillMine();
  const { requestId } = await machines.terminate(instanceId);
  memory.terminated = { at: new Date().toISOString(), ...(requestId !== undefined && { requestId }) };
  pulse.beat(memory);
  return undefined;
}

/** It comes to wait in its hooks a moment after it began to end. */
async function completeHooks({ hooks, deadline, pulse }: Terminating, machines: Machines, id: string): Promise<void> {
  const sleeper = new Sleeper();
  for (let machine = await machines.find(id); machine; machine = await machines.find(id)) {
    if (machine.state === WAITS) {
      await pulse.stillMine();
      await machines.complete(machine, hooks);
      return;
    }
    if (machine.state !== 'Terminating' || Date.now() >= deadline) return;
    await sleeper.sleep(LOOK_MS, pulse.signal);
  }
}
