import type { Command } from 'commander';
import { describePause, prefixName } from '../model/pause.ts';
import { action, type Context } from './command.ts';
import { type DeskOptions, withDesk } from './desk-options.ts';
import { note, print, printJson } from './output.ts';
import { EXIT, type ExitStatus } from './status.ts';

interface Options extends DeskOptions {
  reason?: string;
}

export function resume(program: Command): void {
  withDesk(
    program
      .command('resume')
      .description(
        'end the pauses at or under a prefix, and the storms of the scopes under it (a storm of `limits` ends by itself)',
      )
      .argument('[prefix]', 'as for pause; without it, everything')
      .option('--reason <text>', 'why, for the record'),
  ).action(action(order));
}

async function order(context: Context, prefix = '', options: Options): Promise<ExitStatus> {
  const { atDesk } = await import('./desk.ts');
  const resumed = await atDesk(context, options, (desk) => desk.resume({ prefix, reason: options.reason ?? '' }));
  if (context.json) {
    printJson(resumed);
    return EXIT.done;
  }
  const { localized } = await import('./times.ts');
  for (const { prefix: ended, by, since } of resumed.ended)
    print(localized(`${prefixName(ended)} is resumed; it was paused by ${by} since ${since}`));
  if (resumed.ended.length === 0)
    print(prefix === '' ? 'nothing was paused' : `nothing was paused at or under ${prefix}`);
  print('what waits there is decided anew, also where a storm held it');
  // It was paused as a part of something larger.
  for (const one of resumed.still) note(`still held back: ${localized(describePause(one))}`);
  if (resumed.note !== undefined) note(resumed.note);
  return EXIT.done;
}
