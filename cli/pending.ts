import { type Client, QueryNotRegisteredError, WorkflowNotFoundError } from '@temporalio/client';
import type { AuditLine } from '../audit/store.ts';
import { MESSAGE, WORKFLOW } from '../model/names.ts';
import type { ResponderState } from '../model/responder.ts';
import { isUnanswered } from './silence.ts';
import { clock, dateAndTime, localized } from './times.ts';

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

/** A responder that holds everything in its scope, or has slots of the limits. */
export interface Scope {
  rule: string;
  scope: string;
  storm?: NonNullable<ResponderState['storm']>;
  /** By key of the limits. */
  slots?: Record<string, number>;
}

export interface AllPending {
  pending: Pending[];
  scopes: Scope[];
  /** Responders that were not asked, for there are too many; or that no worker answered for. */
  unasked: number;
  /** Workflow IDs of those whose history the workers' code does not follow: nothing is decided there. */
  diverged: string[];
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
  const scopes: Scope[] = [];
  const diverged: string[] = [];
  let answered = 0;
  while (ids.length > 0) {
    const some = ids.splice(0, AT_ONCE);
    const states = await Promise.all(some.map((id) => stateOf(client, id).catch(whetherDiverged)));
    states.forEach((state, at) => {
      const id = some[at] ?? '';
      if (state === 'diverged') {
        diverged.push(id);
        answered += 1;
      } else if (state) {
        const where = placeOf(id);
        pending.push(...pendingOf(where, state));
        scopes.push(...scopeOf(where, state));
        answered += 1;
      } else unasked += 1;
    });
    // Where no worker answers for any of them, none will for the others.
    if (states.every((state) => state === undefined)) {
      unasked += ids.length;
      break;
    }
  }
  return { pending: pending.sort(byTime), scopes, unasked, diverged, silent: unasked > 0 && answered === 0 };
}

const byTime = (a: Pending, b: Pending): number => (a.since ?? '~').localeCompare(b.since ?? '~');

/** A worker that cannot replay a history answers no query about it. */
function whetherDiverged(error: unknown): 'diverged' {
  if (error instanceof QueryNotRegisteredError) return 'diverged';
  throw error;
}

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

type Place = Pick<Scope, 'rule' | 'scope'>;

function placeOf(workflowId: string): Place {
  const [, rule = '', scope = ''] = workflowId.split('/');
  return { rule, scope: decodeURIComponent(scope) };
}

function scopeOf(at: Place, { storm, slots = {} }: Partial<ResponderState>): Scope[] {
  const taken = Object.entries(slots).filter(([, count]) => count > 0);
  if (!storm && taken.length === 0) return [];
  return [{ ...at, ...(storm && { storm }), ...(taken.length > 0 && { slots: Object.fromEntries(taken) }) }];
}

/** What a scope is held by, or holds, for people. */
export const scopeLines = ({ rule, scope, storm, slots = {} }: Scope): string[] => [
  ...(storm
    ? [
        `storm in ${scope} (rule ${rule}) since ${dateAndTime(storm.since)}: ${localized(storm.why)}; \`salvor resume rule/${rule}\` ends it at once`,
      ]
    : []),
  ...Object.entries(slots).map(
    ([key, count]) =>
      `rule ${rule} in ${scope} has ${count === 1 ? '1 slot' : `${count} slots`} of the limits of ${key}`,
  ),
];

function pendingOf(at: Place, { queue = {}, settled = {} }: Partial<ResponderState>): Pending[] {
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
