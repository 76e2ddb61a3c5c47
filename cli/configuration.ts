import { readFile, stat } from 'node:fs/promises';
import { type Config, type ConfigProblem, parseConfig } from '../model/config.ts';
import type { Context } from './command.ts';
import { CliError, EXIT } from './status.ts';

export interface LoadedConfig {
  config: Config;
  /** False where there is no file, and `config` holds the defaults and no rule. */
  found: boolean;
  /** When the file was written, in milliseconds since the epoch. */
  writtenAt?: number | undefined;
}

/**
 * Reads the configuration that the command line means. Where nobody named a file and `./salvor.yaml` is not there, the
 * defaults hold: enough to look at runs, and for `salvor up` to start with.
 *
 * @throws CliError with every problem of the file, or where a named file cannot be read
 */
export async function loadConfig({ config: { file, named } }: Pick<Context, 'config'>): Promise<LoadedConfig> {
  // Before it is read: what is written meanwhile must not pass for newer than it is.
  const written = await stat(file).catch(() => undefined);
  const text = await readConfigText(file);
  if (text === undefined && named) {
    throw new CliError(`the configuration ${file} is not there`, {
      status: EXIT.usage,
      advice: 'Name another one with --config FILE or $SALVOR_CONFIG.',
    });
  }
  const result = parseConfig(text ?? '', file);
  if (result.ok) return { config: result.config, found: text !== undefined, writtenAt: written?.mtimeMs };
  throw new CliError(
    `${file} is not a valid configuration:\n${result.problems.map((problem) => `  ${format(problem)}`).join('\n')}`,
    { status: EXIT.usage, advice: 'Nothing was started. `salvor config check` looks again.' },
  );
}

/** As compilers write it, so that editors and people find the place. */
export const format = ({ file, line, column, message }: ConfigProblem): string =>
  `${file}:${line}:${column} ${message}`;

/** @returns undefined where it is not there */
export async function readConfigText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    if (code === 'ENOENT') return undefined;
    throw new CliError(`the configuration ${file} cannot be read (${code})`, {
      status: EXIT.usage,
      advice: 'Name another one with --config FILE or $SALVOR_CONFIG.',
      cause: error,
    });
  }
}
