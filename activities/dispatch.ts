import type { Client } from '@temporalio/client';
import {
  type InternalWorkflowStartOptions,
  InternalWorkflowStartOptionsSymbol,
} from '@temporalio/client/lib/internal.js';
import {
  ApplicationFailure,
  defineSearchAttributeKey,
  SearchAttributeType,
  WorkflowExecutionAlreadyStartedError,
} from '@temporalio/common';
import type {
  DispatchActivities,
  DispatchRequest,
  ProposeActivities,
  Running,
  Start,
  Started,
} from '../model/dispatch.ts';
import { holds } from '../model/gates.ts';
import type { HeraldOrder } from '../model/herald.ts';
import type { GiveBack } from '../model/limits.ts';
import { code, plain } from '../model/markdown.ts';
import {
  DECIDED_MEMO,
  MESSAGE,
  proposalId,
  remediationId,
  type SearchAttribute,
  searchValue,
  WORKFLOW,
} from '../model/names.ts';
import type { RemediationInput } from '../model/remediation.ts';
import type { Mode, Runbook } from '../model/rule.ts';
import { currentOf, withCurrent } from '../providers/temporal/chain.ts';
import { RETRYABLE } from './errors.ts';

export interface DispatchOptions {
  /** On the worker's own NativeConnection, so that the server hands the first task straight back (eager start). */
  client: Client;
  taskQueue: string;
  /** Whether the server knows Salvor's search attributes; without them runs start all the same. */
  searchAttributes: boolean;
  /** Gives slots of the limits of a key back. */
  give: (key: string, back: GiveBack) => Promise<void>;
  /** Raises and clears alerts of Salvor's own. */
  herald: (order: HeraldOrder) => Promise<void>;
}

/**
 * Starts remediations and proposals, tells them of resolved alerts, finds those that ended without a word, gives slots back
 * and escalates.
 */
export function dispatchActivities(options: DispatchOptions): DispatchActivities & ProposeActivities {
  const { client, taskQueue, searchAttributes, give, herald } = options;
  const { workflow } = client;

  async function start(request: DispatchRequest, at: Start): Promise<Started> {
    const { rule, ruleDigest, scope } = request;
    const { target, delivery: _, ...alert } = at.request;
    const { approval } = alert;
    const acts = holds(rule, at.request);
    const input: RemediationInput = {
      target,
      rule,
      ruleDigest,
      scope,
      alert,
      episode: at.episode,
      since: new Date(at.since).toISOString(),
      // Nobody waits to hear of the end of what only observes, but whoever remembers for it.
      ...((rule.mode !== 'observe' || REMEMBERS.has(rule.runbook)) && { responder: request.responder }),
      ...(acts && approval && { approval }),
      ...(at.memory && { memory: at.memory }),
      searchAttributes,
    };
    const mode = acts && approval ? `approved by ${approval.by}` : rule.mode;
    return startIt(input, acts ? remediationId(target) : proposalId(rule.name, target), { mode, memo: rule.mode });
  }

  async function startIt(
    input: RemediationInput,
    workflowId: string,
    { mode, memo }: { mode: string; memo: Mode },
  ): Promise<Started> {
    const { rule, target, alert, episode } = input;
    const options: InternalWorkflowStartOptions & { args: [RemediationInput] } = {
      workflowId,
      taskQueue,
      args: [input],
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      workflowIdConflictPolicy: 'FAIL',
      staticSummary: `${rule.runbook} ${code(target)} (${plain(alert.alertname)}, rule ${rule.name}, ${plain(mode)})`,
      memo: { episode, rule: rule.name, runbook: rule.runbook, mode: memo, target },
      ...(searchAttributes && { typedSearchAttributes: attributes(input) }),
      // The server answers a start with the request ID of the target's latest run, open or closed, with that very run:
      // this activity may run twice, and the episode still starts once.
      [InternalWorkflowStartOptionsSymbol]: { requestId: episode },
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

  async function tell(request: DispatchRequest, running: Running): Promise<void> {
    const workflowId = workflowIdOf(request, running);
    // Where it has ended meanwhile there is nobody left to tell.
    await withCurrent(client, { workflowId, runId: running.runId }, (runId) =>
      workflow.getHandle(workflowId, runId).signal(MESSAGE.resolved),
    );
  }

  async function isOver(request: DispatchRequest, running: Running): Promise<boolean> {
    const { runId } = running;
    const current = await currentOf(client, { workflowId: workflowIdOf(request, running), runId });
    // Undefined: ended so long ago that the server has forgotten it.
    return current?.status.name !== 'RUNNING';
  }

  const workflowIdOf = ({ rule }: DispatchRequest, { target, proposal }: Running): string =>
    proposal ? proposalId(rule.name, target) : remediationId(target);

  return {
    async startProposal(input) {
      const workflowId = proposalId(input.rule.name, input.target);
      const started = await startIt(input, workflowId, { mode: 'an approval is needed', memo: 'propose' });
      if ('started' in started) return started;
      // One that is decided is about to end: it would answer for what it was about, and not for this.
      const { memo, status } = await workflow.getHandle(workflowId).describe();
      if (memo?.[DECIDED_MEMO] !== true && status.name === 'RUNNING') return started;
      throw ApplicationFailure.retryable(`${workflowId} is about to end`, RETRYABLE.conflict);
    },
    async dispatch(request) {
      const [starts, , over] = await Promise.all([
        Promise.all(request.starts.map((at) => start(request, at))),
        Promise.all(request.resolved.map((running) => tell(request, running))),
        Promise.all(request.check.map(async (running) => ((await isOver(request, running)) ? [running] : []))),
        request.herald && herald(request.herald),
      ]);
      // Last, for of all this only it must not be done again with another try.
      const back = Object.entries(request.give ?? {});
      await Promise.all(back.map(([key, slots]) => give(key, { responder: request.responder, ...slots })));
      return { starts, ended: over.flat() };
    },
  };
}

/** Runbooks of which something is remembered from one remediation to the next, also where they only observe. */
const REMEMBERS: ReadonlySet<Runbook> = new Set(['revert-drift']);

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
