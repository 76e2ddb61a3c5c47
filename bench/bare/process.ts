/**
 * Bare Temporal, the limit that Salvor is measured against: client and worker in one process on one native connection,
 * with eager start, the worker set as Salvor's is. Started by `bare.ts` with the server's address and a task queue.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { Answer, BareActivities, Order, Way } from './messages.ts';

const [address = '', taskQueue = ''] = process.argv.slice(2);
const arrivals = new Map<string, (at: number) => void>();
const activities: BareActivities = {
  touch: async (id) => {
    const at = performance.now();
    arrivals.get(id)?.(at);
    arrivals.delete(id);
  },
};

const logger = new DefaultLogger('ERROR');
Runtime.install({ logger, telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } } });
const connection = await NativeConnection.connect({ address });
const plainConnection = await Connection.connect({ address });
const clients: Record<Way, Client> = {
  eager: new Client({ connection }),
  plain: new Client({ connection: plainConnection }),
};
const worker = await Worker.create({
  connection,
  taskQueue,
  activities,
  workflowBundle: await bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, 'workflow.ts'), logger }),
  maxConcurrentWorkflowTaskPolls: 20,
  maxConcurrentActivityTaskPolls: 20,
  nonStickyToStickyPollRatio: 0.5,
  maxConcurrentWorkflowTaskExecutions: 100,
  maxConcurrentLocalActivityExecutions: 200,
});
const running = worker.run();

const start = (id: string, way: Way): Promise<unknown> =>
  clients[way].workflow.start('bare', { workflowId: id, taskQueue, args: [id], requestEagerStart: way === 'eager' });

/** Open loop: the next one is started at its time, whatever becomes of the one before. */
async function paced({ count, gapMs, way }: Extract<Order, { kind: 'paced' }>): Promise<Answer> {
  const began = performance.now();
  const all: Promise<number>[] = [];
  for (let n = 0; n < count; n++) {
    await sleep(Math.max(0, began + n * gapMs - performance.now()));
    all.push(one(way));
  }
  return { kind: 'paced', latencies: await Promise.all(all) };
}

async function one(way: Way): Promise<number> {
  const id = `bare/${randomUUID()}`;
  const { promise, resolve } = Promise.withResolvers<number>();
  arrivals.set(id, resolve);
  const called = performance.now();
  const [arrived] = await Promise.all([promise, start(id, way)]);
  return arrived - called;
}

async function burst({ count, atOnce, way }: Extract<Order, { kind: 'burst' }>): Promise<Answer> {
  const ids = Array.from({ length: count }, () => `bare/${randomUUID()}`);
  const began = performance.now();
  const starter = async (): Promise<void> => {
    for (let id = ids.pop(); id !== undefined; id = ids.pop()) await start(id, way);
  };
  await Promise.all(Array.from({ length: atOnce }, starter));
  return { kind: 'burst', took: performance.now() - began };
}

process.on('message', (order: Order) => {
  void (order.kind === 'paced' ? paced(order) : burst(order)).then((answer) => process.send?.(answer));
});
process.once('disconnect', () => worker.shutdown());
process.send?.({ kind: 'ready' } satisfies Answer);
await running;
await Promise.all([connection.close(), plainConnection.close()]);
process.exit(0);
