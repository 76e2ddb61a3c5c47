import type { Command } from 'commander';
import { action } from './command.ts';
import { print, printJson } from './output.ts';
import { EXIT } from './status.ts';

export function show(program: Command): void {
  program
    .command('show')
    .description("one run's story: what was found, decided and changed")
    .argument('<id>', 'at least 8 characters of its ID, or a target key, which means its latest run')
    .action(
      action(async (context, meant: string) => {
        const [{ withTemporal }, { findRun }, { describe, fetchStory }] = await Promise.all([
          import('./temporal.ts'),
          import('./runs.ts'),
          import('./story.ts'),
        ]);
        return await withTemporal(context, async ({ client }) => {
          const run = await findRun(client, meant);
          const story = await fetchStory(client, run);
          if (context.json) printJson({ ...run, story });
          else print(...describe(run, story));
          return EXIT.done;
        });
      }),
    );
}
