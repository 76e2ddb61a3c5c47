import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Locks between processes. Each is an exclusive SQLite transaction on a file of its own: the operating system frees it
 * when its holder dies, so no lock is ever stale and none has to be broken.
 */
export interface Lock {
  free(): void;
}

const SQLITE_BUSY = 5;

/** Takes the lock, or answers undefined where somebody holds it. */
async function tryLock(folder: string, name: string): Promise<Lock | undefined> {
  // Loaded where it is needed: on Node 22 it prints a warning, which those who lock nothing should not see.
  const { DatabaseSync } = await import('node:sqlite');
  mkdirSync(folder, { recursive: true });
  const database = new DatabaseSync(join(folder, `${name}.lock`));
  try {
    database.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: unknown }).errcode === SQLITE_BUSY) return undefined;
    throw error;
  }
  return { free: () => database.close() };
}

/** Takes the first of the locks that is free; waits until one is. `onWait` is called once, when it must wait. */
export async function lock(folder: string, names: readonly string[], onWait: () => void): Promise<Lock> {
  for (let waited = false; ; waited = true) {
    for (const name of names) {
      const taken = await tryLock(folder, name);
      if (taken !== undefined) return taken;
    }
    if (!waited) onWait();
    await sleep(300);
  }
}
