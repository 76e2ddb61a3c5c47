import type { Command } from 'commander';
import { action } from './command.ts';
import { untilStopped } from './lifetime.ts';
import type { ExitStatus } from './status.ts';

export function worker(program: Command): void {
  program
    .command('worker')
    .description('the process that runs the workflows and acts; any number may run')
    .action(
      action(async (context): Promise<ExitStatus> => {
        const stopped = untilStopped();
        const { runWorker } = await import('./processes.ts');
        return await runWorker(context, stopped);
      }),
    );
}
