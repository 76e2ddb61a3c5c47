import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { type Command, Option } from 'commander';
import type { AuditLine, AuditStore } from '../audit/store.ts';
import type { Pause } from '../model/pause.ts';
import { count, SHOWN_OUTCOMES } from './audit-filter.ts';
import { action, type Context } from './command.ts';
import { note, paint, print, printJson, table } from './output.ts';
import type { Pending, Scope } from './pending.ts';
import type { Filter, Run } from './runs.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

export function list(program: Command): void {
  program
    .command('list')
    .description('what is paused, what waits, what runs, and what came of the others or was refused, the latest first')
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices(SHOWN_OUTCOMES))
    .option('--rule <name>', 'only of this rule')
    .option('--target <key>', 'only of this target')
    .option('--limit <n>', 'at most so many', count, 20)
    .action(action(show));
}

interface Options extends Filter {
  limit: number;
}

/** A run that only observed, and what it would have done. */
type Listed = Run & { plan?: string[] };
type Row = Pending | Listed;

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
  const { pauses, scopes, ...now } = open.answer ?? { pauses: [], scopes: [], pending: [], runs: [] };
  const all = await merge(now, recorded, open.answer !== undefined);
  const rows = all.slice(0, options.limit);
  if (context.json) printJson([...pauses.map((one) => ({ outcome: 'paused', ...one })), ...stormRows(scopes), ...rows]);
  else {
    const isShort = now.pending.some(({ gate }) => gate === 'limits');
    // Who has the slots is of interest to who waits for one.
    const held = await standing(pauses, isShort ? scopes : scopes.map(({ slots: _, ...scope }) => scope));
    if (held.length > 0) print(...held.map((line) => paint('yellow', line)));
    if (rows.length === 0) note('no runs');
    else print(...(await lines(rows)));
  }
  const waiting = all.slice(options.limit).filter(({ outcome }) => outcome === 'waiting').length;
  if (waiting > 0) note(`and ${waiting} more that wait: --limit N`);
  return EXIT.done;
}

/** What holds others back, one line each. */
async function standing(pauses: Pause[], scopes: Scope[]): Promise<string[]> {
  const [{ describePause }, { scopeLines }, { printable }, { localized }] = await Promise.all([
    import('../model/pause.ts'),
    import('./pending.ts'),
    import('./report/text.ts'),
    import('./times.ts'),
  ]);
  return [...pauses.map((one) => localized(describePause(one))), ...scopes.flatMap(scopeLines)].map(printable);
}

const stormRows = (scopes: Scope[]) =>
  scopes.flatMap(({ rule, scope, storm }) => (storm ? [{ outcome: 'storm', rule, scope, ...storm }] : []));

interface Recorded {
  runs: Listed[];
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
  const runs: Listed[] = [];
  for (const run of streams.map(runOf)) {
    const records = run.outcome === 'observed' ? await store.records(run.id) : [];
    const plan = records.flatMap(({ entry }) => (entry.kind === 'ended' ? (entry.plan ?? []) : []));
    runs.push({ ...run, ...(plan.length > 0 && { plan }) });
  }
  return { runs, refused: refused.filter(({ kind }) => kind === 'decision') };
}

interface Current {
  pauses: Pause[];
  scopes: Scope[];
  pending: Pending[];
  runs: Listed[];
}

