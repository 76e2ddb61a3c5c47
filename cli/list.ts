import { type Command, InvalidArgumentError, Option } from 'commander';
import { OUTCOMES } from '../model/outcome.ts';
import { action } from './command.ts';
import { note, paint, print, printJson, table } from './output.ts';
import type { Filter, Run } from './runs.ts';
import { EXIT } from './status.ts';

export function list(program: Command): void {
  program
    .command('list')
    .description('runs, the latest first')
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices([...OUTCOMES, 'running']))
    .option('--rule <name>', 'only of this rule')
    .option('--target <key>', 'only of this target')
    .option('--limit <n>', 'at most so many', count, 20)
    .action(
      action(async (context, options: Filter & { limit: number }) => {
        const [{ withTemporal }, { listRuns }] = await Promise.all([import('./temporal.ts'), import('./runs.ts')]);
        const { limit, ...filter } = options;
        const runs = await withTemporal(context, ({ client }) => listRuns(client, filter, limit));
        if (context.json) printJson(runs);
        else if (runs.length === 0) note('no runs');
        else print(...(await rows(runs)));
        return EXIT.done;
      }),
    );
}

async function rows(runs: Run[]): Promise<string[]> {
  const { lasted, paintOutcome } = await import('./story.ts');
  const { shortId } = await import('./runs.ts');
  const head = ['ID', 'STARTED', 'TOOK', 'OUTCOME', 'RULE', 'TARGET', 'REASON'];
  const now = new Date().toISOString();
  const cells = runs.map((run) => [
    shortId(run.id),
    new Date(run.startedAt).toLocaleString('sv-SE'),
    lasted(run.startedAt, run.endedAt ?? now),
    run.outcome,
    run.rule,
    run.target,
    run.reason ?? '',
  ]);
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
