import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

export const ROOT = join(import.meta.dirname, '../..');
export const BIN = join(ROOT, 'bin/salvor.mjs');

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface Invocation {
  cwd?: string;
  env?: Record<string, string>;
  stdin?: string;
  /** The command to run; by default the checkout's, from its build. */
  bin?: string;
}

/** What a person's shell gives a command, without what would change its output. */
function environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const { NO_COLOR: _, FORCE_COLOR: __, SALVOR_CONFIG: ___, NODE_OPTIONS: ____, ...env } = process.env;
  return { ...env, ...extra };
}

/** Runs `salvor` to its end. */
export async function salvor(args: string[], { cwd, env, stdin = '', bin = BIN }: Invocation = {}): Promise<Ended> {
  const child = spawn(process.execPath, [bin, ...args], { cwd, env: environment(env), stdio: 'pipe' });
  child.stdin.end(stdin);
  const exit = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  return { status, stdout, stderr };
}

/** A `salvor` that stays; its output so far is at hand for messages and conditions. */
export interface Staying {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Exit status, once it has ended. */
  ended: Promise<number | null>;
}

export function stay(args: string[], { cwd, env, bin = BIN }: Invocation = {}): Staying {
  const child = spawn(process.execPath, [bin, ...args], {
    cwd,
    env: environment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const ended = (once(child, 'close') as Promise<[number | null]>).then(([status]) => status);
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}
