import type { Command } from 'commander';
import { service } from './command.ts';

export function gateway(program: Command): void {
  program
    .command('gateway')
    .description('the webhook server for Alertmanager; any number may run')
    .action(
      service(async (context, stopped) => {
        const { runGateway } = await import('./processes.ts');
        return await runGateway(context, stopped);
      }),
    );
}
