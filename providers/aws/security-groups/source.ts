import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import type { SecurityGroupsStack } from '../../../model/drift/options.ts';
import { type DeclaredGroup, declaredGroups, nameOfDeclared } from '../../../model/drift/security-groups.ts';
import type { Watch } from '../../processes/run.ts';
import { checkout } from '../../source/checkout.ts';

/** The source is not fit to be compared with, and a person must mend it; the message says where. */
export class UnfitSource extends Error {
  override readonly name = 'UnfitSource';
}

export interface Declared {
  groups: DeclaredGroup[];
  /** The commit; absent: a folder. */
  revision?: string;
}

/** Far above what one stack should be; below what would fill a worker. */
const MOST = { files: 200, bytes: 4 * 1024 * 1024, problems: 10 };
const NAMES = /\.ya?ml$/i;

/**
 * What the source of a stack declares: its file, or all files of YAML in its folder and below.
 *
 * @param revision the very commit, as an earlier look had it
 * @throws UnfitSource; as {@link checkout} does
 */
export async function declaredIn(
  options: SecurityGroupsStack,
  revision: string | undefined,
  watch: Watch,
): Promise<Declared> {
  await using found = await checkout(options, { ...watch, ...(revision !== undefined && { revision }) });
  const groups = await read(found.folder);
  return { groups, ...(found.revision !== undefined && { revision: found.revision }) };
}

async function read(place: string): Promise<DeclaredGroup[]> {
  const files = (await stat(place)).isDirectory() ? await filesIn(place) : [place];
  if (files.length > MOST.files)
    throw new UnfitSource(`the source has ${files.length} files of YAML: expected at most ${MOST.files}`);
  const all: ReturnType<typeof declaredGroups>[] = [];
  let bytes = 0;
  for (const file of files) {
    // Before it is read: a small repository can hold one that would fill the worker.
    bytes += (await stat(file)).size;
    if (bytes > MOST.bytes) throw new UnfitSource(`the source is larger than ${MOST.bytes} bytes: expected less`);
    const text = await readFile(file, 'utf8');
    all.push(declaredGroups(text, relative(place, file) || basename(file)));
  }
  const problems = all.flatMap((one) => one.problems);
  if (problems.length > 0) {
    const lines = problems
      .slice(0, MOST.problems)
      .map(({ file, line, path, message }) => `${file}:${line}: ${path && `${path}: `}${message}`);
    const more = problems.length > lines.length ? `; and ${problems.length - lines.length} more` : '';
    throw new UnfitSource(`the source cannot be read: ${lines.join('; ')}${more}`);
  }
  const groups = all.flatMap((one) => one.groups);
  // An empty folder is a wrong path, or a file that was not written in full, rather than a wish.
  if (groups.length === 0) throw new UnfitSource('the source declares no security group: nothing was compared');
  return once(groups);
}

/** By name, so that two workers read the same in the same order; nothing that is hidden, `.git` among it. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    // A ConfigMap that is mounted has its files as links.
    const is = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry;
    if (entry.isDirectory()) found.push(...(await filesIn(path)));
    else if (is?.isFile() && NAMES.test(entry.name)) found.push(path);
  }
  return found;
}

function once(groups: DeclaredGroup[]): DeclaredGroup[] {
  const seen = new Map<string, string>();
  for (const group of groups) {
    const name = nameOfDeclared(group);
    const first = seen.get(name);
    if (first !== undefined) throw new UnfitSource(declaredTwice(name, first, group.where));
    seen.set(name, group.where);
  }
  return groups;
}

export const declaredTwice = (name: string, first: string, second: string): string =>
  `the security group ${name} is declared twice, at ${first} and at ${second}: expected it once`;
