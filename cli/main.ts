import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { approve } from './approve.ts';
import { audit } from './audit.ts';
import { backtest } from './backtest.ts';
import { breaker } from './breaker.ts';
import { cancel } from './cancel.ts';
import { config } from './config.ts';
import { deny } from './deny.ts';
import { deploy } from './deploy.ts';
import { doctor } from './doctor.ts';
import { drift } from './drift.ts';
import { report } from './errors.ts';
import { gateway } from './gateway.ts';
import { held } from './held.ts';
import { list } from './list.ts';
import { pause } from './pause.ts';
import { release } from './release.ts';
import { replay } from './replay.ts';
import { remediationReport } from './report.ts';
import { resume } from './resume.ts';
import { run } from './run.ts';
import { sandbox } from './sandbox.ts';
import { show } from './show.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { up } from './up.ts';
import { watch } from './watch.ts';
import { worker } from './worker.ts';

/** All commands, in the order of the help. A new one is one file and one line here. */
const COMMANDS: readonly ((program: Command) => void)[] = [
  up,
  worker,
  gateway,
  run,
  list,
  show,
  watch,
  remediationReport,
  approve,
  deny,
  cancel,
  pause,
  resume,
  breaker,
  drift,
  held,
  release,
  audit,
  replay,
  backtest,
  deploy,
  doctor,
  config,
  sandbox,
];

/** Runs one command line; the exit status is in `process.exitCode` when it is done. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that went away (`salvor list | head`) wants no more, and that is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  // Before anything is coloured; commander reads the option itself only later.
  if (argv.includes('--no-color')) process.env['NO_COLOR'] = '1';
  const json = argv.includes('--json');
  try {
    await program(json).parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = misused(error, json);
    // What a failed start has left open must not keep the process.
    else process.exit(report(error, json));
  }
}

/** Commander has written the help or the version; and, for people, what was wrong. */
function misused({ exitCode, code, message }: CommanderError, json: boolean): ExitStatus {
  if (exitCode === 0) return EXIT.done;
  const wrong = code === 'commander.help' ? 'a command is missing' : message.replace(/^error: /, '');
  if (json) report(new CliError(wrong, { status: EXIT.usage, advice: '`--help` shows what there is.' }), json);
  return EXIT.usage;
}

/** @param json what was wrong is reported as a document, not by commander's own words */
export function program(json = false): Command {
  const salvor = new Command('salvor')
    .description('Heals what an alert is about, durably, and puts every decision on record.')
    .version(version())
    .option('-c, --config <file>', 'configuration (default: $SALVOR_CONFIG, else ./salvor.yaml)')
    .option('--json', 'write the result as JSON')
    .option('--no-color', 'write no colours')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(see --help)')
    .addHelpText(
      'after',
      '\nExit status: 0 done · 1 failed, or a check found something · 2 wrong use or configuration · 3 refused ·\n' +
        '  4 could not find out (Temporal, an API or the audit store out of reach) · 130 interrupted',
    );
  if (json) salvor.configureOutput({ writeErr: () => undefined });
  for (const add of COMMANDS) add(salvor);
  return salvor;
}

function version(): string {
  // The build lies one level deeper than the sources.
  const up = import.meta.filename.endsWith('.ts') ? '..' : '../..';
  const manifest = readFileSync(new URL(`${up}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
