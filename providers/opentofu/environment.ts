import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { OpenTofuStack } from '../../model/drift/options.ts';
import { FinalError } from '../errors.ts';
import { workplace } from '../processes/workplace.ts';

export interface Environment {
  env: Record<string, string>;
  /** Values that no message may show. */
  secrets: string[];
}

/** What of the worker's environment would make it do something else than it is told to, or tell what it must not. */
const NOT_TAKEN = /^(?:TF_CLI_ARGS.*|TF_WORKSPACE|TF_DATA_DIR|TF_LOG.*|TF_INPUT|NODE_OPTIONS|SALVOR_.*)$/;
/** A short value may be a part of any word. */
const LEAST_SECRET = 4;

/** The worker's environment, the variables of the stack's file, and what keeps it from asking anybody. */
export async function environmentOf(options: OpenTofuStack, dataDir: string): Promise<Environment> {
  const own = Object.entries(process.env).filter(
    (pair): pair is [string, string] => pair[1] !== undefined && !NOT_TAKEN.test(pair[0]),
  );
  const given =
    options.environmentFile === undefined
      ? []
      : variables(options.environmentFile, await read(options.environmentFile));
  const settings = await Promise.all(options.backendConfigFiles.map(read));
  const secrets = [...given.map(([, value]) => value), ...settings.flatMap(quoted)];
  const all = Object.fromEntries([...own, ...given]);
  return {
    env: {
      ...all,
      ...(needsCache(all, options) && { TF_PLUGIN_CACHE_DIR: await pluginCache() }),
      ...{ TF_DATA_DIR: dataDir, TF_INPUT: '0', TF_IN_AUTOMATION: '1', CHECKPOINT_DISABLE: '1', LC_ALL: 'C' },
    },
    secrets: secrets.filter((secret) => secret.length >= LEAST_SECRET),
  };
}

let cache: Promise<string> | undefined;

/** Of this worker, as long as it runs: else each look would fetch all providers anew. */
async function pluginCache(): Promise<string> {
  cache ??= workplace().then(({ folder }) => folder);
  return cache;
}

/** Who has said where providers come from has said that too. Of Terraform a cache must not be used by two at once. */
const needsCache = (env: Record<string, string>, { command }: OpenTofuStack): boolean =>
  env['TF_PLUGIN_CACHE_DIR'] === undefined &&
  env['TF_CLI_CONFIG_FILE'] === undefined &&
  !basename(command).startsWith('terraform');

/** `NAME=value` a line, also with `export` before it, and quotes around the value. */
function variables(file: string, text: string): [string, string][] {
  return text.split(/\r?\n/).flatMap((line, index): [string, string][] => {
    if (/^\s*(?:#|$)/.test(line)) return [];
    const { name, value = '' } =
      /^\s*(?:export\s+)?(?<name>[A-Za-z_][A-Za-z0-9_]*)=(?<value>.*)$/.exec(line)?.groups ?? {};
    // The line is not shown: it may be a secret.
    if (name === undefined)
      throw new FinalError(`${file}, line ${index + 1}: expected NAME=value`, { type: 'Invalid' });
    const inQuotes = /^(["'])(?<text>.*)\1$/.exec(value.trim())?.groups?.['text'];
    return [[name, inQuotes ?? value.trim()]];
  });
}

const quoted = (text: string): string[] => [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, value = '']) => value);

async function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new FinalError(
      `the file ${path} cannot be read (${cause.code}); nothing was done. It must be there on each worker`,
      {
        ...{ type: 'Invalid', cause },
      },
    );
  });
}
