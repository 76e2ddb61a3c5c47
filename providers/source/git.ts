import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Source } from '../../model/drift/options.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import { lastLines } from '../processes/redact.ts';
import { runProcess, type Watch } from '../processes/run.ts';
import type { Workplace } from '../processes/workplace.ts';

export interface CloneOptions extends Watch {
  /** The very commit that is asked for, as an earlier look had it. */
  revision?: string;
}

/** The commit that was asked for cannot be had: the server gives only what its branches and tags point at, and they moved. */
export class MovedError extends Error {
  override readonly name = 'MovedError';
  /** The commit that the ref points at now, where it is known. */
  readonly now: string | undefined;

  constructor(message: string, now?: string) {
    super(message);
    this.now = now;
  }
}

const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * Fetches one commit, without its history, its submodules, or any hook of anybody's, and puts its files into `root`.
 * @returns its full name
 */
export async function cloneInto(
  root: string,
  place: Workplace,
  source: Source & { git: string },
  options: CloneOptions,
): Promise<string> {
  await mkdir(root);
  const secret = await credentialsOf(source, join(place.folder, 'credentials'));
  const git = new Git(root, source.git, secret, options);
  try {
    await git.must('init', '--quiet', '--template=');
    const commit = await fetched(git, source, options.revision);
    await git.must('checkout', '--quiet', '--force', '--detach', commit);
    return commit;
  } finally {
    if (secret) await rm(secret.file, { force: true });
  }
}

/** @returns the commit that is there now */
async function fetched(git: Git, { ref = 'HEAD', git: url }: Source, revision: string | undefined): Promise<string> {
  if (revision === undefined) return git.fetch(COMMIT.test(ref) ? ref : await git.named(ref));
  if (!COMMIT.test(revision)) throw new FinalError(`${revision} is not a commit of ${url}`, { type: 'Invalid' });
  const problem = await git.tryFetch(revision);
  if (problem === undefined) return git.commit();
  if (!isNotGiven(problem)) throw problem;
  // Some servers give only what a branch or tag points at: it may be this very commit.
  const now = await git.fetch(await git.named(ref));
  if (now === revision) return now;
  throw new MovedError(
    `${url}: ${ref} has moved from ${revision.slice(0, 12)} to ${now.slice(0, 12)}, and the server does not give the former any more; nothing was touched`,
    now,
  );
}

interface Secret {
  file: string;
  words: string[];
}

/** Git's own store of credentials: so they are neither in an argument, nor in the environment, nor sent to another host. */
async function credentialsOf({ git = '', credentialsFile }: Source, file: string): Promise<Secret | undefined> {
  if (credentialsFile === undefined) return undefined;
  const url = new URL(git);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return undefined;
  const text = await readFile(credentialsFile, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const message = `the file with the credentials of ${git}, ${credentialsFile}, cannot be read (${cause.code}); nothing was fetched`;
    throw new FinalError(message, { type: 'Invalid', cause });
  });
  const line = text.trim();
  const colon = line.indexOf(':');
  // A token alone: what GitHub asks for as its user, and others do not look at.
  const [user, password] =
    colon < 0
      ? [decodeURIComponent(url.username) || 'x-access-token', line]
      : [line.slice(0, colon), line.slice(colon + 1)];
  const entry = `${url.protocol}//${encodeURIComponent(user)}:${encodeURIComponent(password)}@${url.host}\n`;
  await writeFile(file, entry, { mode: 0o600 });
  const basic = Buffer.from(`${user}:${password}`).toString('base64');
  return { file, words: [line, password, encodeURIComponent(password), basic] };
}

class Git {
  readonly #root: string;
  readonly #url: string;
  readonly #secret: Secret | undefined;
  readonly #options: CloneOptions;

  constructor(root: string, url: string, secret: Secret | undefined, options: CloneOptions) {
    this.#root = root;
    this.#url = url;
    this.#secret = secret;
    this.#options = options;
  }

