import type { Client } from '@temporalio/client';
import { until } from './product.ts';

const query = (type: string, since: Date, status: string): string =>
  `WorkflowType = '${type}' AND StartTime >= '${since.toISOString()}' AND ExecutionStatus ${status}`;

/** Waits until the server has so many completed runs of a type that were started since then. */
export async function untilCompleted(
  client: Client,
  type: string,
  since: Date,
  count: number,
  within: number,
): Promise<void> {
  let seen = 0;
  await until(
    `${count} completed runs of ${type}`,
    async () => {
      seen = (await client.workflow.count(query(type, since, "= 'Completed'"))).count;
      return seen >= count;
    },
    within,
    250,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; there are ${seen}`, { cause: error });
  });
}

/** Waits until no remediation is open. */
export async function untilNoneOpen(client: Client, within: number): Promise<void> {
  await until(
    'no open remediation',
    async () =>
      (await client.workflow.count("WorkflowType = 'remediation' AND ExecutionStatus = 'Running'")).count === 0,
    within,
    500,
  );
}

/** Runs by Workflow ID, and by outcome. */
export async function remediationsSince(client: Client, since: Date) {
  const runs = new Map<string, number>();
  const outcomes = new Map<string, number>();
  for await (const run of client.workflow.list({ query: query('remediation', since, "!= 'Running'") })) {
    const outcome = String(run.searchAttributes?.['SalvorOutcome']?.[0] ?? run.status.name);
    runs.set(run.workflowId, (runs.get(run.workflowId) ?? 0) + 1);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return { runs, outcomes };
}
