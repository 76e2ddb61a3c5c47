import type { Command } from 'commander';
import { MESSAGE } from '../model/names.ts';
import type { CancelRequest } from '../model/remediation.ts';
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
        ] = await Promise.all([import('./temporal.ts'), import('./runs.ts'), import('./story.ts')]);
        return await withTemporal(context, async ({ client, namespace }) => {
          const run = await findRun(client, meant);
          if (run.endedAt !== undefined) {
            const waiting = waitingLines(meant.includes('/') ? await waitingAbout(client, run.target) : []);
            throw new CliError([`${run.target} has already ended: ${run.outcome}`, ...waiting].join('\n'), {
              status: EXIT.failed,
              advice: waiting.length > 0 ? STARTS_ITSELF : 'There is nothing to cancel.',
            });
          }
          const by = person();
          const reason = options.reason ?? '';
          const asked: CancelRequest = { by, reason };
          await client.workflow.getHandle(run.workflowId, run.id).signal(MESSAGE.cancel, asked);
          // The client's own cancel() takes no reason.
          await client.workflowService.requestCancelWorkflowExecution({
            namespace,
            workflowExecution: { workflowId: run.workflowId, runId: run.id },
            identity: by,
            reason,
          });
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
