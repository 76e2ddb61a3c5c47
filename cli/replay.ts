import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { pointInTime } from './audit-filter.ts';
import { action } from './command.ts';
import type { ReplayCommand } from './replaying.ts';
import { CliError, EXIT } from './status.ts';

export function replay(program: Command): void {
  program
    .command('replay')
    .description("recorded histories against this build's workflows: which would go another way, and where first")
    .argument('[id...]', 'IDs or target keys, as `salvor show` takes them, or Workflow IDs of responders')
    .option('--since <time>', 'all that were open since then: how long ago (7d, 12h), or a time', pointInTime)
    .option('--dir <folder>', 'the .json files in a folder, as `temporal workflow show --output json` writes them')
    .option('--from-audit', 'from the audit store, without Temporal')
    .addOption(jobs(program))
    .action(
      action(async (context, ids: string[], options: ReplayCommand) => {
        check(ids, options);
        const { replayMeant } = await import('./replaying.ts');
        return await replayMeant(context, ids, options);
      }),
    );
}

/** How many histories are replayed at a time. */
export const jobs = (program: Command) =>
  program
    .createOption('--jobs <n>', 'histories at a time')
    .argParser(number)
    .default(availableParallelism(), 'one for each core');

function number(text: string): number {
  if (!/^[1-9]\d?$/.test(text)) throw new InvalidArgumentError('Give a number from 1 to 99.');
  return Number(text);
}

function check(ids: string[], { since, dir, fromAudit }: ReplayCommand): void {
  const advice = 'Give IDs, --since TIME, --dir FOLDER, or --from-audit (with IDs or --since, or all that it keeps).';
  if (dir !== undefined && (ids.length > 0 || since !== undefined || fromAudit))
    throw new CliError('--dir stands alone', { status: EXIT.usage, advice });
  if (ids.length > 0 && since !== undefined)
    throw new CliError('IDs and --since are two ways to say what is meant', { status: EXIT.usage, advice });
  if (ids.length === 0 && since === undefined && dir === undefined && !fromAudit)
    throw new CliError('nothing is named that could be replayed', { status: EXIT.usage, advice });
}
