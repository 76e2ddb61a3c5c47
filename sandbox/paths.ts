import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The folder of Salvor's package.json. Files that the compiler does not copy (Go modules, kwok's stages) are found
 * from here, both from source and from `dist/`.
 */
export function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown }).name === 'salvor')
      return folder;
    if (folder === dirname(folder)) {
      throw new Error(`No package.json of "salvor" in any folder above ${fileURLToPath(import.meta.url)}.`);
    }
  }
}

/** An asset of the sandbox that is not TypeScript, e.g. `asset('build', 'etcd')`. */
export const asset = (...path: string[]): string => join(packageRoot(), 'sandbox', ...path);

/** Where found and built components are kept. */
export const componentCache = (): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'salvor', 'components');

/** Where Salvor keeps what must outlive it: the embedded Temporal's database, the state of a running sandbox. */
export const dataFolder = (): string => join(process.env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'salvor');