/** What Temporal knows, of those too that the store takes for running. */
async function ofTemporal(client: Client, options: Options, recorded: Run[]): Promise<Current> {
  const { limit, ...filter } = options;
  const { listRuns, readRun } = await import('./runs.ts');
  const [pauses, { pending, scopes }, listed] = await Promise.all([
    pausesOf(client, filter),
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
  const told = new Set(recorded.flatMap(({ id, endedAt }) => (endedAt === undefined ? [] : [id])));
  const runs = await Promise.all([...listed, ...still].map((run) => (told.has(run.id) ? run : withPlan(client, run))));
  return { pauses, scopes, pending, runs };
}

async function withPlan(client: Client, run: Run): Promise<Listed> {
  if (run.outcome !== 'observed') return run;
  const { endingOf } = await import('./runs.ts');
  const plan = (await endingOf(client, run))?.plan;
  return { ...run, ...(plan && { plan }) };
}

/** Those that stand, of those that concern what is asked for. */
async function pausesOf(client: Client, { outcome, rule, target }: Filter): Promise<Pause[]> {
  if (outcome !== undefined && outcome !== 'waiting') return [];
  const [{ isUnder, standing }, { readPauses }] = await Promise.all([
    import('../model/pause.ts'),
    import('../providers/temporal/pauses.ts'),
  ]);
  const concerns = ({ prefix }: Pause): boolean =>
    (rule === undefined || !prefix.startsWith('rule/') || prefix === `rule/${rule}`) &&
    (target === undefined || prefix.startsWith('rule/') || isUnder(target, prefix));
  return standing(await readPauses(client), Date.now()).filter(concerns);
}

/** What has no run yet, or never had one; its responders are asked only where the filter lets it through. */
async function pendingOf(
  client: Client,
  { outcome, rule, target }: Filter,
): Promise<Pick<Current, 'pending' | 'scopes'>> {
  if (outcome !== undefined && outcome !== 'waiting' && outcome !== 'refused') return { pending: [], scopes: [] };
  const { allPending } = await import('./pending.ts');
  const { pending, scopes, unasked, diverged, silent } = await allPending(client);
  if (silent) note('no worker answers (is `salvor worker` or `salvor up` running?): what waits is not shown');
  else if (unasked > 0) note(`${unasked} responders did not answer or were not asked: what waits there is not shown`);
  for (const id of diverged)
    note(
      `${id} stands still, for its history does not fit the code of the workers: what waits there is not shown. Where they differ: \`salvor replay ${id}\``,
    );
  const meant = pending.filter(
    (one) =>
      (outcome === undefined || one.outcome === outcome) &&
      (rule === undefined || one.rule === rule) &&
      (target === undefined || one.target === target),
  );
  // Of one target what waits says it.
  const held = scopes.filter((one) => target === undefined && (rule === undefined || one.rule === rule));
  return { pending: meant, scopes: outcome === 'refused' ? [] : held };
}

/**
 * Both sources in one order, each run once: of one that has ended the record tells most, of one that has not, Temporal.
 *
 * @param asked whether Temporal answered
 */
async function merge(open: Pick<Current, 'pending' | 'runs'>, recorded: Recorded, asked: boolean): Promise<Row[]> {
  const { mergeRefusals } = await import('./pending.ts');
  const runs = new Map(open.runs.map((run) => [run.id, run]));
  for (const run of recorded.runs) if (run.endedAt !== undefined || !asked) runs.set(run.id, run);
  return [...mergeRefusals(open.pending, recorded.refused), ...runs.values()].sort(byTime);
}

const isOpen = ({ outcome }: Row): boolean => outcome === 'waiting' || outcome === 'running';
const timeOf = (row: Row): string => ('startedAt' in row ? row.startedAt : (row.since ?? ''));

/** What waits for a person first, then what else is open, whatever came after it; then the latest first. */
const rankOf = (row: Row): number => ('mode' in row && row.mode === 'propose' && isOpen(row) ? 2 : Number(isOpen(row)));
const byTime = (a: Row, b: Row): number => rankOf(b) - rankOf(a) || timeOf(b).localeCompare(timeOf(a));

/** Of a plan, in a list. */
const STEPS = 3;

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
      const { id, startedAt, endedAt = now, outcome, rule, target, mode, reason = '', plan } = row;
      // One that was approved is in the story of the remediation that acts on it.
      const would =
        plan && mode !== 'propose'
          ? `; it would: ${plan.slice(0, STEPS).join('; ')}${plan.length > STEPS ? '; …' : ''}`
          : '';
      return [
        shortId(id),
        dateAndTime(startedAt),
        lasted(startedAt, endedAt),
        outcome,
        rule,
        target,
        localized(`${reason}${would}`),
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
