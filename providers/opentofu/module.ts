import { copyFile, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Makes a module of a folder that is not ours to write into: its own files are copied, all else is reached by links. */

const SOURCE = /\.(?:tf|tofu)(?:\.json)?$/;
/** What OpenTofu itself writes there: the working directory has its own, and the state stays where it is. */
const WORKING = /^(?:\.terraform|.*\.tfstate(?:\.backup|\.d)?|\..*\.lock\.info|crash\.log)$/;

/** Whether there is anything at all for OpenTofu in it. */
export async function isModule(folder: string): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.some((entry) => !entry.isDirectory() && SOURCE.test(entry.name));
}

/**
 * Copies the module to below `root`, at the same path as it has itself, so that what it refers to beside it or above it
 * (`../modules/net`) is found there, by links.
 * @param files paths relative to it that it is used with
 * @returns the copy
 */
export async function copyModule(folder: string, root: string, files: readonly string[] = []): Promise<string> {
  const copy = join(root, folder);
  await mkdir(copy, { recursive: true });
  const entries = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !WORKING.test(name));
  let levels = Math.max(0, ...files.map(levelsIn));
  for (const entry of entries) {
    const from = join(folder, entry.name);
    if (!entry.isFile()) {
      await symlink(from, join(copy, entry.name));
      continue;
    }
    await copyFile(from, join(copy, entry.name));
    if (SOURCE.test(entry.name)) levels = Math.max(levels, levelsIn(await readFile(from, 'utf8')));
  }
  let at = folder;
  for (let level = 0; level < levels && dirname(at) !== at; level++) {
    const above = dirname(at);
    for (const name of await readdir(above)) {
      if (name !== basename(at)) await symlink(join(above, name), join(root, above, name));
    }
    at = above;
  }
  return copy;
}

/** How far up a text refers: 2 for `../../modules/net`. */
const levelsIn = (text: string): number =>
  Math.max(0, ...[...text.matchAll(/(?:\.\.\/)+/g)].map(([dots]) => dots.length / 3), text.includes('"..') ? 1 : 0);

/** Keeps a local state where the folder has it: what is written there would be lost with the copy. */
export async function keepState(copy: string, state: { path: string; workspaces: string }): Promise<void> {
  const text = `terraform {
  backend "local" {
    path          = ${quoted(state.path)}
    workspace_dir = ${quoted(state.workspaces)}
  }
}
`;
  // The last of the files that override others.
  await writeFile(join(copy, 'zzz_salvor_override.tf'), text);
}

const quoted = (text: string): string => JSON.stringify(text).replace(/[$%](?=\{)/g, (sign) => sign + sign);
