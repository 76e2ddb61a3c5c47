import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';

/** Milliseconds that Temporal has to answer. */
const WITHIN = 2_000;

/** Whether Temporal answers for the client's namespace. */
export async function answers(client: Client): Promise<boolean> {
  const { namespace } = client.options;
  try {
    await inTime(client, () => client.workflowService.describeNamespace({ namespace }));
    return true;
  } catch {
    // Whatever the reason: `/readyz` says that it does not answer, and every poll that fails is logged.
    return false;
  }
}

/** How many workflows a query finds. @throws where Temporal does not answer in time */
export async function countWorkflows(client: Client, query: string): Promise<number> {
  return (await inTime(client, () => client.workflow.count(query))).count;
}

/** The native client goes on trying for seconds after the deadline, which neither a probe nor a scrape waits for. */
function inTime<T>(client: Client, ask: () => Promise<T>): Promise<T> {
  const late = delay(WITHIN, undefined, { ref: false }).then(() => {
    throw new Error(`Temporal does not answer within ${WITHIN} ms`);
  });
  return Promise.race([client.withDeadline(Date.now() + WITHIN, ask), late]);
}
