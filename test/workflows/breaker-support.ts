import { randomUUID } from 'node:crypto';
import { Client, Connection, WorkflowUpdateFailedError } from '@temporalio/client';
import { fenceOf } from '../../activities/attempt.ts';
import { switchActivities } from '../../activities/switch.ts';
import type { BreakerOrder, CircuitBreakerOptions, Dependency } from '../../model/breaker/options.ts';
import type { BreakerStanding } from '../../model/breaker/standing.ts';
import type { Change } from '../../model/change.ts';
import type { ClearanceRequest, Objection } from '../../model/clearance.ts';
import { MESSAGE, remediationId } from '../../model/names.ts';
import type { Finding, Position } from '../../model/ports/switch.ts';
import type { Story } from '../../model/remediation.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import { FinalError, UnavailableError } from '../../providers/errors.ts';
import { keepOpen } from '../../providers/keep-open.ts';
import type { Prober, Switches, SwitchProvider } from '../../providers/switch.ts';
import { eventually } from '../support/wait.ts';
import { type Bench, batch, deliver, instance, request, rule, startBench } from '../support/workflows.ts';

/** A dependency of the test, and what keeps callers from it. */
export class Dependant {
  readonly name = `d${randomUUID().slice(0, 8)}`;
  verdict: Finding['verdict'] = 'failing';
  /** What was asked of the dependency itself, and how the switch stood then. */
  readonly asked: { kind: 'confirm' | 'try'; position: Position }[] = [];
  position: Position = 'closed';
  readonly positions: Position[] = [];
  /** Whoever has closed it behind Salvor's back. */
  contestedBy: string | undefined;
  objection: Objection | undefined;
  broken: string | undefined;
  /** Why it cannot be opened, or closed, now. */
  unopenable: string | undefined;
  unclosable: string | undefined;
  /** Why nobody can look at it, and never will. */
  unreadable: string | undefined;
  /** Closing it takes nothing of it back. */
  foreign = false;
  /** What drives it says nothing, as of a worker that is dead. */
  silent: Promise<void> | undefined;
  /** How often it was begun to drive it. */
  drives = 0;

  get key(): string {
    return `dependency/${this.name}`;
  }

  set(position: Position): void {
    this.position = position;
    this.positions.push(position);
  }
}

export const usual: Omit<Dependency, 'name'> = {
  switch: { envoy: { admin: ['http://127.0.0.1:1'], envoyCluster: 'x', quorum: 'all', shareKey: 'x' } },
  confirmWithin: 2_000,
  probe: { tcp: { host: '127.0.0.1', port: 1 }, within: 1_000, failures: 1 },
  openFor: 300,
  maxOpen: 1_200,
  healthyFor: 300,
  halfOpen: { successes: 2, failures: 1, trials: 5, every: 50, within: 2_000, share: 0 },
  assertEvery: 50,
  respectClose: 500,
};

const SHORT = JSON.stringify;

function switchOf(it: Dependant): SwitchProvider {
  const object = { key: it.key, uid: 'u1' };
  const change = (step: string, before: Position, after: Position): Change => ({
    ...{ step, what: `switch: ${SHORT(before)} → ${SHORT(after)}`, object, field: 'switch' },
    ...{ before: SHORT(before), after: SHORT(after), at: new Date().toISOString() },
  });
  return {
    async read() {
      const held = [{ object, field: 'switch', before: 'closed', set: 'open' }];
      return { position: it.position, why: `it is ${SHORT(it.position)}`, held };
    },
    async set({ position, step }, attempt) {
      if (it.broken !== undefined && position !== 'closed') throw new FinalError(it.broken, { type: 'Forbidden' });
      const unable = position === 'closed' ? it.unclosable : it.unopenable;
      if (unable !== undefined) throw new UnavailableError(unable);
      if (SHORT(it.position) === SHORT(position) || (position === 'closed' && it.foreign)) return [];
      if (position !== 'closed') await attempt.stillMine();
      const before = it.position;
      it.set(position);
      return [change(step, before, position)];
    },
    keepOpen: (asked, pulse) =>
      keepOpen(asked, pulse, async () => {
        if (it.unreadable !== undefined) throw new FinalError(it.unreadable, { type: 'Invalid' });
        if (it.contestedBy !== undefined)
          return { changes: [], contest: { by: it.contestedBy, object }, over: 'it is theirs' };
        if (it.position === 'open') return { changes: [] };
        await pulse.stillMine();
        const before = it.position;
        it.set('open');
        return { changes: [change('keep-open', before, 'open')] };
      }),
  };
}

