import { type Command, InvalidArgumentError } from 'commander';
import { service } from './command.ts';
import type { UpOptions } from './everything.ts';

export function up(program: Command): void {
  program
    .command('up')
    .description('everything on this machine: Temporal with its UI, worker and gateway')
    .option('--data <dir>', 'where the state is kept (default: $XDG_DATA_HOME/salvor or ~/.local/share/salvor)')
    .option('--port <n>', 'port of Temporal (default: the one of temporal.address)', port)
    .option('--ui-port <n>', "port of Temporal's UI (default: 8233, or a free one where that is taken)", port)
    .action(
      service(async (context, stopped, options: UpOptions) => {
        const { everything } = await import('./everything.ts');
        return await everything(context, options, stopped);
      }),
    );
}

export function port(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 65_535)
    throw new InvalidArgumentError('Give a port from 1 to 65535.');
  return number;
}
