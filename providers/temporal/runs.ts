import {
  type Client,
  isGrpcServiceError,
  ServiceError,
  type WorkflowExecutionInfo,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { remediationId, searchValue, WORKFLOW } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { currentOf, firstOf } from './chain.ts';

/** One remediation or proposal, as `salvor list` shows it. */
export interface Run {
  /** First run ID. */
  id: string;
  /** Of the run with which it goes on, or has ended, where its history had become long and that is not the first. */
  runId?: string;
  workflowId: string;
  target: string;
  rule: string;
  runbook: string;
  mode: string;
  /** An outcome; `running`; or what Temporal says of one that ended without a word (`terminated`, `timed_out`). */
  outcome: string;
  reason?: string;
  /** ISO times. */
  startedAt: string;
  endedAt?: string;
}

/** What narrows a list of runs. */
export interface Filter {
  outcome?: string;
  rule?: string;
  target?: string;
}

/** Characters that a person must give of an ID. */
export const ID_PREFIX = 8;

export { shortId } from '../../model/names.ts';

/** Runs, the latest first, at most `limit`. Filters where the server knows Salvor's attributes, else here. */
export async function listRuns(client: Client, filter: Filter, limit: number): Promise<Run[]> {
  try {
    return await collect(client, queryOf(filter), filter, limit);
  } catch (error) {
    if (!isInvalid(error)) throw error;
    return await collect(client, TYPE, filter, limit);
  }
}

const TYPE = `WorkflowType = '${WORKFLOW.remediation}'`;

function queryOf({ outcome, rule, target }: Filter): string {
  const terms = [TYPE];
  if (rule !== undefined) terms.push(`SalvorRule = ${quote(searchValue(rule))}`);
  if (target !== undefined) terms.push(`SalvorTarget = ${quote(searchValue(target))}`);
  if (outcome === 'running') terms.push(`ExecutionStatus = 'Running'`);
  else if (outcome !== undefined) terms.push(`(SalvorOutcome = ${quote(outcome)} OR SalvorOutcome IS NULL)`);
  return terms.join(' AND ');
}

async function collect(client: Client, query: string, filter: Filter, limit: number): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const info of client.workflow.list({ query, pageSize: 200 })) {
    if (info.status.name === 'CONTINUED_AS_NEW') continue;
    const run = await complete(client, runOf(info));
    if (!matches(run, filter)) continue;
    runs.push(run);
    if (runs.length === limit) break;
  }
  return runs;
}

const matches = (run: Run, { outcome, rule, target }: Filter): boolean =>
  (outcome === undefined || run.outcome === outcome) &&
  (rule === undefined || run.rule === rule) &&
  (target === undefined || run.target === target);

/** A string of Temporal's list filter, which reads strings as SQL does. */
export const quote = (value: string): string => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

function runOf(info: Omit<WorkflowExecutionInfo, 'raw'>): Run {
  const said = (name: string): string | undefined => {
    const value = info.typedSearchAttributes.getAll().find(({ key }) => key.name === name)?.value;
    return typeof value === 'string' ? value : undefined;
  };
  const noted = (name: string): string => {
    const value = info.memo?.[name];
    return typeof value === 'string' ? value : '?';
  };
  const status = info.status.name;
  const first = firstOf(info);
  const [outcome, reason] = [said('SalvorOutcome'), said('SalvorReason')];
  return {
    id: first.id,
    ...(info.runId !== first.id && { runId: info.runId }),
    workflowId: info.workflowId,
    target: noted('target'),
    rule: noted('rule'),
    runbook: noted('runbook'),
    mode: noted('mode'),
    // A run whose end is being told has its outcome, but is not over.
    outcome: status === 'RUNNING' ? 'running' : (outcome ?? status.toLowerCase()),
    // A proposal says what it waits for, and what is done but for what it keeps why it is still open.
    ...(reason !== undefined && (status !== 'RUNNING' || outcome === undefined) && { reason }),
    startedAt: first.startedAt,
    ...(info.closeTime && { endedAt: info.closeTime.toISOString() }),
  };
}

/** Where the server has no search attributes the outcome is in the result alone. */
async function complete(client: Client, run: Run): Promise<Run> {
  if (run.endedAt === undefined || run.reason !== undefined) return run;
  const ending = await endingOf(client, run);
  return ending ? { ...run, outcome: ending.outcome, reason: ending.reason } : run;
}

