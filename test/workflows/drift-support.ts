import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { fenceOf } from '../../activities/attempt.ts';
import { desiredStateActivities } from '../../activities/desired-state.ts';
import type { Change } from '../../model/change.ts';
import type { Objection } from '../../model/clearance.ts';
import type { Difference } from '../../model/drift/difference.ts';
import type { RevertDriftOptions, Stack } from '../../model/drift/options.ts';
import { MESSAGE, remediationId } from '../../model/names.ts';
import type { Comparison, RevertResult } from '../../model/ports/desired-state.ts';
import type { Story } from '../../model/remediation.ts';
import type { Request } from '../../model/request.ts';
import type { ResolvedGates, ResolvedRule } from '../../model/rule.ts';
import type { GotAlert } from '../../providers/alertmanager/client.ts';
import type { DesiredStateProvider } from '../../providers/desired-state.ts';
import { FinalError, UnavailableError } from '../../providers/errors.ts';
import { beating } from '../../providers/pulse.ts';
import { eventually } from '../support/wait.ts';
import { type Bench, batch, deliver, instance, request, rule, startBench } from '../support/workflows.ts';

/** A stack of the test: what differs in it, and what was done to it. */
export class Drifting {
  readonly name = `s${randomUUID().slice(0, 8)}`;
  differences: Difference[] = [];
  revision: string | undefined = 'c1';
  refused: string | undefined;
  /** Commits that its server does not give any more. */
  readonly gone: string[] = [];
  /** Its state is locked by somebody else. */
  locked = false;
  compares = 0;
  /** Addresses that each revert was asked for. */
  readonly asked: string[][] = [];
  readonly reverted: string[] = [];
  /** Of each revert before it looks, of each look before it answers. */
  beforeRevert: (() => Promise<unknown>) | undefined;
  beforeLook: (() => Promise<unknown>) | undefined;
  afterRevert: (() => void) | undefined;
  /** What the revert says instead. */
  says: RevertResult | undefined;
  objection: Objection | undefined;
  alerts: GotAlert[] = [];
  silent = false;

  get key(): string {
    return `stack/${this.name}`;
  }
}

export const difference = (address: string, more: Partial<Difference> = {}): Difference => ({
  ...{ address, kind: 'NetworkPolicy', class: 'reversible', why: 'a port was added', action: 'update' },
  fields: [{ path: 'spec.ingress[0].ports[1].port', live: 8080, source: null }],
  ...{ digest: `digest of ${address}`, who: { by: 'kubectl-edit', told: 'managedFields' } },
  ...more,
});

function providerOf(it: Drifting): DesiredStateProvider {
  const compared = (asked: string | undefined): Comparison => {
    it.compares += 1;
    if (asked !== undefined && it.gone.includes(asked))
      return { verdict: 'refused', why: `main has moved from ${asked}` };
    if (it.locked) throw new FinalError('the state is locked by ann since 03:00', { type: 'Locked' });
    if (it.refused !== undefined) return { verdict: 'refused', why: it.refused };
    const { differences, revision } = it;
    const why = differences.length === 0 ? 'nothing differs' : `${differences.length} differ`;
    return {
      ...{ verdict: differences.length === 0 ? 'same' : 'differs', why, differences: structuredClone(differences) },
      ...(revision !== undefined && { revision }),
    };
  };
  return {
    compare: ({ revision }, { pulse }) =>
      beating(
        pulse,
        () => undefined,
        async () => {
          await unlessAborted(it.beforeLook?.(), pulse.signal);
          return compared(revision);
        },
      ),
    revert: ({ reviewed, step }, { pulse, isRepeat }) =>
      beating(
        pulse,
        () => undefined,
        async () => {
          it.asked.push(reviewed.map(({ address }) => address));
          await unlessAborted(it.beforeRevert?.(), pulse.signal);
          if (it.says) return it.says;
          const there = (one: Difference) =>
            it.differences.some(({ address, digest }) => address === one.address && digest === one.digest);
          const gone = (one: Difference) => isRepeat && it.differences.every(({ address }) => address !== one.address);
          if (!reviewed.every((one) => there(one) || gone(one)))
            return { verdict: 'changed', why: 'it is not what was reviewed', changes: [] };
          await pulse.stillMine();
          const changes = reviewed.map((one): Change => {
            const object = { key: it.key, uid: one.address };
            const what = `${one.action} ${one.address}`;
            return { step, what, object, field: one.action, before: null, after: null, at: new Date().toISOString() };
          });
          const mine = reviewed.filter(there).map(({ address }) => address);
          it.differences = it.differences.filter(({ address }) => !mine.includes(address));
          it.reverted.push(...mine);
          it.afterRevert?.();
          return { verdict: 'reverted', why: `${reviewed.length} reverted`, changes };
        },
      ),
  };
}

