import { randomUUID } from 'node:crypto';
import { Client } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { auditActivities } from '../../activities/audit.ts';
import { dispatchActivities } from '../../activities/dispatch.ts';
import { settleActivities } from '../../activities/settle.ts';
import type { AuditPage } from '../../model/audit.ts';
import type { ClearanceActivities } from '../../model/clearance.ts';
import type { Evidence, EvidenceActivities, LookRequest } from '../../model/evidence.ts';
import type { HeraldActivities, HeraldOrder, HushActivities } from '../../model/herald.ts';
import { MESSAGE, remediationId, responderId, WORKFLOW, watchQueue } from '../../model/names.ts';
import type { DesiredStatePort } from '../../model/ports/desired-state.ts';
import type { Assessment, InstancePort } from '../../model/ports/instance.ts';
import type { ScalablePort } from '../../model/ports/scalable.ts';
import type { Batch, Request } from '../../model/request.ts';
import type { ResponderInput, ResponderState } from '../../model/responder.ts';
import type { ResolvedGates, ResolvedRule } from '../../model/rule.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';
import { allIsWell } from './evidence.ts';
import { eventually } from './wait.ts';

/** The activities that reach beyond Temporal, besides the instance and the store. */
export type Outside = EvidenceActivities &
  ClearanceActivities &
  HushActivities &
  Pick<HeraldActivities, 'herald'> &
  Partial<ScalablePort> & {
    submit(request: { responder: string; batch: Batch }): Promise<void>;
    /** Slots that a responder gives back to the limits. */
    give(key: string, back: { responder: string; slots: number; unused: number }): Promise<void>;
    /** A place in the budget of a workload that a remediation gives back. */
    free(workload: string, runId: string): Promise<void>;
  };

export interface Bench {
  client: Client;
  taskQueue: string;
  /** Names of the instance activities in the order in which they were called, with their target's name. */
  calls: string[];
  /** What was put on record, as it came. */
  pages: AuditPage[];
  /** What responders asked before they decided, in order. */
  looks: LookRequest[];
  /** What was told to the herald, by whomever, in order. */
  heralded: HeraldOrder[];
  /** Makes the audit store refuse all, or take all again. */
  store: { down: boolean };
  stop(): Promise<void>;
}

/**
 * A worker on the real server with the product's workflows, the real dispatch and settle, and the instance given here.
 *
 * @param overrides of what the world outside says; without them all is well there
 * @param taskQueue of another one, whose work it takes up
 * @param desired the activities of stacks, where the test is about them
 */
export async function startBench(
  address: string,
  instance: InstancePort,
  overrides: Partial<Outside> = {},
  taskQueue = `test-${randomUUID()}`,
  desired: Partial<DesiredStatePort> = {},
): Promise<Bench> {
  quiet();
  const calls: string[] = [];
  const pages: AuditPage[] = [];
  const looks: LookRequest[] = [];
  const heralded: HeraldOrder[] = [];
  const store = { down: false };
  const append = async (page: AuditPage): Promise<void> => {
    if (store.down) throw new Error('the store is down');
    pages.push(page);
  };
  const connection = await NativeConnection.connect({ address });
  const client = new Client({ connection });
  const world = { ...outside(client, taskQueue), ...overrides };
  const { give, free, submit, untilCleared, hush } = world;
  const herald = async (order: HeraldOrder): Promise<void> => {
    heralded.push(order);
    await world.herald(order);
  };
  const look = (asked: LookRequest): Promise<Evidence> => {
    looks.push(asked);
    return world.look(asked);
  };
  const activities = {
    ...dispatchActivities({ client, taskQueue, searchAttributes: false, give, herald }),
    ...settleActivities({ client, taskQueue, store: { append }, free, herald }),
    ...auditActivities({ append }),
    ...{ look, herald, submit, untilCleared, hush },
    ...scaling(overrides),
    ...recorded(instance, calls),
    ...desired,
  };
  const shared = { connection, activities, shutdownForceTime: '1 second' } as const;
  const workers = [
    await Worker.create({ ...shared, taskQueue, workflowBundle: await bundleWorkflows() }),
    await Worker.create({ ...shared, taskQueue: watchQueue(taskQueue), maxHeartbeatThrottleInterval: '1 second' }),
  ];
  const running = workers.map((worker) => worker.run());
  return {
    client,
    taskQueue,
    calls,
    pages,
    looks,
    heralded,
    store,
    async stop() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await connection.close();
    },
  };
}

/** Of the overrides: a worker takes no activity that is undefined. */
function scaling({ readScale, watchBacklog, scaleTo, giveScaleBack }: Partial<ScalablePort>): Partial<ScalablePort> {
  return {
    ...(readScale && { readScale }),
    ...(watchBacklog && { watchBacklog }),
    ...(scaleTo && { scaleTo }),
    ...(giveScaleBack && { giveScaleBack }),
  };
}

function outside(client: Client, taskQueue: string): Outside {
  return {
    look: async (asked) => allIsWell(asked),
    untilCleared: async () => ({ cleared: true }),
    hush: async () => 'no Alertmanager is configured',
    herald: async () => undefined,
    submit: ({ batch: submitted }) => deliver({ client, taskQueue }, submitted),
    give: async () => undefined,
    free: async () => undefined,
  };
}

/** What workflows that are meant to fail have to say is not news; Temporal takes one logger per process. */
let quieted = false;
function quiet(): void {
  if (!quieted) Runtime.install({ logger: new DefaultLogger('ERROR') });
  quieted = true;
}

