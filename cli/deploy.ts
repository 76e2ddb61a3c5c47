import { type Command, InvalidArgumentError } from 'commander';
import { pointInTime } from './audit-filter.ts';
import { action } from './command.ts';
import type { Promotion } from './promotion.ts';
import { jobs } from './replay.ts';

export function deploy(program: Command): void {
  const group = program.command('deploy').description('builds of the workers, side by side (Worker Versioning)');
  group
    .command('promote')
    .description('make this build current, once the open histories go the same way with it')
    .requiredOption('--deployment <name>', 'as the workers were started with', deployment)
    .requiredOption('--build-id <id>', 'the build of which this is: its workflows are what is tried', buildId)
    .option('--since <time>', 'replay what has ended since then too: how long ago (7d, 12h), or a time', pointInTime)
    .option('--force', 'promote it whatever the replay says')
    .addOption(jobs(group))
    .action(
      action(async (context, options: Promotion) => {
        const { promote } = await import('./promotion.ts');
        return await promote(context, options);
      }),
    );
  group
    .command('status')
    .description('builds: which is current, which still have open runs')
    .option('--deployment <name>', 'only of this deployment', deployment)
    .action(
      action(async (context, options: { deployment?: string }) => {
        const { status } = await import('./promotion.ts');
        return await status(context, options);
      }),
    );
}

/** Temporal writes a version as `<deployment>.<build>` and as `<deployment>:<build>`. */
export function deployment(text: string): string {
  if (!/^(?!__temporal_)[\w-]{1,100}$/.test(text))
    throw new InvalidArgumentError('Give a name of letters, digits, "-" and "_".');
  return text;
}

export function buildId(text: string): string {
  if (!/^[\w.-]{1,100}$/.test(text)) throw new InvalidArgumentError('Give an ID of letters, digits, "-", "_" and ".".');
  return text;
}
