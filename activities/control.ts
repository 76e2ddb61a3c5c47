import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  QueryNotRegisteredError,
  type WorkflowExecutionInfo,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { STORM_MEMO } from '../model/clearance.ts';
import { MESSAGE, remediationId, responderId, WORKFLOW } from '../model/names.ts';
import { type ControlActivities, isUnder } from '../model/pause.ts';
import type { LookAgain, ResponderState } from '../model/responder.ts';
import { cancelRun } from '../providers/temporal/cancel.ts';
import { quote } from '../providers/temporal/runs.ts';

/** Signals and cancels under way at once. */
const AT_ONCE = 20;
/** Milliseconds after which the server's list has what started just before. */
const LISTED_WITHIN = 3_000;
/** Milliseconds that a responder has to say what it holds. */
const ANSWER_WITHIN = 5_000;

type Listed = Pick<WorkflowExecutionInfo, 'workflowId' | 'runId' | 'memo'>;

/** What follows an order to pause or to resume. */
export function controlActivities({ client }: { client: Client }): ControlActivities {
  const { workflow } = client;

  async function look({ workflowId, memo }: Listed, prefix: string, resume: LookAgain['resume']): Promise<void> {
    const ends = resume !== undefined && memo?.[STORM_MEMO] != null && (await isWithin(workflowId, prefix));
    const order: LookAgain = ends ? { resume } : {};
    try {
      await workflow.getHandle(workflowId).signal(MESSAGE.look, order);
    } catch (error) {
      // It has ended meanwhile: nothing waits there.
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }

  /** Whether a responder's scope is under a prefix: all that waits or is open there is. */
  async function isWithin(workflowId: string, prefix: string): Promise<boolean> {
    if (prefix === '') return true;
    if (isRule(prefix)) return workflowId.startsWith(respondersOf(prefix));
    try {
      const { queue, open } = await client.withDeadline(Date.now() + ANSWER_WITHIN, () =>
        workflow.getHandle(workflowId).query<ResponderState>(MESSAGE.state),
      );
      const targets = [...Object.values(queue).map(({ target }) => target), ...Object.keys(open)];
      return targets.length > 0 && targets.every((target) => isUnder(target, prefix));
    } catch (error) {
      // It has ended; or the workers' code does not follow its history, and nothing can be decided there.
      if (error instanceof WorkflowNotFoundError || error instanceof QueryNotRegisteredError) return false;
      throw error;
    }
  }

  return {
    async wake({ prefix, resume }) {
      const all = `WorkflowType = '${WORKFLOW.responder}' AND ExecutionStatus = 'Running'`;
      const query = isRule(prefix) ? `${all} AND WorkflowId STARTS_WITH ${quote(respondersOf(prefix))}` : all;
      await each(workflow.list({ query, pageSize: 500 }), (responder) => look(responder, prefix, resume));
    },

    async undo({ prefix, by, reason }) {
      // By the Workflow ID, which has the whole key, and on every server: a search attribute may be cut, or not be there.
      const all = `WorkflowType = '${WORKFLOW.remediation}' AND ExecutionStatus = 'Running'`;
      const query = `${all} AND WorkflowId STARTS_WITH ${quote(remediationId(isRule(prefix) ? '' : prefix))}`;
      const seen = new Set<string>();
      let cancelled = 0;
      const cancel = async ({ workflowId, runId: id, memo }: Listed): Promise<void> => {
        const target = workflowId.slice(remediationId('').length);
        const isMeant = isRule(prefix) ? prefix === `rule/${memo?.['rule']}` : isUnder(target, prefix);
        if (!isMeant || seen.has(id)) return;
        seen.add(id);
        if (await cancelRun(client, { workflowId, id }, { by, reason: reason || 'paused, and to be undone' }))
          cancelled += 1;
      };
      await each(workflow.list({ query, pageSize: 500 }), cancel);
      // Twice: the server lists a run a moment after it has started, and it may have cut before the pause.
      await sleep(LISTED_WITHIN);
      await each(workflow.list({ query, pageSize: 500 }), cancel);
      return cancelled;
    },
  };
}

const isRule = (prefix: string): boolean => prefix.startsWith('rule/');

/** The Workflow IDs of a rule's responders begin so. */
const respondersOf = (prefix: string): string => responderId(prefix.slice('rule/'.length), '');

/** Page by page, some at once. */
async function each<T>(items: AsyncIterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  let some: T[] = [];
  const done = async (): Promise<void> => {
    await Promise.all(some.map(work));
    some = [];
  };
  for await (const item of items) {
    some.push(item);
    if (some.length === AT_ONCE) await done();
  }
  await done();
}
