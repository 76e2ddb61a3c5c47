import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, isGrpcServiceError, WithStartWorkflowOperation } from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { type Budgets, budgetsOf, holderActivities, type Leases, leasesOf } from '../activities/leases.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { bundleWorkflows, withoutStacks } from '../workers/bundle.ts';
import type { Benchmark } from './support/benchmark.ts';
import { quantile, ratios, spread, table } from './support/numbers.ts';

/** Who ask at the same time; the server takes ten updates of one workflow at once. */
const AT_ONCE = 5;
const SECONDS = 20;
const QUICK_SECONDS = 2;

/** One way to ask; `n` counts the calls of all rounds. */
type Ask = (n: number) => Promise<void>;

interface Measured {
  rate: number;
  p50: number;
}

interface Row {
  name: string;
  ask: Ask;
  /** What it is compared with. */
  limit?: string;
}

const ONE = 'limit: bare, an update of one entity';
const EACH = 'limit: bare, an entity of its own: update, end';

/** How many leases one `limits/<key>`, and how many reserves one `budget/<workload>`, answers in a second. */
export const limits: Benchmark = async ({ rounds, quick, say }) => {
  const sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  const logger = new DefaultLogger('WARN');
  Runtime.install({ logger, shutdownSignals: [] });
  const connection = await NativeConnection.connect({ address: sandbox.temporal.address });
  const client = new Client({ connection });
  const { code } = await bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, 'bare', 'entity.ts'), logger });
  const [taskQueue, bareQueue] = ['entities', 'bare'];
  const common = { connection, maxConcurrentWorkflowTaskPolls: 20, nonStickyToStickyPollRatio: 0.5 } as const;
  const workers = [
    await Worker.create({
      ...common,
      taskQueue,
      workflowBundle: { code: withoutStacks((await bundleWorkflows()).code) },
      activities: holderActivities({ client }),
    }),
    await Worker.create({ ...common, taskQueue: bareQueue, workflowBundle: { code: withoutStacks(code) } }),
  ];
  const running = workers.map((worker) => worker.run());
  try {
    const rows = [...salvor(client, taskQueue), ...bare(client, bareQueue)];
    const results = new Map<string, Measured[]>(rows.map(({ name }) => [name, []]));
    for (let round = 1; round <= rounds; round++) {
      for (const { name, ask } of rows) {
        const measured = await measure(ask, quick ? QUICK_SECONDS : SECONDS);
        results.get(name)?.push(measured);
        say(`round ${round}, ${name}: ${measured.rate.toFixed(0)} a second, p50 ${measured.p50.toFixed(1)} ms`);
      }
    }
    return report(rows, results);
  } finally {
    for (const worker of workers) worker.shutdown();
    await Promise.all(running);
    await connection.close();
    await sandbox.stop();
  }
};

function salvor(client: Client, taskQueue: string): Row[] {
  const leases: Leases = leasesOf({ client, taskQueue });
  const budgets: Budgets = budgetsOf({ client, taskQueue });
  // Fifty responders, none of which is there: nobody is denied, so nobody is looked at.
  const lease: Ask = async (n) => {
    const request = {
      responder: `responder/pod-unready/${n % 50}`,
      want: 10,
      has: 0,
      targets: [`k8s/bench/shop/pod/${n % 500}`],
      limits: { maxInFlight: 1_000, maxActsPerHour: 10_000_000, storm: { targets: 1_000, within: 300_000 } },
    };
    const { granted } = await leases.lease('k8s/bench', request, randomUUID());
    if (granted !== 10) throw new Error(`granted ${granted} of 10`);
  };
  const reserve = async (workload: string, runId: string): Promise<void> => {
    const target = `k8s/bench/shop/pod/${runId}`;
    const request = { target, bound: { percent: 50 }, desired: 100, unready: [target] };
    const holder = { workflowId: `remediation/${target}`, runId };
    const { granted } = await budgets.reserve(workload, { ...request, holder });
    if (!granted) throw new Error(`${target} has no place`);
  };
  return [
    {
      name: 'a lease of 10 slots, of one `limits`',
      limit: ONE,
      ask: lease,
    },
    {
      name: 'a reserve, of one `budget`',
      limit: ONE,
      ask: (n) => reserve('k8s/bench/shop/deployment.apps/web', `${n % 20}`),
    },
    {
      name: 'a `budget` of its own: reserve, free',
      limit: EACH,
      ask: async () => {
        const id = randomUUID();
        await reserve(`k8s/bench/shop/deployment.apps/${id}`, id);
        await budgets.free(`k8s/bench/shop/deployment.apps/${id}`, id);
      },
    },
  ];
}

function bare(client: Client, taskQueue: string): Row[] {
  const once = (workflowId: string): Promise<unknown> =>
    client.workflow.executeUpdateWithStart<Workflow, unknown, [unknown]>('ask', {
      args: [workflowId],
      startWorkflowOperation: new WithStartWorkflowOperation('entity', {
        workflowId,
        taskQueue,
        args: [],
        workflowIdConflictPolicy: 'USE_EXISTING',
      }),
    });
  // Who asks in the moment in which it continues as new asks again.
  const ask = async (workflowId: string): Promise<void> => {
    await once(workflowId).catch((error: unknown) => {
      if (!isGrpcServiceError(error)) throw error;
      return once(workflowId);
    });
  };
  return [
    { name: ONE, ask: () => ask('bare') },
    {
      name: EACH,
      ask: async () => {
        const workflowId = `bare/${randomUUID()}`;
        await ask(workflowId);
        await client.workflow.getHandle(workflowId).signal('end');
      },
    },
  ];
}

let calls = 0;

async function measure(ask: Ask, seconds: number): Promise<Measured> {
  await ask(calls++); // started, and its code loaded
  const took: number[] = [];
  const began = performance.now();
  const asker = async (): Promise<void> => {
    while (performance.now() - began < seconds * 1_000) {
      const asked = performance.now();
      await ask(calls++);
      took.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, asker));
  return { rate: took.length / ((performance.now() - began) / 1_000), p50: quantile(took, 0.5) };
}

function report(rows: Row[], results: Map<string, Measured[]>): string {
  const of = (name: string, field: keyof Measured) => (results.get(name) ?? []).map((measured) => measured[field]);
  return table(
    ['', 'over bare', 'a second', 'p50 ms'],
    rows.map(({ name, limit }) => [
      name,
      limit === undefined ? '' : `**${spread(ratios(of(name, 'rate'), of(limit, 'rate')))}**`,
      `**${spread(of(name, 'rate'))}**`,
      spread(of(name, 'p50')),
    ]),
  );
}
