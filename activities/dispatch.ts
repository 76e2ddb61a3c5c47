import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import {
  type InternalWorkflowStartOptions,
  InternalWorkflowStartOptionsSymbol,
} from '@temporalio/client/lib/internal.js';
import {
  defineSearchAttributeKey,
  SearchAttributeType,
  WorkflowExecutionAlreadyStartedError,
} from '@temporalio/common';
import type { DispatchActivities, DispatchRequest, Start, Started } from '../model/dispatch.ts';
import { code, plain } from '../model/markdown.ts';
import { MESSAGE, proposalId, remediationId, type SearchAttribute, searchValue, WORKFLOW } from '../model/names.ts';
import type { RemediationInput } from '../model/remediation.ts';

export interface DispatchOptions {
  /** On the worker's own NativeConnection, so that the server hands the first task straight back (eager start). */
  client: Client;
  taskQueue: string;
  /** Whether the server knows Salvor's search attributes; without them runs start all the same. */
  searchAttributes: boolean;
}

/** Starts remediations, tells them of resolved alerts, and finds those that ended without a word. */
export function dispatchActivities({ client, taskQueue, searchAttributes }: DispatchOptions): DispatchActivities {
  const { workflow } = client;

  async function start(request: DispatchRequest, at: Start): Promise<Started> {
    const { rule, ruleDigest, scope } = request;
    const { target, delivery: _, ...alert } = at.request;
    const proposal = rule.mode === 'observe';
    const workflowId = proposal ? proposalId(rule.name, target) : remediationId(target);
    const input: RemediationInput = {
      target,
      rule,
      ruleDigest,
      scope,
      alert,
      episode: at.episode,
      since: new Date(at.since).toISOString(),
      ...(proposal ? {} : { responder: request.responder }),
      searchAttributes,
    };
    const options: InternalWorkflowStartOptions & { args: [RemediationInput] } = {
      workflowId,
      taskQueue,
      args: [input],
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      workflowIdConflictPolicy: 'FAIL',
      staticSummary: `${rule.runbook} ${code(target)} (${plain(alert.alertname)}, rule ${rule.name}, ${rule.mode})`,
      memo: { episode: at.episode, rule: rule.name, runbook: rule.runbook, mode: rule.mode, target },
      ...(searchAttributes && { typedSearchAttributes: attributes(input) }),
      // The server answers a start with the request ID of the target's latest run, open or closed, with that very run:
      // this activity may run twice, and the episode still starts once.
      [InternalWorkflowStartOptionsSymbol]: { requestId: at.episode },
    };
    try {
      const handle = await workflow.start(WORKFLOW.remediation, { ...options, requestEagerStart: true });
      return { started: handle.firstExecutionRunId };
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      return await holder(workflowId);
    }
  }

  async function holder(workflowId: string): Promise<Started> {
    const { runId, memo } = await workflow.getHandle(workflowId).describe();
    return { busy: runId, ...(typeof memo?.['rule'] === 'string' && { by: memo['rule'] }) };
  }

  async function tell({ target, runId }: { target: string; runId: string }): Promise<void> {
    try {
      await workflow.getHandle(remediationId(target), runId).signal(MESSAGE.resolved);
    } catch (error) {
      // It has ended meanwhile: there is nobody left to tell.
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }

  async function isOver({ target, runId }: { target: string; runId: string }): Promise<boolean> {
    try {
      const { status } = await workflow.getHandle(remediationId(target), runId).describe();
      return status.name !== 'RUNNING';
    } catch (error) {
      // Ended so long ago that the server has forgotten it.
      if (error instanceof WorkflowNotFoundError) return true;
      throw error;
    }
  }

  return {
    async dispatch(request) {
      const [starts, , over] = await Promise.all([
        Promise.all(request.starts.map((at) => start(request, at))),
        Promise.all(request.resolved.map(tell)),
        Promise.all(request.check.map(async (open) => ((await isOver(open)) ? [open] : []))),
      ]);
      return { starts, ended: over.flat() };
    },
  };
}

function attributes({ rule, target, alert }: RemediationInput) {
  const values: Partial<Record<SearchAttribute, string>> = {
    SalvorRule: rule.name,
    SalvorRunbook: rule.runbook,
    SalvorTarget: target,
    SalvorAlert: alert.alertname,
  };
  return Object.entries(values).map(([name, value]) => ({
    key: defineSearchAttributeKey(name, SearchAttributeType.KEYWORD),
    value: searchValue(value),
  }));
}
