import { randomUUID } from 'node:crypto';
import { Client, WorkflowNotFoundError } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { type Budgets, budgetsOf, holderActivities, type Leases, leasesOf } from '../../activities/leases.ts';
import { MESSAGE } from '../../model/names.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';
import { eventually } from './wait.ts';

export interface Entities {
  client: Client;
  connection: NativeConnection;
  taskQueue: string;
  leases: Leases;
  budgets: Budgets;
  stop(): Promise<void>;
}

/** A worker on the real server that runs limits and budgets. */
export async function startEntities(address: string): Promise<Entities> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const taskQueue = `entities-${randomUUID()}`;
  const connection = await NativeConnection.connect({ address });
  const client = new Client({ connection });
  const worker = await Worker.create({
    connection,
    taskQueue,
    activities: holderActivities({ client }),
    workflowBundle: await bundleWorkflows(),
    shutdownForceTime: '1 second',
  });
  const running = worker.run();
  return {
    client,
    connection,
    taskQueue,
    leases: leasesOf({ client, taskQueue }),
    budgets: budgetsOf({ client, taskQueue }),
    async stop() {
      worker.shutdown();
      await running;
      await connection.close();
    },
  };
}

/** An open execution that nobody works on: who holds something, or tells something by its memo, as the server has it. */
export async function standIn({ client }: Entities, workflowId: string, memo: Record<string, unknown> = {}) {
  const options = { workflowId, taskQueue: 'nobody', args: [], memo };
  const { firstExecutionRunId } = await client.workflow.start('stand-in', options);
  return { workflowId, runId: firstExecutionRunId };
}

export const terminate = async ({ client }: Entities, workflowId: string): Promise<void> => {
  await client.workflow.getHandle(workflowId).terminate('by the test');
};

/** How often a stand-in was told to look again. */
export async function looks({ client }: Entities, workflowId: string): Promise<number> {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).filter(
    ({ workflowExecutionSignaledEventAttributes: signal }) => signal?.signalName === MESSAGE.look,
  ).length;
}

/** Resolves when the latest run has ended by itself. */
export const untilEnded = ({ client }: Entities, workflowId: string): Promise<boolean> =>
  eventually(`${workflowId} ended`, async () => {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name === 'COMPLETED';
  });

/** Resolves when it has had so many runs; a listing tells of a run a moment after it began. */
export const untilRuns = ({ client }: Entities, workflowId: string, runs: number): Promise<boolean> =>
  eventually(
    `${workflowId} has had ${runs} runs`,
    async () => (await client.workflow.count(`WorkflowId = '${workflowId}'`)).count >= runs,
  );

/** Whether it was ever started. */
export async function exists({ client }: Entities, workflowId: string): Promise<boolean> {
  try {
    await client.workflow.getHandle(workflowId).describe();
    return true;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
