import { type Client, type WorkflowExecutionInfo, WorkflowNotFoundError } from '@temporalio/client';
import { FIRST_RUN_MEMO, type FirstRun } from '../../model/names.ts';

/** Of a run, what tells of which remediation it is a part. */
type Part = Pick<WorkflowExecutionInfo, 'runId' | 'memo' | 'startTime'>;

/** A remediation may go on in a new run: it is known by its first one. */
export function firstOf({ runId, memo, startTime }: Part): FirstRun {
  const first = memo?.[FIRST_RUN_MEMO] as FirstRun | undefined;
  return first ?? { id: runId, startedAt: startTime.toISOString() };
}

const CONTINUED = 'CONTINUED_AS_NEW';

/** What the server says of the run with which a remediation goes on, or has ended; undefined where it has forgotten it. */
export async function currentOf(
  client: Client,
  { workflowId, runId }: { workflowId: string; runId: string },
): Promise<Omit<WorkflowExecutionInfo, 'raw'> | undefined> {
  const named = await described(client, workflowId, runId);
  if (!named || named.status.name !== CONTINUED) return named;
  const { id } = firstOf(named);
  const latest = await described(client, workflowId);
  if (latest && firstOf(latest).id === id && latest.status.name !== CONTINUED) return latest;
  // Another remediation of the same target has begun since.
  const query = `WorkflowId = '${workflowId.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
  for await (const run of client.workflow.list({ query, pageSize: 200 }))
    if (run.status.name !== CONTINUED && firstOf(run).id === id) return run;
  return undefined;
}

async function described(client: Client, workflowId: string, runId?: string) {
  try {
    return await client.workflow.getHandle(workflowId, runId).describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

/**
 * Does something with the run that is under way, also where the remediation goes on in another one than is known.
 *
 * @returns false where it has ended
 */
export async function withCurrent(
  client: Client,
  known: { workflowId: string; runId: string },
  act: (runId: string) => Promise<void>,
  isOver = (error: unknown): boolean => error instanceof WorkflowNotFoundError,
): Promise<boolean> {
  for (let { runId } = known; ; ) {
    try {
      await act(runId);
      return true;
    } catch (error) {
      if (!isOver(error)) throw error;
      const current = await currentOf(client, { ...known, runId });
      if (current?.status.name !== 'RUNNING' || current.runId === runId) return false;
      runId = current.runId;
    }
  }
}
