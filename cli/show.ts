import type { Command } from 'commander';
import { action } from './command.ts';
import { paint, print, printJson } from './output.ts';
import { EXIT } from './status.ts';

export function show(program: Command): void {
  program
    .command('show')
    .description("one run's story: what was found, decided and changed")
    .argument('<id>', 'at least 8 characters of its ID, or a target key, which means its latest run')
    .action(
      action(async (context, meant: string) => {
        const [{ withTemporal }, { findRun, NoRunError }, { describe, fetchStory }, { Trouble }] = await Promise.all([
          import('./temporal.ts'),
          import('./runs.ts'),
          import('./story.ts'),
          import('./trouble.ts'),
        ]);
        return await withTemporal(context, async ({ client }) => {
          const run = await findRun(client, meant).catch((error: unknown) => {
            if (error instanceof NoRunError && error.pending.length > 0) return error;
            throw error;
          });
          if (run instanceof NoRunError) {
            if (context.json) printJson({ target: run.target, pending: run.pending });
            else print(run.message, ...(run.advice ? [paint('dim', run.advice)] : []));
            return EXIT.done;
          }
          const told = await fetchStory(client, run);
          const trouble = await new Trouble(client, run).look(true);
          if (context.json) printJson({ ...run, ...told, ...(trouble !== undefined && { trouble }) });
          else print(...describe(run, told), ...(trouble === undefined ? [] : ['', paint('yellow', trouble)]));
          return EXIT.done;
        });
      }),
    );
}
