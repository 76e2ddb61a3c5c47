import { setTimeout as delay } from 'node:timers/promises';
import { type Client, type WorkflowExecutionInfo, WorkflowNotFoundError } from '@temporalio/client';
import type { Pauses } from '../activities/pauses.ts';
import { STORM_MEMO } from '../model/clearance.ts';
import { HERALD_ID, WORKFLOW } from '../model/names.ts';
import { standing as pausesStanding } from '../model/pause.ts';
import { OPEN_MEMO, type OpenMemo, WAITING_MEMO, type WaitingMemo } from '../model/standing.ts';

/** Milliseconds for which an answer is good: a scrape asks once, however many metrics it has. */
export const FRESH = 15_000;
/** Milliseconds that Temporal has to answer; Prometheus waits for ten seconds. */
const WITHIN = 5_000;
/** Workflows of one type that are looked at, the youngest first. */
const MOST = 5_000;

/** So many, and the longest since then (milliseconds since the epoch). */
export interface Waiting {
  count: number;
  oldest: number;
}

/** What stands in Temporal now, of all workers. By rule where it is of one. */
export interface Standing {
  /** Open remediations, which hold their target. */
  inFlight: Record<string, number>;
  /** Requests that wait in responders. */
  queues: Record<string, Waiting>;
  /** Proposals that wait for a person. */
  approvals: Record<string, Waiting>;
  /** Scopes that are held. */
  storms: Record<string, number>;
  /** Clusters and accounts that are held by the limits over all rules. */
  limitsStorms: number;
  pauses?: Waiting;
  /** Escalations that are open. */
  escalations: number;
}

/**
 * Reads what stands, as it was at most 15 s ago: by memos, so that no workflow is asked and no worker need answer.
 *
 * @throws where Temporal does not answer within five seconds
 */
export function standingOf(client: Client, pauses: Pauses): () => Promise<Standing> {
  let latest: { at: number; standing: Promise<Standing> } | undefined;
  return () => {
    const now = Date.now();
    if (latest === undefined || now - latest.at > FRESH) {
      const standing = inTime(client, () => read(client, pauses));
      latest = { at: now, standing };
      // What failed is not remembered.
      standing.catch(() => {
        if (latest?.standing === standing) latest = undefined;
      });
    }
    return latest.standing;
  };
}

async function read(client: Client, pauses: Pauses): Promise<Standing> {
  const [runs, responders, limits, paused, escalations] = await Promise.all([
    open(client, WORKFLOW.remediation),
    open(client, WORKFLOW.responder),
    open(client, WORKFLOW.limits),
    pauses(FRESH),
    openEscalations(client),
  ]);
  const remediations = runs.filter(({ workflowId }) => workflowId.startsWith('remediation/'));
  const proposals = runs.filter(
    ({ workflowId, memo }) => workflowId.startsWith('proposal/') && memo?.['mode'] === 'propose',
  );
  const waiting = responders.flatMap((one) => {
    const memo = one.memo?.[WAITING_MEMO] as WaitingMemo | null | undefined;
    return memo ? [{ rule: ruleOf(one), count: memo.count, oldest: Date.parse(memo.oldest) }] : [];
  });
  const stands = pausesStanding(paused, Date.now());
  const held = (one: WorkflowExecutionInfo): boolean => Boolean(one.memo?.[STORM_MEMO]);
  return {
    inFlight: countBy(remediations.map((one) => String(one.memo?.['rule'] ?? ''))),
    queues: addUp(waiting),
    approvals: addUp(proposals.map((one) => ({ rule: ruleOf(one), count: 1, oldest: one.startTime.getTime() }))),
    storms: countBy(responders.filter(held).map(ruleOf)),
    limitsStorms: limits.filter(held).length,
    ...(stands.length > 0 && {
      pauses: { count: stands.length, oldest: Math.min(...stands.map(({ since }) => Date.parse(since))) },
    }),
    escalations,
  };
}

async function open(client: Client, type: string): Promise<WorkflowExecutionInfo[]> {
  const query = `WorkflowType = '${type}' AND ExecutionStatus = 'Running'`;
  const found: WorkflowExecutionInfo[] = [];
  for await (const one of client.workflow.list({ query, pageSize: 1_000 })) {
    found.push(one);
    if (found.length >= MOST) break;
  }
  return found;
}

async function openEscalations(client: Client): Promise<number> {
  try {
    const { status, memo } = await client.workflow.getHandle(HERALD_ID).describe();
    // It ends when nothing is open any more.
    return status.name === 'RUNNING' ? ((memo?.[OPEN_MEMO] as OpenMemo | undefined)?.escalations ?? 0) : 0;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 0;
    throw error;
  }
}

/** `responder/<rule>/…`, `proposal/<rule>/…` */
const ruleOf = ({ workflowId }: WorkflowExecutionInfo): string => workflowId.split('/')[1] ?? '';

function countBy(rules: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const rule of rules) counts[rule] = (counts[rule] ?? 0) + 1;
  return counts;
}

function addUp(all: (Waiting & { rule: string })[]): Record<string, Waiting> {
  const sums: Record<string, Waiting> = {};
  for (const { rule, count, oldest } of all) {
    const sum = sums[rule] ?? { count: 0, oldest };
    sums[rule] = { count: sum.count + count, oldest: Math.min(sum.oldest, oldest) };
  }
  return sums;
}

/** The native client goes on trying for seconds after the deadline, which no scrape waits for. */
export function inTime<T>(client: Client, ask: () => Promise<T>): Promise<T> {
  const late = delay(WITHIN, undefined, { ref: false }).then(() => {
    throw new Error(`Temporal does not answer within ${WITHIN} ms`);
  });
  return Promise.race([client.withDeadline(Date.now() + WITHIN, ask), late]);
}
