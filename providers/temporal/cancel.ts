import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { MESSAGE } from '../../model/names.ts';
import type { CancelRequest } from '../../model/remediation.ts';
import { withCurrent } from './chain.ts';

/**
 * Cancels a remediation, which then undoes what it has done. Who asks for it is told by a signal before, for the server
 * does not tell a workflow.
 *
 * @returns false where it had ended already
 */
export async function cancelRun(
  client: Client,
  { workflowId, id }: { workflowId: string; id: string },
  { by, reason }: CancelRequest,
): Promise<boolean> {
  const asked: CancelRequest = { by, reason };
  const cancel = async (runId: string): Promise<void> => {
    await client.workflow.getHandle(workflowId, runId).signal(MESSAGE.cancel, asked);
    // The client's own cancel() takes no reason.
    await client.workflowService.requestCancelWorkflowExecution({
      namespace: client.options.namespace,
      workflowExecution: { workflowId, runId },
      identity: by,
      reason,
    });
  };
  const isOver = (error: unknown): boolean => error instanceof WorkflowNotFoundError || isNotFound(error);
  return withCurrent(client, { workflowId, runId: id }, cancel, isOver);
}

/** gRPC NOT_FOUND, as the service itself says it. */
const isNotFound = (error: unknown): boolean => (error as { code?: unknown }).code === 5;
