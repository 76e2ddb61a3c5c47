import type { Command } from 'commander';
import { service } from './command.ts';

export function worker(program: Command): void {
  program
    .command('worker')
    .description('the process that runs the workflows and acts; any number may run')
    .action(
      service(async (context, stopped) => {
        const { runWorker } = await import('./processes.ts');
        return await runWorker(context, stopped);
      }),
    );
}
