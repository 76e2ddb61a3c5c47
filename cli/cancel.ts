import type { Command } from 'commander';
import { action } from './command.ts';
import { print, printJson } from './output.ts';
import { CliError, EXIT } from './status.ts';

export function cancel(program: Command): void {
  program
    .command('cancel')
    .description('stop a run and undo what it has done')
    .argument('<id>', 'at least 8 characters of its ID, or a target key, which means its latest run')
    .option('--reason <text>', 'why, for the record')
    .action(
      action(async (context, meant: string, options: { reason?: string }) => {
        const [
          { person, withTemporal },
          { findRun, shortId, STARTS_ITSELF, waitingAbout, waitingLines },
          { askStory },
          { cancelRun },
        ] = await Promise.all([
          import('./temporal.ts'),
          import('./runs.ts'),
          import('./story.ts'),
          import('../providers/temporal/cancel.ts'),
        ]);
        return await withTemporal(context, async ({ client }) => {
          const run = await findRun(client, meant);
          if (run.endedAt !== undefined) {
            const waiting = waitingLines(meant.includes('/') ? await waitingAbout(client, run.target) : []);
            throw new CliError([`${run.target} has already ended: ${run.outcome}`, ...waiting].join('\n'), {
              status: EXIT.failed,
              advice: waiting.length > 0 ? STARTS_ITSELF : 'There is nothing to cancel.',
            });
          }
          await cancelRun(client, run, { by: person(), reason: options.reason ?? '' });
          const answered = (await askStory(client, run)) !== undefined;
          if (context.json) printJson({ ...run, cancelRequested: true, workerAnswers: answered });
          else {
            const when = answered ? '' : ' as soon as a worker runs, for none answers now';
            const how = `\`salvor watch ${shortId(run.id)}\` shows it`;
            print(`asked ${run.target} to stop; it undoes what it has done${when}: ${how}`);
          }
          return EXIT.done;
        });
      }),
    );
}