export interface BreakerBench {
  bench: Bench;
  stop(): Promise<void>;
}

/** A worker with the product's workflows and activities, and dependencies of the test. */
export async function startBreakers(
  address: string,
  all: ReadonlyMap<string, Dependant>,
  taskQueue?: string,
): Promise<BreakerBench> {
  const connection = await Connection.connect({ address });
  const of = (name: string): Dependant => {
    const found = all.get(name);
    if (!found) throw new Error(`no dependency ${name}`);
    return found;
  };
  const switches: Switches = {
    of: ({ name }) => switchOf(of(name)),
    release: async () => {
      throw new Error('nothing is released here');
    },
  };
  const finding = (kind: 'confirm' | 'try') => async (dependency: Dependency) => {
    const it = of(dependency.name);
    it.asked.push({ kind, position: it.position });
    return { verdict: it.verdict, why: `it is ${it.verdict}` };
  };
  const prober: Prober = { confirm: finding('confirm'), try: finding('try') };
  const clear = async ({ target }: ClearanceRequest) => of(target.slice('dependency/'.length)).objection;
  const fence = fenceOf(new Client({ connection }));
  const real = switchActivities({ switches, prober, fence, clear });
  const driveBreaker: typeof real.driveBreaker = async (request) => {
    const it = of(request.dependency.name);
    it.drives += 1;
    await it.silent;
    return real.driveBreaker(request);
  };
  const acts = { ...instance(), ...real, driveBreaker };
  const bench = await startBench(address, acts, {}, taskQueue);
  return {
    bench,
    async stop() {
      await bench.stop();
      await connection.close();
    },
  };
}

export interface Given {
  dependency?: Partial<Dependency>;
  halfOpen?: Partial<Dependency['halfOpen']>;
  options?: Partial<CircuitBreakerOptions>;
  mode?: ResolvedRule['mode'];
  escalate?: boolean;
}

export function breakerRule(it: Dependant, given: Given = {}): ResolvedRule<'circuit-breaker'> {
  const { dependency, halfOpen, options, mode = 'act', escalate = false } = given;
  const whole = { ...usual, name: it.name, ...dependency, halfOpen: { ...usual.halfOpen, ...halfOpen } };
  return {
    ...rule(it.name, { maxUnavailable: { percent: 25 } }, mode),
    runbook: 'circuit-breaker',
    onFailure: { escalate },
    with: { trustAlert: false, dependencies: { [it.name]: whole }, ...options },
  };
}

export async function alerted({ client, taskQueue }: Bench, it: Dependant, given: Given = {}) {
  await deliver({ client, taskQueue }, batch(breakerRule(it, given), [request(it.name, { target: it.key })], it.name));
  const handle = client.workflow.getHandle(remediationId(it.key));
  if (given.mode === 'observe') return handle;
  const { runId } = await eventually('started', () => handle.describe());
  return client.workflow.getHandle(remediationId(it.key), runId);
}
export type Handle = Awaited<ReturnType<typeof alerted>>;

export const storyOf = (handle: Handle) => handle.query<Story>(MESSAGE.story);
export const waysOf = async (handle: Handle): Promise<string[]> =>
  ((await storyOf(handle)).breaker?.timeline ?? []).map(({ to, cause }) => `${to} (${cause})`);
export const inPhase = (handle: Handle, phase: string) =>
  eventually(`in ${phase}`, async () => (await storyOf(handle)).breaker?.state.phase === phase);

export async function orders(handle: Handle, order: Partial<BreakerOrder> & Pick<BreakerOrder, 'order'>) {
  const whole: BreakerOrder = { by: 'person:ann', reason: 'she says so', ...order };
  try {
    return await handle.executeUpdate<BreakerStanding, [BreakerOrder]>(MESSAGE.breaker, { args: [whole] });
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError && error.cause) throw error.cause;
    throw error;
  }
}
