import type { Command } from 'commander';
import { describePause, prefixName } from '../model/pause.ts';
import { action, type Context } from './command.ts';
import { type DeskOptions, withDesk } from './desk-options.ts';
import { note, print, printJson } from './output.ts';
import { EXIT, type ExitStatus } from './status.ts';

interface Options extends DeskOptions {
  for?: string;
  reason?: string;
  undo?: boolean;
}

export function pause(program: Command): void {
  withDesk(
    program
      .command('pause')
      .description('change nothing more: what is about to start waits, what runs holds before its next change')
      .argument('[prefix]', 'of target keys, such as k8s/prod/payments; or rule/<name>; without it, everything')
      .option('--for <duration>', 'resume by itself after that, such as 2h')
      .option('--reason <text>', 'why, for the record')
      .option('--undo', 'also cancel what runs, so that it undoes what it has done'),
  ).action(action(order));
}

async function order(context: Context, prefix: string | undefined, options: Options): Promise<ExitStatus> {
  const { atDesk } = await import('./desk.ts');
  const { reason = '', undo = false } = options;
  const request = { prefix: prefix ?? '', reason, undo, ...(options.for !== undefined && { for: options.for }) };
  const made = await atDesk(context, options, (desk) => desk.pause(request));
  if (context.json) {
    printJson(made);
    return EXIT.done;
  }
  const { localized } = await import('./times.ts');
  const { until, prefix: paused } = made.pause;
  const how = until === undefined ? `; \`${['salvor resume', paused].join(' ').trim()}\` ends it` : '';
  print(`${localized(describePause(made.pause))}${how}`);
  print(
    undo ? 'what runs there is cancelled, and undoes what it has done' : 'what runs there holds before its next change',
  );
  if (made.note !== undefined) note(`${made.note}: ${prefixName(paused)} is paused all the same`);
  return EXIT.done;
}