  /**
   * Git itself would take a tag before a branch of the same name, and who may push tags may often not push to the branch: so
   * nothing of its rules is used, and a name that is both is refused.
   * @returns the ref's full name
   */
  async named(ref: string): Promise<string> {
    const isFull = ref === 'HEAD' || ref.startsWith('refs/');
    const names = isFull ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
    const { status, stdout, stderr } = await this.#run('ls-remote', '--quiet', '--', this.#url, ...names);
    if (status !== 0) throw problemOf(this.#url, ref, stderr);
    // It also lists what only ends with such a name.
    const there = stdout.split('\n').map((line) => line.split('\t')[1] ?? '');
    const [found, other] = names.filter((name) => there.includes(name));
    if (found === undefined)
      throw this.#incorrect(
        `there is no ${isFull ? ref : `branch and no tag ${ref}`}; nothing was touched. Correct ref`,
      );
    if (other !== undefined)
      throw this.#incorrect(
        `${ref} is both a branch and a tag; nothing was touched. Write ${found} or ${other} as ref, or remove one of them`,
      );
    return found;
  }

  #incorrect = (message: string): FinalError => new FinalError(`${this.#url}: ${message}`, { type: 'Invalid' });

  async fetch(ref: string): Promise<string> {
    const cause = await this.tryFetch(ref);
    if (!cause) return this.commit();
    // Asked for by the configuration, and not by an earlier look: there is nothing that it could have become.
    throw isNotGiven(cause) ? new FinalError(`${cause.message}; correct ref`, { type: 'Invalid', cause }) : cause;
  }

  /** @returns why not; undefined: it is there */
  async tryFetch(ref: string): Promise<Error | undefined> {
    const options = ['--quiet', '--depth=1', '--no-tags', '--no-recurse-submodules', '--no-auto-gc'];
    const { status, stderr } = await this.#run('fetch', ...options, '--', this.#url, ref);
    return status === 0 ? undefined : problemOf(this.#url, ref, stderr);
  }

  async commit(): Promise<string> {
    return (await this.must('rev-parse', '--verify', 'FETCH_HEAD^{commit}')).trim();
  }

  async must(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.#run(...args);
    if (status === 0) return stdout;
    throw new UnavailableError(`${this.#url}: git ${args[0]} ended with ${status} (${lastLines(stderr)})`);
  }

  #run(...args: string[]) {
    const settings = [
      'core.hooksPath=/dev/null',
      'core.askPass=',
      'submodule.recurse=false',
      'advice.detachedHead=false',
      // Whatever the machine has would be asked too, and told what we know.
      ...(this.#secret ? ['credential.helper=', `credential.helper=store --file='${this.#secret.file}'`] : []),
    ];
    return runProcess('git', [...settings.flatMap((one) => ['-c', one]), ...args], {
      ...{ cwd: this.#root, signal: this.#options.signal, beat: this.#options.beat },
      env: environment(this.#url),
      secrets: this.#secret?.words ?? [],
    });
  }
}

/** What of the worker's environment would make git ask somebody, or work on another repository. */
const NOT_TAKEN = new Set(['SSH_ASKPASS', 'DISPLAY']);

function environment(url: string): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    (pair): pair is [string, string] => pair[1] !== undefined && !pair[0].startsWith('GIT_') && !NOT_TAKEN.has(pair[0]),
  );
  const scheme = new URL(url).protocol.slice(0, -1);
  return {
    ...Object.fromEntries(kept),
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    // A server may send one on to a safer protocol, and to no other.
    GIT_ALLOW_PROTOCOL: scheme === 'http' ? 'http:https' : scheme,
    GIT_SSH_COMMAND: process.env['GIT_SSH_COMMAND'] ?? 'ssh -oBatchMode=yes -oConnectTimeout=20',
    // A server that has fallen silent is given up.
    GIT_HTTP_LOW_SPEED_LIMIT: '1',
    GIT_HTTP_LOW_SPEED_TIME: '60',
  };
}

const isNotGiven = (problem: Error): boolean => problem instanceof FinalError && problem.type === 'Replaced';

function problemOf(url: string, ref: string, stderr: string): Error {
  const said = lastLines(stderr);
  const final = (type: FinalError['type'], message: string) => new FinalError(`${url}: ${message} (${said})`, { type });
  if (/unadvertised object|not our ref/i.test(stderr)) return final('Replaced', `the server gives no commit ${ref}`);
  if (/couldn't find remote ref/i.test(stderr))
    return final('Invalid', `there is no ${ref}; nothing was touched. Correct ref`);
  if (/Authentication failed|terminal prompts disabled|Permission denied|returned error: 40[13]/i.test(stderr))
    return final('Forbidden', 'the credentials do not allow to read it; nothing was touched');
  if (/does not appear to be a git repository|repository .* not found/i.test(stderr))
    return final('Invalid', 'there is no such repository, or it is not for these credentials; nothing was touched');
  return new UnavailableError(`${url}: ${ref} could not be fetched, and is tried again (${said})`);
}
