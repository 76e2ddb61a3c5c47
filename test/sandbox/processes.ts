import { execFile, fork } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';

export interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** Processes that have the text in their command line; every component has the folder of its sandbox in it. */
export async function processesWith(text: string): Promise<Process[]> {
  return (await processes()).filter(({ pid, command }) => command.includes(text) && pid !== process.pid);
}

export async function processes(): Promise<Process[]> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-axo', 'pid=,ppid=,command=']);
    return [...stdout.matchAll(/^\s*(\d+)\s+(\d+)\s+(.*)$/gm)].map(([, pid, parent, command]) => ({
      pid: Number(pid),
      parent: Number(parent),
      command: command ?? '',
    }));
  }
  const all = await Promise.all(
    (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map((pid) => processOf(Number(pid))),
  );
  return all.filter((one) => one !== undefined);
}

async function processOf(pid: number): Promise<Process | undefined> {
  try {
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return { pid, parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]), command };
  } catch {
    return undefined; // It ended while we looked.
  }
}

/**
 * Runs one of the programs of this folder in a process of its own, which tells what it has to say by IPC. It is ended
 * with the test, at the latest.
 */
export function program(name: string, args: string[] = [], env: Record<string, string> = {}) {
  const child = fork(new URL(`./programs/${name}.ts`, import.meta.url), args, {
    env: { ...process.env, ...env },
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const said: unknown[] = [];
  const listeners: ((message: unknown) => void)[] = [];
  child.on('message', (message) => {
    const listener = listeners.shift();
    if (listener) listener(message);
    else said.push(message);
  });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('exit', (code, signal) => resolve(code ?? signal)),
  );
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return {
    child,
    /** How it ended: exit status or signal. */
    ended,
    /** The next thing it says. */
    next: async <T>(): Promise<T> => {
      if (said.length > 0) return said.shift() as T;
      const message = new Promise<unknown>((resolve) => listeners.push(resolve));
      const end = ended.then((how) => {
        throw new Error(`the program ${name} ended (${how}) and said nothing more`);
      });
      return (await Promise.race([message, end])) as T;
    },
  };
}
