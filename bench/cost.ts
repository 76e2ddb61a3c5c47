import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { loadConfig } from '../cli/configuration.ts';
import { auditOptions } from '../cli/store.ts';
import { startGateway } from '../gateway/server.ts';
import { remediationId, responderId } from '../model/names.ts';
import { freePort } from '../sandbox/ports.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { createLogger } from '../workers/logging.ts';
import { startWorker } from '../workers/worker.ts';
import { Bare } from './bare/bare.ts';
import { Alertmanager } from './support/alerts.ts';
import { Audit } from './support/audit.ts';
import type { Benchmark } from './support/benchmark.ts';
import { type Cost, costOf, minus } from './support/history.ts';
import { spread, table } from './support/numbers.ts';
import { Pods } from './support/pods.ts';
import { CLUSTER, configure, until } from './support/product.ts';

/** Alerts that are refused in one round; their cost is that of all of them, divided. */
const REFUSED = 20;
const END_WITHIN = 120_000;
const OPTIONS = { recoverWithin: '40s', stableFor: '20s', quietFor: '5s' };

interface Parts {
  client: Client;
  pods: Pods;
  audit: Audit;
  alertmanager: Alertmanager;
  /** Heartbeats that reached the server so far. */
  heartbeats: () => Promise<number>;
}

/** One remediation: its own cost, what it left in its responder, and its heartbeats for each minute that it waited. */
interface Drain {
  own: Cost;
  responder: Cost;
  heartbeatsPerMinute: number;
}

/** History events and billable actions of a drain that recovers, of one that evicts, and of a refused alert. */
export const cost: Benchmark = async ({ rounds, say }) => {
  const sandbox = await startSandbox({
    parts: ['temporal', 'kubernetes'],
    temporal: { headless: true },
    kubernetes: { users: [{ name: 'salvor' }] },
  });
  const folder = await mkdtemp(join(tmpdir(), 'salvor-bench-'));
  // The native part of the worker counts the requests that it makes, heartbeats among them.
  const metrics = `127.0.0.1:${await freePort()}`;
  Runtime.install({
    logger: new DefaultLogger('WARN'),
    shutdownSignals: [],
    telemetryOptions: { metrics: { prometheus: { bindAddress: metrics } } },
  });
  const { address } = sandbox.temporal;
  const gates = { maxInFlight: 1, maxQueue: 0 };
  const { file, webhook } = await configure(folder, {
    kubernetes: sandbox.kubernetes,
    temporal: address,
    with: OPTIONS,
    gates,
  });
  const { config } = await loadConfig({ config: { file, named: true } });
  const logger = createLogger('warn');
  const worker = await startWorker({ config, audit: auditOptions(config), logger });
  const gateway = await startGateway({ config, logger });
  const connection = await Connection.connect({ address });
  const pods = new Pods(sandbox.kubernetes);
  const alertmanager = new Alertmanager(webhook);
  const client = new Client({ connection });
  try {
    await pods.allowSalvor();
    const heartbeats = () => countHeartbeats(`http://${metrics}/metrics`);
    const parts: Parts = { client, pods, audit: new Audit(sandbox.kubernetes), alertmanager, heartbeats };
    const bare = await costOfBare(client, address);
    const [recovered, evicted, refused]: [Drain[], Drain[], Cost[]] = [[], [], []];
    for (let round = 1; round <= rounds; round++) {
      recovered.push(await drain(parts, `recovers-${round}`, true));
      evicted.push(await drain(parts, `evicts-${round}`, false));
      refused.push(await refusals(parts, `refused-${round}`));
      say(`round ${round}: ${JSON.stringify([recovered.at(-1), evicted.at(-1), refused.at(-1)])}`);
    }
    return report(bare, recovered, evicted, refused);
  } finally {
    await alertmanager.close();
    await gateway.close();
    await worker.stop();
    await connection.close();
    await sandbox.stop();
    await rm(folder, { recursive: true, force: true });
  }
};

async function costOfBare(client: Client, address: string): Promise<Cost> {
  const bare = await Bare.start(address);
  await bare.paced(1, 0, 'eager');
  await bare.stop();
  for await (const run of client.workflow.list({ query: "WorkflowType = 'bare'" }))
    return await costOf(client, run.workflowId);
  throw new Error('the server does not list the run of bare Temporal');
}

