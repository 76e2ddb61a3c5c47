import type { Change } from '../../../model/change.ts';
import type { ReplaceRequest, ReplaceResult } from '../../../model/ports/instance.ts';
import { NODE_OPTIONS } from '../../../model/rule.ts';
import type { Check } from '../../checks.ts';
import { FinalError } from '../../errors.ts';
import { HeldBack, LOST, type Pulse } from '../../instance.ts';
import type { Machines } from '../../machines.ts';
import { beating, Sleeper } from '../../pulse.ts';
import type { Cluster } from '../cluster.ts';
import { explain, isStatus } from '../errors.ts';
import { examine } from '../examine.ts';
import type { Node, Ref } from '../objects.ts';
import { Drain, emptyMemory, type Memory } from './drain.ts';
import { NODE } from './health.ts';
import { Hooks, letMachineGo } from './machine.ts';
import { instanceIdOf } from './pool.ts';

export interface Means {
  protectedLabels: readonly string[];
  machines?: Machines;
  check: Check;
}

/**
 * Evicts what runs on a node, as far as it may be, and where the rule wants it terminates its machine when it is empty. An
 * attempt goes on where the one before it was cut off.
 */
export async function replace(
  cluster: Cluster,
  ref: Ref,
  request: ReplaceRequest,
  pulse: Pulse,
  means: Means,
): Promise<ReplaceResult> {
  const memory: Memory = { ...emptyMemory(), ...structuredClone(pulse.last as Partial<Memory> | undefined) };
  return beating(
    pulse,
    () => memory,
    async () => {
      await new Sleeper().sleep(Date.parse(request.notBefore) - Date.now(), pulse.signal);
      return new Replacement({ cluster, ref, request, pulse, memory, ...means }).run();
    },
  );
}

interface Given extends Means {
  cluster: Cluster;
  ref: Ref;
  request: ReplaceRequest;
  pulse: Pulse;
  memory: Memory;
}

class Replacement {
  readonly #given: Given;
  readonly #drain: Drain;

  constructor(given: Given) {
    const hooks = new Hooks(given.machines, given.request.options?.lifecycleHooks);
    const meanwhile = async (node: Node): Promise<void> => {
      given.memory.providerID = node.spec?.providerID;
      await hooks.heartbeat(node);
    };
    this.#given = given;
    this.#drain = new Drain({ ...given, meanwhile });
  }

  /** Whatever ends it: what was done until then is told. */
  async run(): Promise<ReplaceResult> {
    try {
      return await this.#run();
    } catch (error) {
      const changes = this.#changes();
      // Its new node is to be seen all the same: what was not its time any more are the hooks, which run out by themselves.
      if (error instanceof HeldBack && this.#given.memory.terminated)
        return this.#replaced(`${error.message}, so its lifecycle hooks were not completed`, false);
      if (error instanceof HeldBack)
        return {
          ...{ verdict: 'held-back', why: error.message, changes, objection: error.objection },
          moved: this.#given.memory.moved,
        };
      if (changes.length === 0) throw error;
      if (this.#given.pulse.isCancelled?.())
        return { verdict: 'failed', why: `stopped after ${changes.length} of its changes`, changes };
      if (!(error instanceof FinalError) && !isStatus(error, 403)) throw error;
      return { verdict: 'failed', why: explain(error), changes };
    }
  }

  async #run(): Promise<ReplaceResult> {
    const { memory } = this.#given;
    const { result, why } = await this.#drain.untilEmpty();
    if (result === 'blocked' || result === 'failed') return { verdict: result, why, changes: this.#changes() };
    if (result === 'gone') {
      if (!memory.terminating) return { verdict: 'gone', why, changes: this.#changes() };
      memory.terminated ??= { at: new Date().toISOString(), lost: true };
    }
    const recovered = await this.#recovered();
    if (recovered !== undefined)
      return this.#replaced(`${why}; its machine is not terminated, for it has recovered: ${recovered}`, true);
    const refused = await this.#letMachineGo();
    if (refused !== undefined) return { verdict: 'failed', why: `${why}, but ${refused}`, changes: this.#changes() };
    return this.#replaced(why, !this.#terminates);
  }

  /** A drain may take long: what is healthy by then is not terminated on the strength of an older diagnosis. */
  async #recovered(): Promise<string | undefined> {
    const { cluster, ref, request, memory, check } = this.#given;
    if (!this.#terminates || memory.terminating) return undefined;
    const node = await cluster.get<Node>(ref);
    if (node?.metadata.uid !== request.instance.uid) return undefined;
    const { healthy, why } = await examine(cluster, node, request.options?.health, check, NODE);
    return healthy ? why : undefined;
  }

  #letMachineGo(): Promise<string | undefined> {
    const { machines, request, memory, pulse } = this.#given;
    return letMachineGo({
      machines,
      hooks: request.options?.lifecycleHooks ?? [],
      terminate: this.#terminates,
      deadline: Date.parse(request.deadline),
      memory,
      pulse,
    });
  }

  get #terminates(): boolean {
    return (this.#given.request.options?.node ?? NODE_OPTIONS).terminate;
  }

  #replaced(drained: string, stays: boolean): ReplaceResult {
    const { moved, unknown, terminated } = this.#given.memory;
    const unverified =
      unknown.length > 0 ? `; not looked at afterwards, for Salvor may not read it: ${unknown.join(', ')}` : '';
    return {
      verdict: 'replaced',
      why: `${drained}${terminated ? ', and its machine was terminated' : ''}${unverified}`,
      changes: this.#changes(),
      moved,
      stays,
    };
  }

  #changes(): Change[] {
    const { memory, request } = this.#given;
    const evictions = this.#drain.changes();
    if (!memory.terminated) return evictions;
    const { at, requestId, lost } = memory.terminated;
    const what = `terminated its machine ${instanceIdOf(memory) ?? ''}${lost ? LOST : ''}`;
    const change: Change = {
      ...{ step: request.step, what, object: request.instance, field: 'termination', before: null, after: null, at },
      ...(requestId !== undefined && { requestId }),
    };
    return [...evictions, change];
  }
}
