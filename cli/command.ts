import type { Command } from 'commander';
import { type Stop, untilStopped } from './lifetime.ts';
import type { ExitStatus } from './status.ts';

/** What every command is told. */
export interface Context {
  /** Write one JSON document (or one a line, where the command follows something) on standard output. */
  json: boolean;
  /** Path of the configuration file, and whether somebody named it: a named one must exist. */
  config: { file: string; named: boolean };
}

/** Makes a commander action of a function that answers the exit status; its arguments come as commander gives them. */
export function action<A extends unknown[]>(
  run: (context: Context, ...args: A) => Promise<ExitStatus>,
): (...args: [...A, Command]) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command;
    const { json, config } = command.optsWithGlobals<{ json?: boolean; config?: string }>();
    const named = config ?? process.env['SALVOR_CONFIG'];
    const context = { json: json === true, config: { file: named ?? 'salvor.yaml', named: named !== undefined } };
    process.exitCode = await run(context, ...(args.slice(0, -1) as A));
  };
}

/**
 * As {@link action}, for a command that stays until it is told to stop. The process ends when the function does: what could
 * not be closed in time must not keep it.
 */
export function service<A extends unknown[]>(
  run: (context: Context, stopped: Promise<Stop>, ...args: A) => Promise<ExitStatus>,
): (...args: [...A, Command]) => Promise<void> {
  return action<A>(async (context, ...args) => {
    // From the first moment on: starting may take minutes, and Ctrl-C must end that too.
    process.exit(await run(context, untilStopped(), ...args));
  });
}
