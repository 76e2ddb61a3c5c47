import type { Command } from 'commander';
import { action } from './command.ts';
import { untilStopped } from './lifetime.ts';
import type { ExitStatus } from './status.ts';

export function gateway(program: Command): void {
  program
    .command('gateway')
    .description('the webhook server for Alertmanager; any number may run')
    .action(
      action(async (context): Promise<ExitStatus> => {
        const stopped = untilStopped();
        const { runGateway } = await import('./processes.ts');
        return await runGateway(context, stopped);
      }),
    );
}
