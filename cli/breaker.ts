import type { Command } from 'commander';
import { type BreakerStanding, standsAs } from '../model/breaker/standing.ts';
import { action, type Context } from './command.ts';
import { type DeskOptions, withDesk } from './desk-options.ts';
import { note, paint, print, printJson, table } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

interface Options extends DeskOptions {
  for?: string;
  reason?: string;
}

export function breaker(program: Command): void {
  const breakers = program.command('breaker').description('what keeps callers from dependencies that are down');
  breakers.command('list').description('how the breakers of all dependencies stand').action(action(list));
  breakers
    .command('show')
    .description("how one stands; `salvor show dependency/NAME` tells its remediation's story")
    .argument('<name>', 'of the dependency')
    .action(action(show));
  withDesk(
    breakers
      .command('open')
      .description('keep callers from it; it stays open until somebody closes it, or its time is up')
      .argument('<name>', 'of the dependency')
      .option('--for <duration>', 'try it after that, such as 30m')
      .option('--reason <text>', 'why, for the record'),
  ).action(action((context, name: string, options: Options) => order(context, 'open', name, options)));
  withDesk(
    breakers
      .command('close')
      .description('let callers back; for a while (respectClose) it is not opened again')
      .argument('<name>', 'of the dependency')
      .option('--reason <text>', 'why, for the record'),
  ).action(action((context, name: string, options: Options) => order(context, 'close', name, options)));
}

async function list(context: Context): Promise<ExitStatus> {
  const [{ withTemporal }, { breakersOf }] = await Promise.all([
    import('./temporal.ts'),
    import('../providers/temporal/all-breakers.ts'),
  ]);
  return await withTemporal(context, async ({ client, config }) => {
    const all = await breakersOf(client, config)();
    if (context.json) printJson(all);
    else if (config.dependencies.length === 0) print('no dependencies are configured');
    else
      print(
        ...table([['dependency', 'state', 'until', 'reason'], ...all.map(rowOf)], (text, _column, row) =>
          row === 0 ? paint('dim', text) : text,
        ),
      );
    const untold = config.dependencies.filter(({ name }) => !all.some(({ dependency }) => dependency === name));
    if (untold.length === 0) return EXIT.done;
    note(`nobody can tell how ${untold.map(({ name }) => name).join(', ')} stands: no worker answers`);
    return EXIT.unknown;
  });
}

async function show(context: Context, name: string): Promise<ExitStatus> {
  const [{ withTemporal }, { readBreaker }] = await Promise.all([
    import('./temporal.ts'),
    import('../providers/temporal/breakers.ts'),
  ]);
  return await withTemporal(context, async ({ client, config }) => {
    if (!config.dependencies.some((one) => one.name === name)) throw unknown(name);
    const standing = await readBreaker(client, name);
    if (context.json) printJson(standing);
    else print(describe(standing));
    return EXIT.done;
  });
}

async function order(
  context: Context,
  what: 'open' | 'close',
  dependency: string,
  { reason = '', for: duration, ...options }: Options,
): Promise<ExitStatus> {
  const { atDesk } = await import('./desk.ts');
  const request = { dependency, reason, ...(duration !== undefined && { for: duration }) };
  const done = await atDesk(context, options, (desk) => desk.breaker(what, request));
  if (context.json) printJson(done);
  else print(describe(done.breaker));
  if (done.waits && !context.json) note(`it waits (${done.waits.gate}): ${done.waits.reason}`);
  return EXIT.done;
}

const rowOf = ({ dependency, state, switch: stands, until = '', reason }: BreakerStanding): string[] => [
  dependency,
  `${state}${besides(state, stands)}`,
  until,
  reason,
];

/** Its switch, where that does not stand as the state says. */
const besides = (state: BreakerStanding['state'], stands: BreakerStanding['switch']): string =>
  stands === standsAs(state) ? '' : ` (switch: ${stands})`;

function describe({ dependency, state, switch: stands, since, until, reason, relapses }: BreakerStanding): string {
  const times = [since && `since ${since}`, until && `until ${until}`, relapses > 0 && `relapses: ${relapses}`];
  return [`${dependency} is ${state}${besides(state, stands)}`, ...times.filter(Boolean), reason].join(', ');
}

const unknown = (name: string): CliError =>
  new CliError(`there is no dependency ${name} in the configuration`, {
    status: EXIT.failed,
    advice: '`salvor breaker list` shows those there are.',
  });
