import { randomUUID } from 'node:crypto';
import { Client } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { auditActivities } from '../../activities/audit.ts';
import { dispatchActivities } from '../../activities/dispatch.ts';
import { settleActivities } from '../../activities/settle.ts';
import type { AuditPage } from '../../model/audit.ts';
import { MESSAGE, remediationId, responderId, WORKFLOW, watchQueue } from '../../model/names.ts';
import type { Assessment, InstancePort } from '../../model/ports/instance.ts';
import type { Batch, Request } from '../../model/request.ts';
import type { ResponderInput, ResponderState } from '../../model/responder.ts';
import type { ResolvedGates, ResolvedRule } from '../../model/rule.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';

export interface Bench {
  client: Client;
  taskQueue: string;
  /** Names of the instance activities in the order in which they were called, with their target's name. */
  calls: string[];
  /** What was put on record, as it came. */
  pages: AuditPage[];
  /** Makes the audit store refuse all, or take all again. */
  store: { down: boolean };
  stop(): Promise<void>;
}

/** A worker on the real server with the product's workflows, the real dispatch, and the instance given here. */
export async function startBench(address: string, instance: InstancePort): Promise<Bench> {
  quiet();
  const taskQueue = `test-${randomUUID()}`;
  const calls: string[] = [];
  const pages: AuditPage[] = [];
  const store = { down: false };
  const append = async (page: AuditPage): Promise<void> => {
    if (store.down) throw new Error('the store is down');
    pages.push(page);
  };
  const connection = await NativeConnection.connect({ address });
  const client = new Client({ connection });
  const activities = {
    ...dispatchActivities({ client, taskQueue, searchAttributes: false }),
    ...settleActivities({ client, taskQueue, store: { append } }),
    ...auditActivities({ append }),
    ...recorded(instance, calls),
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
    store,
    async stop() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await connection.close();
    },
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
  owner: { key: 'k8s/test/shop/deployment.apps/web', uid: 'uid-of-web', desired: 3, ready: 2 },
  plan: ['label salvor.dev/traffic: on → off', 'evict'],
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
): ResolvedRule {
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
      ...gates,
    },
    onFailure: { escalate: false },
    hush: false,
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

export async function deliver({ client, taskQueue }: Bench, b: Batch): Promise<void> {
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

/** How many runs a target's remediation has had. */
export async function runsOf({ client }: Bench, name: string): Promise<number> {
  const { count } = await client.workflow.count(`WorkflowId = '${remediationId(pod(name))}'`);
  return count;
}