function recorded(instance: InstancePort, calls: string[]): InstancePort {
  const wrapped = Object.entries(instance).map(([name, call]: [string, (request: never) => unknown]) => [
    name,
    (request: never) => {
      const { target, instance: object } = request as { target?: string; instance?: { key: string } };
      calls.push(`${name} ${(target ?? object?.key ?? '').split('/').at(-1)}`);
      return call.call(instance, request);
    },
  ]);
  return Object.fromEntries(wrapped) as InstancePort;
}

export const pod = (name: string): string => `k8s/test/shop/pod/${name}`;

export const sick = (target: string): Assessment & { verdict: 'sick' } => ({
  verdict: 'sick',
  why: 'not Ready since 03:00',
  instance: { key: target, uid: `uid-of-${target}` },
  traffic: { way: 'label', why: 'its Services select on the label' },
  held: [{ field: 'metadata.labels[salvor.dev/traffic]', before: 'on', set: 'off' }],
  owner: {
    key: 'k8s/test/shop/deployment.apps/web',
    uid: 'uid-of-web',
    desired: 3,
    ready: 2,
    workload: 'k8s/test/shop/deployment.apps/web',
  },
  plan: { steps: ['label salvor.dev/traffic: on → off', 'evict'], changes: [], digest: 'd-plan' },
});

/** An instance that is sick, recovers as soon as it is held, and says nothing else; override what a test is about. */
export function instance(overrides: Partial<InstancePort> = {}): InstancePort {
  return {
    assess: async ({ target }) => sick(target),
    cut: async ({ instance: object, step, held }) => [
      {
        step,
        what: 'label on → off',
        object,
        field: held[0]?.field ?? '',
        before: 'on',
        after: 'off',
        at: '2026-01-01T00:00:00Z',
      },
    ],
    hold: async () => ({ verdict: 'recovered', why: 'healthy for 30 s', changes: [] }),
    restore: async ({ instance: object, step, held }) => [
      {
        step,
        what: 'label off → on',
        object,
        field: held[0]?.field ?? '',
        before: 'off',
        after: 'on',
        at: '2026-01-01T00:00:01Z',
      },
    ],
    replace: async () => ({ verdict: 'replaced', why: 'evicted', changes: [] }),
    verify: async () => ({ verified: true, why: 'a new pod is Ready' }),
    ...overrides,
  };
}

export function rule(
  name: string,
  gates: Partial<ResolvedGates> = {},
  mode: ResolvedRule['mode'] = 'act',
): ResolvedRule<'drain-instance'> {
  return {
    name,
    runbook: 'drain-instance',
    mode,
    with: {
      traffic: 'auto',
      recoverWithin: 60_000,
      stableFor: 1_000,
      replace: true,
      quietFor: 0,
      evictWithin: 60_000,
      verifyWithin: 60_000,
    },
    gates: {
      maxInFlight: 1,
      cooldown: 600_000,
      retries: { max: 3, per: 3_600_000 },
      waitAtMost: 3_600_000,
      maxQueue: 1_000,
      maxUnavailable: { percent: 100 },
      storm: { above: 100, settleFor: 600_000 },
      windows: [],
      failClosed: true,
      ...gates,
    },
    onFailure: { escalate: false },
    hush: false,
    approvers: [],
    approveWithin: 86_400_000,
  };
}

export function request(name: string, overrides: Partial<Request> = {}): Request {
  return {
    fingerprint: `fp-${name}`,
    startsAt: '2026-01-01T00:00:00Z',
    status: 'firing',
    target: pod(name),
    alertname: 'KubePodNotReady',
    digest: 'd1',
    by: 'alertmanager',
    ...overrides,
  };
}

export const batch = (r: ResolvedRule, requests: Request[], scope = 'shop'): Batch => ({
  delivery: randomUUID(),
  rule: r,
  ruleDigest: `digest of ${r.mode}`,
  scope,
  requests,
});

export async function deliver({ client, taskQueue }: Pick<Bench, 'client' | 'taskQueue'>, b: Batch): Promise<void> {
  const input: ResponderInput = { rule: b.rule.name, scope: b.scope };
  await client.workflow.signalWithStart(WORKFLOW.responder, {
    workflowId: responderId(b.rule.name, b.scope),
    taskQueue,
    signal: MESSAGE.alerts,
    signalArgs: [b],
    args: [input],
  });
}

export const stateOf = ({ client }: Bench, ruleName: string, scope = 'shop'): Promise<ResponderState> =>
  client.workflow.getHandle(responderId(ruleName, scope)).query<ResponderState>(MESSAGE.state);

export const remediationOf = ({ client }: Bench, name: string) => client.workflow.getHandle(remediationId(pod(name)));

/** How many runs a target's remediation has had; a listing tells of a run a moment after it began: awaits so many at least. */
export async function runsOf({ client }: Bench, name: string, least = 0): Promise<number> {
  const query = `WorkflowId = '${remediationId(pod(name))}'`;
  return listedAtLeast(least, async () => (await client.workflow.count(query)).count);
}

/** How many are listed, once there are so many. */
export async function listedAtLeast(least: number, count: () => Promise<number>): Promise<number> {
  const { seen } = await eventually(`at least ${least} are listed`, async () => {
    const listed = await count();
    return listed >= least && { seen: listed };
  });
  return seen;
}
