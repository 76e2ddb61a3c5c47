import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder for what a process works with, of this worker alone. */
export interface Workplace {
  /** Absolute; nobody else may read it. */
  readonly folder: string;
  /** Says that a process works in it: while that lives, the folder stays, also when this worker is gone. */
  mark(pid: number): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Of this process: a worker in a container has the same process id each time. */
const TOKEN = randomBytes(6).toString('hex');
/** Workers on several machines may share a folder, and know nothing of each other's processes. */
const HERE = createHash('sha256').update(hostname()).digest('hex').slice(0, 12);
const PREFIX = `salvor-work-${HERE}-`;
const NAME = new RegExp(`^${PREFIX}(?<pid>[0-9]+)-(?<token>[0-9a-f]{12})-`);
const MARK = /^running-(?<pid>[0-9]+)$/;

let swept: Promise<void> | undefined;

/** Makes one; what workers that were killed left behind goes first, once for each process. */
export async function workplace(): Promise<Workplace> {
  swept ??= sweep(tmpdir());
  await swept;
  const folder = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-${TOKEN}-`));
  return {
    folder,
    mark: (pid) => writeFile(join(folder, `running-${pid}`), ''),
    // What a process that was ended has still open may come back for a moment.
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/** Removes the folders of processes of this machine that are gone. What cannot be removed is no reason not to work. */
export async function sweep(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const { pid, token } = NAME.exec(name)?.groups ?? {};
    if (pid === undefined || isOurs(Number(pid), token)) continue;
    const folder = join(parent, name);
    const marks = await readdir(folder).catch(() => []);
    if (marks.some((mark) => isAlive(Number(MARK.exec(mark)?.groups?.['pid'] ?? 0)))) continue;
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Of this process, or of another that lives: one of our own number but not our own token was of a process before us. */
const isOurs = (pid: number, token: string | undefined): boolean =>
  pid === process.pid ? token === TOKEN : isAlive(pid);

function isAlive(pid: number): boolean {
  if (pid === 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
