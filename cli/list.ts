import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { type Command, Option } from 'commander';
import type { AuditLine, AuditStore } from '../audit/store.ts';
import { count, SHOWN_OUTCOMES } from './audit-filter.ts';
import { action, type Context } from './command.ts';
import { note, paint, print, printJson, table } from './output.ts';
import type { Pending } from './pending.ts';
import type { Filter, Run } from './runs.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

export function list(program: Command): void {
  program
    .command('list')
    .description('what waits, what runs, and what came of the others or was refused, the latest first')
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices(SHOWN_OUTCOMES))
    .option('--rule <name>', 'only of this rule')
    .option('--target <key>', 'only of this target')
    .option('--limit <n>', 'at most so many', count, 20)
    .action(action(show));
}

interface Options extends Filter {
  limit: number;
}

type Row = Pending | Run;

async function show(context: Context, options: Options): Promise<ExitStatus> {
  const [{ loadConfig }, { reached, withStore }, { withClient }] = await Promise.all([
    import('./configuration.ts'),
    import('./store.ts'),
    import('./temporal.ts'),
  ]);
  const { config } = await loadConfig(context);
  const kept = await reached(withStore(config, (store) => ofStore(store, options)));
  const recorded = kept.answer ?? { runs: [], refused: [] };
  const open = await reached(withClient(config, (client) => ofTemporal(client, options, recorded.runs)));
  if (kept.out && open.out) {
    throw new CliError(`${open.out.message}, and ${kept.out.message}`, {
      status: EXIT.unknown,
      ...(open.out.advice !== undefined && { advice: open.out.advice }),
      cause: open.out,
    });
  }
  if (kept.out) note(`${kept.out.message}: only what Temporal still keeps is shown`);
  if (open.out) note(`${open.out.message}: what waits is not shown, and what runs is shown as it was last recorded`);
  const all = await merge(open.answer ?? { pending: [], runs: [] }, recorded, open.answer !== undefined);
  const rows = all.slice(0, options.limit);
  if (context.json) printJson(rows);
  else if (rows.length === 0) note('no runs');
  else print(...(await lines(rows)));
  const waiting = all.slice(options.limit).filter(({ outcome }) => outcome === 'waiting').length;
  if (waiting > 0) note(`and ${waiting} more that wait: --limit N`);
  return EXIT.done;
}

interface Recorded {
  runs: Run[];
  refused: AuditLine[];
}

/** What the audit store has, at least as much as is asked for. */
async function ofStore(store: AuditStore, { limit, outcome, rule, target }: Options): Promise<Recorded> {
  if (outcome === 'waiting') return { runs: [], refused: [] };
  const { runOf } = await import('./audit-story.ts');
  const filter = { ...(rule !== undefined && { rule }), ...(target !== undefined && { target }) };
  const refusals = outcome === undefined || outcome === 'refused';
  const [streams, refused] = await Promise.all([
    store.streams({ ...filter, ...(outcome !== undefined && { outcome }), limit }),
    // More than are shown: a responder remembers those of a day.
    refusals ? store.list({ ...filter, outcome: 'refused', limit: Math.max(limit, 1_000) }) : [],
  ]);
  return { runs: streams.map(runOf), refused: refused.filter(({ kind }) => kind === 'decision') };
}

/** What Temporal knows, of those too that the store takes for running. */
async function ofTemporal(
  client: Client,
  options: Options,
  recorded: Run[],
): Promise<{ pending: Pending[]; runs: Run[] }> {
  const { limit, ...filter } = options;
  const { listRuns, readRun } = await import('./runs.ts');
  const [pending, listed] = await Promise.all([
    pendingOf(client, filter),
    filter.outcome === 'waiting' ? [] : listRuns(client, filter, limit),
  ]);
  const known = new Set(listed.map(({ id }) => id));
  const doubtful = recorded.filter(({ id, outcome }) => outcome === 'running' && !known.has(id));
  const looked = await Promise.all(
    doubtful.map(async (run): Promise<Run> => {
      try {
        return await readRun(client, run.workflowId, run.id);
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error;
        return { ...run, reason: 'its end is not on record, and Temporal knows it no more' };
      }
    }),
  );
  const still = looked.filter((run) => filter.outcome === undefined || run.outcome === filter.outcome);
  return { pending, runs: [...listed, ...still] };
}

/** What has no run yet, or never had one; its responders are asked only where the filter lets it through. */
async function pendingOf(client: Client, { outcome, rule, target }: Filter): Promise<Pending[]> {
  if (outcome !== undefined && outcome !== 'waiting' && outcome !== 'refused') return [];
  const { allPending } = await import('./pending.ts');
  const { pending, unasked, silent } = await allPending(client);
  if (silent) note('no worker answers (is `salvor worker` or `salvor up` running?): what waits is not shown');
  else if (unasked > 0) note(`${unasked} responders did not answer or were not asked: what waits there is not shown`);
  return pending.filter(
    (one) =>
      (outcome === undefined || one.outcome === outcome) &&
      (rule === undefined || one.rule === rule) &&
      (target === undefined || one.target === target),
  );
}

/**
 * Both sources in one order, each run once: of one that has ended the record tells most, of one that has not, Temporal.
 *
 * @param asked whether Temporal answered
 */
async function merge(open: { pending: Pending[]; runs: Run[] }, recorded: Recorded, asked: boolean): Promise<Row[]> {
  const { mergeRefusals } = await import('./pending.ts');
  const runs = new Map(open.runs.map((run) => [run.id, run]));
  for (const run of recorded.runs) if (run.endedAt !== undefined || !asked) runs.set(run.id, run);
  return [...mergeRefusals(open.pending, recorded.refused), ...runs.values()].sort(byTime);
}

const isOpen = ({ outcome }: Row): boolean => outcome === 'waiting' || outcome === 'running';
const timeOf = (row: Row): string => ('startedAt' in row ? row.startedAt : (row.since ?? ''));

/** What is open first, whatever came after it; then the latest first. */
const byTime = (a: Row, b: Row): number => Number(isOpen(b)) - Number(isOpen(a)) || timeOf(b).localeCompare(timeOf(a));

async function lines(rows: Row[]): Promise<string[]> {
  const [{ lasted, paintOutcome }, { printable }, { shortId }, times] = await Promise.all([
    import('./story.ts'),
    import('./report/text.ts'),
    import('./runs.ts'),
    import('./times.ts'),
  ]);
  const { dateAndTime, zone } = times;
  const localized = (text: string): string => times.localized(printable(text));
  const head = ['ID', `STARTED (${zone()})`, 'TOOK', 'OUTCOME', 'RULE', 'TARGET', 'REASON'];
  const now = new Date().toISOString();
  const cells = rows.map((row) => {
    if ('startedAt' in row) {
      const { id, startedAt, endedAt = now, outcome, rule, target, reason = '' } = row;
      return [
        shortId(id),
        dateAndTime(startedAt),
        lasted(startedAt, endedAt),
        outcome,
        rule,
        target,
        localized(reason),
      ];
    }
    const { outcome, since, rule, target, scope = '?', gate, reason } = row;
    const took = since !== undefined && outcome === 'waiting' ? lasted(since, now) : '-';
    const why = `${gate ? `${gate}: ` : ''}${localized(reason)}`;
    return ['-', since ? dateAndTime(since) : '-', took, outcome, rule, target ?? `in ${scope}`, why];
  });
  return table([head, ...cells], (text, column, row) => {
    if (row === 0) return paint('bold', text);
    if (column === 3) return paintOutcome(text);
    return column === 1 || column === 2 ? paint('dim', text) : text;
  });
}
