import { type Command, InvalidArgumentError } from 'commander';
import { action, type Context } from './command.ts';
import type { UpOptions } from './everything.ts';
import { untilStopped } from './lifetime.ts';
import type { ExitStatus } from './status.ts';

export function up(program: Command): void {
  program
    .command('up')
    .description('everything on this machine: Temporal with its UI, worker and gateway')
    .option('--data <dir>', 'where the state is kept (default: $XDG_DATA_HOME/salvor or ~/.local/share/salvor)')
    .option('--port <n>', 'port of Temporal (default: the one of temporal.address)', port)
    .option('--ui-port <n>', "port of Temporal's UI (default: 8233, or a free one where that is taken)", port)
    .action(
      action(async (context: Context, options: UpOptions): Promise<ExitStatus> => {
        // From the first moment on: getting Temporal may take minutes, and Ctrl-C must end that too.
        const stopped = untilStopped();
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
