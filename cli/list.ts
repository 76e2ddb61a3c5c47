import type { Client } from '@temporalio/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { OUTCOMES } from '../model/outcome.ts';
import { action } from './command.ts';
import { note, paint, print, printJson, table } from './output.ts';
import type { Pending } from './pending.ts';
import type { Filter, Run } from './runs.ts';
import { EXIT } from './status.ts';

export function list(program: Command): void {
  program
    .command('list')
    .description('what waits or was refused, and runs, the latest first')
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices([...OUTCOMES, 'running', 'waiting']))
    .option('--rule <name>', 'only of this rule')
    .option('--target <key>', 'only of this target')
    .option('--limit <n>', 'at most so many', count, 20)
    .action(
      action(async (context, options: Filter & { limit: number }) => {
        const [{ withTemporal }, { listRuns }] = await Promise.all([import('./temporal.ts'), import('./runs.ts')]);
        const { limit, ...filter } = options;
        const [waiting, runs] = await withTemporal(context, ({ client }) =>
          Promise.all([pendingOf(client, filter), filter.outcome === 'waiting' ? [] : listRuns(client, filter, limit)]),
        );
        const pending = waiting.slice(0, limit);
        if (context.json) printJson([...pending, ...runs]);
        else if (pending.length + runs.length === 0) note('no runs');
        else print(...(await rows(pending, runs)));
        if (waiting.length > limit) note(`and ${waiting.length - limit} more that wait or were refused: --limit N`);
        return EXIT.done;
      }),
    );
}

/** What has no run yet, or never had one; its responders are asked only where the filter lets it through. */
async function pendingOf(client: Client, { outcome, rule, target }: Filter): Promise<Pending[]> {
  if (outcome !== undefined && outcome !== 'waiting' && outcome !== 'refused') return [];
  const { allPending } = await import('./pending.ts');
  const { pending, unasked } = await allPending(client);
  if (unasked > 0) note(`${unasked} responders did not answer or were not asked: what waits there is not shown`);
  return pending.filter(
    (one) =>
      (outcome === undefined || one.outcome === outcome) &&
      (rule === undefined || one.rule === rule) &&
      (target === undefined || one.target === target),
  );
}

async function rows(pending: Pending[], runs: Run[]): Promise<string[]> {
  const [{ lasted, paintOutcome }, { shortId }, { dateAndTime, localized, zone }] = await Promise.all([
    import('./story.ts'),
    import('./runs.ts'),
    import('./times.ts'),
  ]);
  const head = ['ID', `STARTED (${zone()})`, 'TOOK', 'OUTCOME', 'RULE', 'TARGET', 'REASON'];
  const now = new Date().toISOString();
  const cells = [
    ...pending.map(({ outcome, since, rule, target, scope, gate, reason }) => [
      '-',
      since ? dateAndTime(since) : '-',
      since ? lasted(since, now) : '-',
      outcome,
      rule,
      target ?? `in ${scope}`,
      `${gate ? `${gate}: ` : ''}${localized(reason)}`,
    ]),
    ...runs.map((run) => [
      shortId(run.id),
      dateAndTime(run.startedAt),
      lasted(run.startedAt, run.endedAt ?? now),
      run.outcome,
      run.rule,
      run.target,
      localized(run.reason ?? ''),
    ]),
  ];
  return table([head, ...cells], (text, column, row) => {
    if (row === 0) return paint('bold', text);
    if (column === 3) return paintOutcome(text);
    return column === 1 || column === 2 ? paint('dim', text) : text;
  });
}

function count(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('Give a number from 1 to 99999.');
  return Number(text);
}
