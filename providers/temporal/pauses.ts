import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { CONTROL_ID } from '../../model/names.ts';
import { PAUSES_MEMO, type Pause } from '../../model/pause.ts';

/**
 * The pauses that `salvor/control` keeps, read from its memo by a describe: consistent, a few milliseconds, and no worker
 * need answer. One whose time is over may still be among them.
 *
 * @throws where Temporal does not answer
 */
export async function readPauses(client: Client): Promise<Pause[]> {
  try {
    const { status, memo } = await client.workflow.getHandle(CONTROL_ID).describe();
    // It ends when nothing is paused any more.
    return status.name === 'RUNNING' ? ((memo?.[PAUSES_MEMO] as Pause[] | undefined) ?? []) : [];
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return [];
    throw error;
  }
}
