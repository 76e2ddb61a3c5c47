import { readdir, realpath } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Source } from '../../model/drift/options.ts';
import { FinalError } from '../errors.ts';
import { workplace } from '../processes/workplace.ts';
import { type CloneOptions, cloneInto } from './git.ts';

/** A source on this machine, for as long as it is not disposed of. */
export interface Checkout {
  /** Absolute, links resolved: the folder that is meant, or the file. Of a `folder` it is the user's own: read only. */
  readonly folder: string;
  /** Absolute: all that was fetched, or the folder itself. Nothing in it leads out of it. */
  readonly root: string;
  /** The commit; absent: a folder. */
  readonly revision?: string;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Brings a source here: a folder as it is, of a repository one commit. A repository's `path`, and each link in it, must stay
 * within it: who may write to the repository is not thereby somebody who may read the worker's files.
 *
 * @throws FinalError where a person has to mend it, UnavailableError where trying again may, MovedError where the commit
 * that is asked for cannot be had any more
 */
export async function checkout(source: Source, options: CloneOptions): Promise<Checkout> {
  const { folder, git } = source;
  if (git !== undefined) return ofGit({ ...source, git }, options);
  if (folder === undefined) throw invalid('a source names neither a folder nor a repository');
  const real = await realpath(folder).catch((cause) => {
    throw invalid(`the folder ${folder} cannot be read (${codeOf(cause)}); it must be there on each worker`, cause);
  });
  return { folder: real, root: real, [Symbol.asyncDispose]: async () => undefined };
}

async function ofGit(source: Source & { git: string }, options: CloneOptions): Promise<Checkout> {
  const place = await workplace();
  try {
    const root = join(await realpath(place.folder), 'tree');
    const revision = await cloneInto(root, place, source, options);
    await refuseLinksOut(root, source.git, options.signal);
    const folder = await within(root, source);
    return { folder, root, revision, [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() };
  } catch (error) {
    await place[Symbol.asyncDispose]();
    throw error;
  }
}

async function within(root: string, { git, path = '' }: Source): Promise<string> {
  const real = await realpath(join(root, path)).catch((cause) => {
    throw invalid(`${git} has no ${path} (${codeOf(cause)}); correct path, or ref`, cause);
  });
  if (!isWithin(root, real)) throw invalid(`${path} leads out of ${git}; nothing of it was read`);
  return real;
}

async function refuseLinksOut(root: string, git: string, signal: AbortSignal): Promise<void> {
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    signal.throwIfAborted();
    if (!entry.isSymbolicLink()) continue;
    const link = join(entry.parentPath, entry.name);
    const shown = relative(root, link);
    if (shown.startsWith(`.git${sep}`)) continue;
    // One that leads nowhere here might lead somewhere on the next worker.
    const target = await realpath(link).catch(() => undefined);
    if (target === undefined || !isWithin(root, target)) {
      throw invalid(
        `${git}: the link ${shown} leads out of the repository, or nowhere; nothing of it was read. Remove it`,
      );
    }
  }
}

const isWithin = (root: string, path: string): boolean => path === root || path.startsWith(root + sep);

const invalid = (message: string, cause?: unknown): FinalError => new FinalError(message, { type: 'Invalid', cause });
const codeOf = (error: NodeJS.ErrnoException): string => error.code ?? error.message;
