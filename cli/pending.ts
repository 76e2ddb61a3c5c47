import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { AuditLine } from '../audit/store.ts';
import { MESSAGE, WORKFLOW } from '../model/names.ts';
import type { ResponderState } from '../model/responder.ts';
import { isUnanswered } from './silence.ts';
import { clock, localized } from './times.ts';

/** A request that has no run: it waits for a gate, or one has refused it. */
export interface Pending {
  outcome: 'waiting' | 'refused';
  rule: string;
  /** Absent where the audit store tells of it. */
  scope?: string;
  /** Absent where its responder has kept the refusal, but not of what. */
  target?: string;
  gate?: string;
  reason: string;
  /** ISO time since which it waits, or at which it was refused; absent where its responder has not kept it. */
  since?: string;
}

export interface AllPending {
  pending: Pending[];
  /** Responders that were not asked, for there are too many; or that no worker answered for. */
  unasked: number;
  /** Whether there are responders, and no worker answered for any of them. */
  silent: boolean;
}

/** Responders asked at most: each costs a query. */
const MOST = 200;
const AT_ONCE = 20;
/** Milliseconds that a responder has to answer; without a worker the server lets a query hang. */
const ANSWER_WITHIN = 3_000;

/** Asks the responders that run what waits at them, and what they have refused; the longest wait first. */
export async function allPending(client: Client): Promise<AllPending> {
  const query = `WorkflowType = '${WORKFLOW.responder}' AND ExecutionStatus = 'Running'`;
  const ids: string[] = [];
  let unasked = 0;
  for await (const { workflowId } of client.workflow.list({ query, pageSize: MOST + 1 })) {
    if (ids.length < MOST) ids.push(workflowId);
    else {
      // How many more there are is not worth reading them all.
      unasked = Math.max(1, (await client.workflow.count(query)).count - MOST);
      break;
    }
  }
  const pending: Pending[] = [];
  let answered = 0;
  while (ids.length > 0) {
    const some = ids.splice(0, AT_ONCE);
    const states = await Promise.all(some.map((id) => stateOf(client, id)));
    states.forEach((state, at) => {
      if (state) {
        pending.push(...pendingOf(some[at] ?? '', state));
        answered += 1;
      } else unasked += 1;
    });
    // Where no worker answers for any of them, none will for the others.
    if (states.every((state) => state === undefined)) {
      unasked += ids.length;
      break;
    }
  }
  return { pending: pending.sort(byTime), unasked, silent: unasked > 0 && answered === 0 };
}

const byTime = (a: Pending, b: Pending): number => (a.since ?? '~').localeCompare(b.since ?? '~');

/** @returns undefined where no worker answers; an empty state where it has just ended */
export async function stateOf(client: Client, workflowId: string): Promise<Partial<ResponderState> | undefined> {
  try {
    return await client.withDeadline(Date.now() + ANSWER_WITHIN, () =>
      client.workflow.getHandle(workflowId).query<ResponderState>(MESSAGE.state),
    );
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return {};
    if (isUnanswered(error)) return undefined;
    throw error;
  }
}

function pendingOf(workflowId: string, { queue = {}, settled = {} }: Partial<ResponderState>): Pending[] {
  const [, rule = '', scope = ''] = workflowId.split('/');
  const at = { rule, scope: decodeURIComponent(scope) };
  const waiting = Object.values(queue).map(
    ({ target, gate, reason, since }): Pending => ({
      outcome: 'waiting',
      ...at,
      target,
      gate,
      reason,
      since: new Date(since).toISOString(),
    }),
  );
  const refused = Object.values(settled)
    .filter(({ outcome, reason }) => outcome === 'refused' && reason !== undefined)
    .map(({ reason = '' }): Pending => ({ outcome: 'refused', ...at, reason }));
  return [...waiting, ...refused];
}

/**
 * Refusals of both sources, each once: a responder has forgotten target and time of those that it remembers, so that the
 * record of the same tells more.
 *
 * @param recorded lines of the audit store; the reason of a line begins with its gate
 */
export function mergeRefusals(remembered: Pending[], recorded: AuditLine[]): Pending[] {
  const isRecorded = ({ outcome, rule, reason }: Pending): boolean =>
    outcome === 'refused' && recorded.some((line) => line.rule === rule && line.reason.endsWith(reason));
  const told = recorded.map(
    ({ rule, target, reason, at }): Pending => ({
      outcome: 'refused',
      rule,
      ...(target !== undefined && { target }),
      reason,
      since: at,
    }),
  );
  return [...remembered.filter((one) => !isRecorded(one)), ...told];
}

/** `waits since 17:52:03 (in-flight): 1 of at most 1 …`, or `refused: …` */
export const sentenceOf = ({ outcome, gate, since, reason }: Pending): string =>
  outcome === 'refused'
    ? `refused: ${localized(reason)}`
    : `waits since ${clock(since ?? 0)} (${gate}): ${localized(reason)}`;
