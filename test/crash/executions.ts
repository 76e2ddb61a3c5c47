import type { Client, WorkflowFailedError, WorkflowHandle } from '@temporalio/client';
import { CancelledFailure, defaultPayloadConverter } from '@temporalio/common';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import type { AuditPage } from '../../model/audit.ts';
import type { Ending } from '../../model/remediation.ts';

/** A run as Temporal has it. */
export interface Execution {
  workflowId: string;
  runId: string;
  /** ID of its stream: of a responder the ID of its first run. */
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
  reason?: string;
}

/** All runs that Temporal has, with their histories. */
export async function executionsOf({ workflow }: Client): Promise<Execution[]> {
  const all: Execution[] = [];
  for await (const info of workflow.list({ query: "WorkflowType = 'remediation' OR WorkflowType = 'responder'" })) {
    const { workflowId, runId, type, status, startTime, closeTime } = info;
    const handle = workflow.getHandle(workflowId, runId);
    const history = await handle.fetchHistory();
    const first = history.events?.[0]?.workflowExecutionStartedEventAttributes?.firstExecutionRunId;
    const stream = type === 'responder' && first ? first : runId;
    const ended = type === 'remediation' && closeTime !== undefined ? await endOf(handle) : {};
    const named = { workflowId, runId, stream, type, status: status.name, history, from: startTime.getTime() };
    all.push({ ...named, ...(closeTime && { to: closeTime.getTime() }), ...ended });
  }
  return all;
}

/** The pages of notes that a history has, in the inputs of the activities that put them on record. */
export function pagesOf({ events }: History): AuditPage[] {
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) => {
    const type = scheduled?.activityType?.name;
    const payload = scheduled?.input?.payloads?.[0];
    if (!payload) return [];
    const input = defaultPayloadConverter.fromPayload<AuditPage & { audit?: AuditPage; page?: AuditPage }>(payload);
    const page = { cut: input.audit, settle: input.page, record: input }[type ?? ''];
    return page ? [page] : [];
  });
}

async function endOf(handle: WorkflowHandle): Promise<{ outcome: string; reason: string }> {
  try {
    const { outcome, reason } = (await handle.result()) as Ending;
    return { outcome, reason };
  } catch (error) {
    const { cause, message } = error as WorkflowFailedError;
    return { outcome: cause instanceof CancelledFailure ? 'cancelled' : 'failed', reason: cause?.message ?? message };
  }
}
