import type { Client } from '@temporalio/client';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import type { Ending } from '../../model/remediation.ts';

/** A run as Temporal has it. */
export interface Execution {
  workflowId: string;
  runId: string;
  /** First run ID: the ID of its stream. */
  stream: string;
  type: string;
  /** `COMPLETED`, `RUNNING`, … */
  status: string;
  history: History;
  /** Milliseconds since the epoch. */
  from: number;
  to?: number;
  /** What it came to, by its own answer. */
  outcome?: string;
}

/** All runs that Temporal has, with their histories. */
export async function executionsOf({ workflow }: Client): Promise<Execution[]> {
  const all: Execution[] = [];
  for await (const info of workflow.list({ query: "WorkflowType = 'remediation' OR WorkflowType = 'responder'" })) {
    const { workflowId, runId, type, status, startTime, closeTime } = info;
    const handle = workflow.getHandle(workflowId, runId);
    const history = await handle.fetchHistory();
    const stream = history.events?.[0]?.workflowExecutionStartedEventAttributes?.firstExecutionRunId ?? '';
    const over = status.name === 'COMPLETED' && type === 'remediation';
    all.push({
      ...{ workflowId, runId, stream, type, status: status.name, history, from: startTime.getTime() },
      ...(closeTime && { to: closeTime.getTime() }),
      ...(over && { outcome: ((await handle.result()) as Ending).outcome }),
      ...(status.name === 'FAILED' && { outcome: 'failed' }),
      ...(status.name === 'CANCELLED' && { outcome: 'cancelled' }),
    });
  }
  return all;
}