/** What an ended run came to; undefined where it was terminated, timed out, or its history is gone. */
export async function endingOf(client: Client, run: Pick<Run, 'workflowId' | 'id'>): Promise<Ending | undefined> {
  try {
    return (await client.workflow.getHandle(run.workflowId, run.id).result()) as Ending;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    if (!(error instanceof WorkflowFailedError)) throw error;
    const { cause } = error;
    if (cause instanceof CancelledFailure)
      return { outcome: 'cancelled', reason: cause.message || 'cancelled by a person', changes: [] };
    if (!(cause instanceof ApplicationFailure)) return undefined;
    return (cause.details?.[0] as Ending | undefined) ?? { outcome: 'failed', reason: cause.message, changes: [] };
  }
}

/** What a person's word for a run means: a target key its latest run, anything else the beginning of a run's ID. */
export type Meant = { run: Run } | { several: Run[] } | { none: 'target' | 'id' | 'malformed' };

export async function findMeant(client: Client, meant: string): Promise<Meant> {
  if (meant.includes('/')) {
    const run = await latestOf(client, meant);
    return run ? { run } : { none: 'target' };
  }
  if (!isPrefix(meant)) return { none: 'malformed' };
  return one(await beginning(client, meant)) ?? { none: 'id' };
}

/** As {@link findMeant}, but of several the one that waits for a person; of a target too, whatever has run since. */
export async function findProposal(client: Client, meant: string): Promise<Meant> {
  const open = meant.includes('/')
    ? await listRuns(client, { target: meant, outcome: 'running' }, MOST_MEANT)
    : await beginning(client, meant);
  return one(open.filter(isProposed)) ?? (await findMeant(client, meant));
}

/** Runs looked at for one word. */
const MOST_MEANT = 100;

/** Those whose ID begins so. */
const beginning = (client: Client, prefix: string): Promise<Run[]> =>
  isPrefix(prefix) ? begun(client, prefix) : Promise.resolve([]);

async function begun(client: Client, prefix: string): Promise<Run[]> {
  const runs = new Map<string, Run>();
  const query = `${TYPE} AND RunId STARTS_WITH '${prefix}'`;
  for await (const { workflowId, runId } of client.workflow.list({ query, pageSize: 200 })) {
    const info = await currentOf(client, { workflowId, runId });
    if (info) runs.set(info.runId, await complete(client, runOf(info)));
    if (runs.size === MOST_MEANT) break;
  }
  return [...runs.values()];
}

const isPrefix = (text: string): boolean => /^[0-9a-f-]{8,36}$/.test(text);

/** Whether a run waits for a person, or is about to. */
export const isProposed = ({ mode, outcome, workflowId }: Run): boolean =>
  mode === 'propose' && outcome === 'running' && !workflowId.startsWith(remediationId(''));

function one(found: Run[]): Meant | undefined {
  const [run, other] = found;
  return other ? { several: found.slice(0, 5) } : run && { run };
}

async function latestOf(client: Client, target: string): Promise<Run | undefined> {
  // A describe knows at once of a run that has just started; the list learns of it a moment later.
  const [described, [listed]] = await Promise.all([
    describe(client, remediationId(target)),
    listRuns(client, { target }, 1),
  ]);
  return [described, listed].filter((found) => found !== undefined).sort(byStart)[0];
}

const byStart = (a: Run, b: Run): number => b.startedAt.localeCompare(a.startedAt);

async function describe(client: Client, workflowId: string): Promise<Run | undefined> {
  try {
    return await complete(client, runOf(await client.workflow.getHandle(workflowId).describe()));
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

/** One run, as it stands now. */
export async function readRun(client: Client, workflowId: string, id: string): Promise<Run> {
  const info = await currentOf(client, { workflowId, runId: id });
  if (!info) throw new WorkflowNotFoundError(`Temporal has no run ${id}`, workflowId, id);
  return await complete(client, runOf(info));
}

/** gRPC INVALID_ARGUMENT: here, a query by an attribute that the namespace does not have. */
function isInvalid(error: unknown): boolean {
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) && cause.code === 3;
}