/** @throws the signal's reason, once it is aborted */
async function unlessAborted(work: Promise<unknown> | undefined, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  await Promise.race([work, promise]);
}

export interface DriftBench {
  bench: Bench;
  stop(): Promise<void>;
}

/** A worker with the product's workflows and activities, and stacks of the test. */
export async function startDrift(
  address: string,
  all: ReadonlyMap<string, Drifting>,
  taskQueue?: string,
): Promise<DriftBench> {
  const connection = await Connection.connect({ address });
  const of = (name: string): Drifting => {
    const found = all.get(name);
    if (!found) throw new Error(`no stack ${name}`);
    return found;
  };
  const firing = async (labels: Readonly<Record<string, string>>): Promise<GotAlert[]> => {
    const it = of(labels['stack'] ?? '');
    if (it.silent) throw new UnavailableError('Alertmanager does not answer');
    return it.alerts;
  };
  const desired = desiredStateActivities({
    registry: { stacks: { of: ({ name }) => providerOf(of(name)) }, places: () => [] },
    alertmanagers: [{ firing }],
    fence: fenceOf(new Client({ connection })),
    clear: async ({ target }) => of(target.slice('stack/'.length)).objection,
  });
  const bench = await startBench(address, instance(), {}, taskQueue, desired);
  return {
    bench,
    async stop() {
      await bench.stop();
      await connection.close();
    },
  };
}

export interface Given {
  stack?: Partial<Stack>;
  options?: Partial<RevertDriftOptions>;
  gates?: Partial<ResolvedGates>;
  rule?: Partial<Pick<ResolvedRule, 'mode' | 'approveWithin' | 'onFailure'>>;
}

export function driftRule(it: Drifting, given: Given = {}): ResolvedRule<'revert-drift'> {
  const stack: Stack = {
    ...{ name: it.name, ignore: [], minAge: 0, lockWithin: 60_000 },
    ...{ holdWhile: ['severity="critical"', `stack="${it.name}"`] },
    manifests: { cluster: 'prod', folder: '/srv', kustomize: false },
    ...given.stack,
  };
  return {
    ...rule(it.name, { maxUnavailable: { percent: 25 }, cooldown: 0, ...given.gates }),
    ...given.rule,
    runbook: 'revert-drift',
    with: { urgent: [], prune: [], create: [], stacks: { [it.name]: stack }, ...given.options },
  };
}

/** An alert, or with `by` a time of a schedule; each is another firing. */
export async function asked(
  { client, taskQueue }: Bench,
  it: Drifting,
  given: Given = {},
  more: Partial<Request> = {},
): Promise<Request> {
  const startsAt = new Date().toISOString();
  const made = request(it.name, { target: it.key, alertname: 'Drift', startsAt, ...more });
  await deliver({ client, taskQueue }, batch(driftRule(it, given), [made], it.name));
  return made;
}

/** Its remediation, once it has begun: by run ID, for others may follow. */
export async function begun(
  bench: Bench,
  it: Drifting,
  given: Given = {},
  more: Partial<Request> = {},
  workflowId = remediationId(it.key),
) {
  const before = await bench.client.workflow
    .getHandle(workflowId)
    .describe()
    .then(
      ({ runId }) => runId,
      () => undefined,
    );
  await asked(bench, it, given, more);
  return runAfter(bench, workflowId, before);
}

/** The run of that ID that is another one than `before`. */
export async function runAfter({ client }: Bench, workflowId: string, before?: string) {
  const { runId } = await eventually(`${workflowId} has begun`, async () => {
    const described = await client.workflow.getHandle(workflowId).describe();
    return described.runId !== before && described;
  });
  return client.workflow.getHandle(workflowId, runId);
}
export type Handle = Awaited<ReturnType<typeof begun>>;

export const storyOf = (handle: Handle) => handle.query<Story>(MESSAGE.story);