async function drain(parts: Parts, scope: string, recovers: boolean): Promise<Drain> {
  const { client, pods, audit, alertmanager, heartbeats } = parts;
  const { namespace, pods: names, remove } = await pods.run(2, { unready: false });
  const pod = names[0] ?? '';
  await pods.setUnready(namespace, pod, true);
  await audit.clear();
  const [before, began] = [await heartbeats(), performance.now()];
  await alertmanager.send([{ namespace, pod, scope }]);
  if (recovers) {
    await until('the pod is cut', async () => (await audit.look()).length > 0, END_WITHIN);
    await pods.setUnready(namespace, pod, false);
  }
  const id = remediationId(`k8s/${CLUSTER}/${namespace}/pod/${pod}`);
  const ending = await outcome(client, id);
  if (ending !== (recovers ? 'recovered' : 'remediated')) throw new Error(`${id} ended ${ending}`);
  const minutes = (performance.now() - began) / 60_000;
  const heartbeatsPerMinute = ((await heartbeats()) - before) / minutes;
  const [own, responder] = await Promise.all([costOf(client, id), costOf(client, responderId('pod-unready', scope))]);
  await remove();
  return { own, responder, heartbeatsPerMinute };
}

async function outcome(client: Client, workflowId: string): Promise<string> {
  await until(
    workflowId,
    async () =>
      (await client.workflow.count(`WorkflowId = '${workflowId}' AND ExecutionStatus != 'Running'`)).count > 0,
    END_WITHIN,
  );
  return ((await client.workflow.getHandle(workflowId).result()) as { outcome: string }).outcome;
}

/** One remediation is open, no more is allowed and none may wait: what comes is refused. */
async function refusals({ client, pods, alertmanager, audit }: Parts, scope: string): Promise<Cost> {
  const { namespace, pods: names, remove } = await pods.run(REFUSED + 1, { unready: true });
  const [first = '', ...others] = names;
  await audit.clear();
  await alertmanager.send([{ namespace, pod: first, scope }]);
  await until('the first pod is cut', async () => (await audit.look()).length > 0, END_WITHIN);
  const responder = client.workflow.getHandle(responderId('pod-unready', scope));
  const refused = async (): Promise<number> =>
    (await responder.query<{ tally: { refuse: number } }>('state')).tally.refuse;
  const before = await costOf(client, responder.workflowId);
  for (const [n, pod] of others.entries()) {
    await alertmanager.send([{ namespace, pod, scope }]);
    await until('it is refused', async () => (await refused()) === n + 1, END_WITHIN, 20);
  }
  const all = minus(await costOf(client, responder.workflowId), before);
  const open = await client.workflow.count(
    `WorkflowType = 'remediation' AND WorkflowId STARTS_WITH '${remediationId(`k8s/${CLUSTER}/${namespace}/`)}'`,
  );
  if (open.count !== 1) throw new Error(`${open.count - 1} refused alerts have workflows of their own`);
  await remove();
  return { events: all.events / REFUSED, bytes: all.bytes / REFUSED, actions: all.actions / REFUSED };
}

async function countHeartbeats(url: string): Promise<number> {
  const text = await (await fetch(url)).text();
  const lines = text.matchAll(/^temporal_request\{([^}]*)\} (\d+)/gm);
  return [...lines]
    .filter(([, labels]) => labels?.includes('operation="RecordActivityTaskHeartbeat"'))
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

function report(bare: Cost, recovered: Drain[], evicted: Drain[], refused: Cost[]): string {
  const of = (rounds: Cost[], field: keyof Cost) => spread(rounds.map((round) => round[field]));
  const row = (name: string, own: Cost[], responder: Cost[], heartbeats: string) => [
    name,
    own.length > 0 ? `**${of(own, 'events')}**` : '**0**',
    own.length > 0 ? `**${of(own, 'actions')}**` : '**0**',
    own.length > 0 ? of(own, 'bytes') : '0',
    heartbeats,
    ...(['events', 'actions', 'bytes'] as const).map((field) => (responder.length > 0 ? of(responder, field) : '–')),
  ];
  const drains = (name: string, rounds: Drain[]) =>
    row(
      name,
      rounds.map(({ own }) => own),
      rounds.map(({ responder }) => responder),
      spread(rounds.map(({ heartbeatsPerMinute }) => heartbeatsPerMinute)),
    );
  return table(
    ['', 'events', 'actions', 'bytes', 'heartbeats a minute', 'in the responder: events', 'actions', 'bytes'],
    [
      drains('a drain that recovers', recovered),
      drains('a drain that evicts', evicted),
      row('a refused alert', [], refused, '0'),
      row('limit: bare, one local activity', [bare], [], '0'),
    ],
  );
}
