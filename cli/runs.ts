import {
  type Client,
  isGrpcServiceError,
  ServiceError,
  type WorkflowExecutionInfo,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { InputError } from '../model/input-error.ts';
import { remediationId, searchValue, WORKFLOW } from '../model/names.ts';
import type { Ending } from '../model/remediation.ts';
import { defaultScope, parseTarget } from '../model/target.ts';
import { allPending, type Pending, sentenceOf } from './pending.ts';
import { CliError, EXIT } from './status.ts';

/** One remediation or proposal, as `salvor list` shows it. */
export interface Run {
  /** First run ID. */
  id: string;
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

export interface Filter {
  outcome?: string;
  rule?: string;
  target?: string;
}

/** Characters that a person must give of an ID. */
const PREFIX = 8;

/** What is shown of an ID. Temporal's begin with the time (UUID v7), so that the first 8 are those of a whole minute. */
export const shortId = (id: string): string => id.slice(0, 18);

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
const quote = (value: string): string => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

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
  const reason = said('SalvorReason');
  return {
    id: info.runId,
    workflowId: info.workflowId,
    target: noted('target'),
    rule: noted('rule'),
    runbook: noted('runbook'),
    mode: noted('mode'),
    // A run whose end is being told has its outcome, but is not over.
    outcome: status === 'RUNNING' ? 'running' : (said('SalvorOutcome') ?? status.toLowerCase()),
    ...(reason !== undefined && status !== 'RUNNING' && { reason }),
    startedAt: info.startTime.toISOString(),
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

/**
 * Finds the run that a person means: a target key means its latest run, anything else the beginning of a run's ID.
 *
 * @throws CliError where none or more than one is meant
 */
export async function findRun(client: Client, meant: string): Promise<Run> {
  if (meant.includes('/')) return await latestOf(client, meant);
  if (!/^[0-9a-f-]{8,36}$/.test(meant)) {
    throw new CliError(`"${meant}" names no run`, {
      status: EXIT.usage,
      advice: `Give a target key (k8s/prod/shop/pod/web-0) or at least ${PREFIX} characters of an ID from \`salvor list\`.`,
    });
  }
  const found = await collect(client, `${TYPE} AND RunId STARTS_WITH '${meant}'`, {}, 5);
  const [run, other] = found;
  if (other) {
    const which = found.map(({ id, target, outcome }) => `  ${id}  ${outcome}  ${target}`).join('\n');
    throw new CliError(`"${meant}" begins the ID of more than one run:\n${which}`, {
      status: EXIT.usage,
      advice: 'Give more characters of it.',
    });
  }
  if (!run) throw new UnknownRunError(meant);
  return run;
}

/** No run that Temporal still keeps has such an ID. */
export class UnknownRunError extends CliError {
  constructor(meant: string) {
    super(`no run has an ID that begins with "${meant}"`, {
      status: EXIT.failed,
      advice: '`salvor list` shows the runs that there are.',
    });
  }
}

async function latestOf(client: Client, target: string): Promise<Run> {
  // A describe knows at once of a run that has just started; the list learns of it a moment later.
  const [described, [listed]] = await Promise.all([
    describe(client, remediationId(target)),
    listRuns(client, { target }, 1),
  ]);
  const run = [described, listed].filter((found) => found !== undefined).sort(byStart)[0];
  if (run) return run;
  throw await noRun(client, target);
}

/** A target of which there is no run, and what its responders know of it. */
export class NoRunError extends CliError {
  readonly target: string;
  /** Requests for it that wait; or that were refused, in its scope where it is not kept of what. */
  readonly pending: Pending[];

  constructor(target: string, pending: Pending[], unasked: number) {
    const waits = pending.some(({ outcome }) => outcome === 'waiting');
    const known = pending.map((one) => `\n  rule ${one.rule} in ${one.scope ?? '?'} ${sentenceOf(one)}`).join('');
    super(`no run for the target ${target}${waits ? ' yet' : ''}${known}`, {
      status: pending.length > 0 && !waits ? EXIT.refused : EXIT.failed,
      advice:
        (waits ? STARTS_ITSELF : '`salvor list` shows the targets that there are.') +
        (unasked > 0 ? ` ${unasked} responders did not answer or were not asked.` : ''),
    });
    this.target = target;
    this.pending = pending;
  }
}

/** What waits for a gate about a target that has a run already: it is not in the story of that run. */
export async function waitingAbout(client: Client, target: string): Promise<Pending[]> {
  const { pending } = await allPending(client);
  return pending.filter((one) => one.outcome === 'waiting' && one.target === target);
}

/** One sentence for each of them. */
export const waitingLines = (waiting: Pending[]): string[] =>
  waiting.map((one) => `another request about it, of rule ${one.rule} in ${one.scope ?? '?'}, ${sentenceOf(one)}`);

export const STARTS_ITSELF =
  'It starts by itself when that ends, and is dropped when its alert resolves; docs/operations.md says how to stop a rule.';

async function noRun(client: Client, target: string): Promise<NoRunError> {
  const { pending, unasked } = await allPending(client);
  const scope = scopeOf(target);
  const about = pending.filter((one) => (one.target === undefined ? one.scope === scope : one.target === target));
  return new NoRunError(target, about.slice(0, 5), unasked);
}

/** The scope that a target has by default; undefined where it is no target. */
function scopeOf(key: string): string | undefined {
  try {
    return defaultScope(parseTarget(key));
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
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
  return await complete(client, runOf(await client.workflow.getHandle(workflowId, id).describe()));
}

/** gRPC INVALID_ARGUMENT: here, a query by an attribute that the namespace does not have. */
function isInvalid(error: unknown): boolean {
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) && cause.code === 3;
}

/** The exit status that tells a script how a run ended. */
export function statusOf(outcome: string): (typeof EXIT)[keyof typeof EXIT] {
  if (outcome === 'refused') return EXIT.refused;
  return ['remediated', 'recovered', 'not-needed', 'observed'].includes(outcome) ? EXIT.done : EXIT.failed;
}
