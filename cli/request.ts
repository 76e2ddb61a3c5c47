import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, WithStartWorkflowOperation, WorkflowNotFoundError } from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import type { Config } from '../model/config.ts';
import { digest } from '../model/digest.ts';
import { alertKey } from '../model/gates.ts';
import { MESSAGE, proposalId, remediationId, responderId, WORKFLOW } from '../model/names.ts';
import type { Batch, RunAnswer } from '../model/request.ts';
import type { Settled } from '../model/responder.ts';
import { type RunOrder, resolveRun } from '../model/run.ts';
import { responderStart } from '../providers/temporal/responder.ts';
import { UnansweredError, untilAnswered } from '../providers/temporal/updates.ts';
import { startOf } from './history.ts';
import { stateOf } from './pending.ts';
import { CliError, EXIT } from './status.ts';

/** Milliseconds in which a worker must answer; admission itself takes a fraction of a second. */
const ANSWER_WITHIN = 15_000;

export interface RunRequest {
  order: RunOrder;
  /** Names this request; it is the Update ID, so the same one never acts twice. */
  updateId: string;
  /** Whether the caller chose it and may therefore ask again with it. */
  chosen: boolean;
  by: string;
}

/**
 * What the responder is handed: one request.
 *
 * @throws CliError with everything that is wrong in the order
 */
export function makeBatch(config: Config, { order, updateId, chosen, by }: RunRequest): Batch {
  const resolved = resolveRun(order, config);
  if (!resolved.ok)
    throw new CliError(resolved.problems.join('\n'), { status: EXIT.usage, advice: 'Nothing was asked for.' });
  const { rule, ruleDigest, scope, target } = resolved;
  const request = {
    fingerprint: `run-${updateId}`,
    // With the fingerprint it names the request, so where it may be repeated it must not depend on the clock.
    startsAt: new Date(chosen ? 0 : Date.now()).toISOString(),
    status: 'firing' as const,
    target,
    alertname: `salvor run ${order.runbook}`,
    by,
  };
  return {
    delivery: request.fingerprint,
    rule,
    ruleDigest,
    scope,
    requests: [{ ...request, digest: digest(request) }],
  };
}

/**
 * Asks the responder, which is started where it does not run.
 *
 * @throws CliError where no worker answers in time; an update that no worker has taken leaves nothing behind
 */
export async function requestRun(
  client: Client,
  taskQueue: string,
  batch: Batch,
  updateId: string,
): Promise<RunAnswer> {
  const ask = (): Promise<RunAnswer> =>
    client.workflow.executeUpdateWithStart<Workflow, RunAnswer, [Batch]>(MESSAGE.run, {
      args: [batch],
      updateId,
      startWorkflowOperation: new WithStartWorkflowOperation(WORKFLOW.responder, {
        ...responderStart(batch, taskQueue),
        workflowIdConflictPolicy: 'USE_EXISTING',
      }),
    });
  return await untilAnswered(client, ask, ANSWER_WITHIN).catch((error: unknown) => {
    throw error instanceof UnansweredError ? unanswered(updateId, taskQueue, error) : error;
  });
}

const unanswered = (updateId: string, taskQueue: string, cause: unknown): CliError =>
  new CliError(
    `no worker on the task queue ${taskQueue} answered within ${ANSWER_WITHIN / 1000} s; the request is kept for one that does`,
    {
      status: EXIT.unknown,
      advice: `Start one (\`salvor worker\`, \`salvor up\`), then ask again with --update-id ${updateId}: it is done once at most.`,
      cause,
    },
  );

/** Where the remediation or proposal of an admitted request is found. */
export const workflowIdOf = ({ rule, requests: [request] }: Batch): string =>
  rule.mode === 'act' ? remediationId(request?.target ?? '') : proposalId(rule.name, request?.target ?? '');

export type Admitted = { runId: string } | { settled: Settled };

/** Milliseconds between two looks at what waits: each is a query, and writes no history. */
const LOOK_EVERY = 1_000;

/**
 * Waits until the responder has started what waits, or has settled it otherwise.
 *
 * @param onSilence called once, where no worker answers
 * @throws CliError where the responder has forgotten it: somebody has terminated it
 */
export async function untilAdmitted(client: Client, batch: Batch, onSilence: () => void): Promise<Admitted> {
  const { rule, scope, requests } = batch;
  const [request] = requests;
  if (!request) throw new Error('a batch of one request is expected');
  const key = alertKey(request);
  let [silent, unknown] = [false, false];
  for (; ; await sleep(LOOK_EVERY)) {
    const state = await stateOf(client, responderId(rule.name, scope));
    // Looked for after the state: what is in neither has not moved from the one to the other meanwhile.
    const runId = state?.queue?.[key] ? undefined : await startedFor(client, batch);
    if (runId !== undefined) return { runId };
    if (state === undefined) {
      if (!silent) onSilence();
      silent = true;
      continue;
    }
    const settled = state.settled?.[key];
    if (settled) return { settled };
    const open = state.open?.[request.target];
    const kept = state.queue?.[key] !== undefined || (open !== undefined && alertKey(open) === key);
    if (!kept && unknown) throw forgotten(request.target);
    unknown = !kept;
  }
}

const forgotten = (target: string): CliError =>
  new CliError(`the request for ${target} waits no longer, and no run of it is the target's latest`, {
    status: EXIT.unknown,
    advice: `Its responder was terminated, or another run came after it: \`salvor list --target ${target}\` shows what has run.`,
  });

/** The run that was started for a request, where it is the latest of its target: also one that has ended meanwhile. */
async function startedFor(client: Client, batch: Batch): Promise<string | undefined> {
  const handle = client.workflow.getHandle(workflowIdOf(batch));
  try {
    const { runId, memo } = await handle.describe();
    if (memo?.['rule'] !== batch.rule.name) return undefined;
    const { alert } = startOf(await client.workflow.getHandle(handle.workflowId, runId).fetchHistory()) ?? {};
    return alert && alertKey(alert) === alertKey(batch.requests[0] ?? alert) ? runId : undefined;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}
