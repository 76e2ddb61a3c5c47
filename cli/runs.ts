import type { Client } from '@temporalio/client';
import { InputError } from '../model/input-error.ts';
import { defaultScope, parseTarget } from '../model/target.ts';
import { findMeant, findProposal, ID_PREFIX, type Meant, type Run } from '../providers/temporal/runs.ts';
import { allPending, type Pending, sentenceOf } from './pending.ts';
import { CliError, EXIT } from './status.ts';

export { endingOf, type Filter, listRuns, type Run, readRun, shortId } from '../providers/temporal/runs.ts';

/**
 * Finds the run that a person means: a target key means its latest run, anything else the beginning of a run's ID.
 *
 * @throws CliError where none or more than one is meant
 */
export async function findRun(client: Client, meant: string): Promise<Run> {
  return await runOf(client, meant, await findMeant(client, meant));
}

/** As {@link findRun}, of a target the proposal that waits for a person. */
export async function findProposed(client: Client, meant: string): Promise<Run> {
  return await runOf(client, meant, await findProposal(client, meant));
}

async function runOf(client: Client, meant: string, found: Meant): Promise<Run> {
  if ('run' in found) return found.run;
  if ('several' in found) {
    const which = found.several.map(({ id, target, outcome }) => `  ${id}  ${outcome}  ${target}`).join('\n');
    throw new CliError(`"${meant}" means more than one run:\n${which}`, {
      status: EXIT.usage,
      advice: 'Give its ID, or more characters of it.',
    });
  }
  if (found.none === 'target') throw await noRun(client, meant);
  if (found.none === 'id') throw new UnknownRunError(meant);
  throw new CliError(`"${meant}" names no run`, {
    status: EXIT.usage,
    advice: `Give a target key (k8s/prod/shop/pod/web-0) or at least ${ID_PREFIX} characters of an ID from \`salvor list\`.`,
  });
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

/** The exit status that tells a script how a run ended. */
export function statusOf(outcome: string): (typeof EXIT)[keyof typeof EXIT] {
  if (outcome === 'refused') return EXIT.refused;
  return ['remediated', 'recovered', 'not-needed', 'observed'].includes(outcome) ? EXIT.done : EXIT.failed;
}
