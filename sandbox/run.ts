import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A tool that is not there, or that failed: the message has the command and the end of what it printed. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

export interface RunOptions {
  cwd?: string;
  timeoutMs?: number;
  /** Beside the environment of this process. */
  env?: Record<string, string>;
  /** Called with each line of either stream. */
  onLine?: (line: string) => void;
}

/**
 * Runs a tool to its end and answers what it printed on both streams. No shell.
 * @throws ToolError
 */
export async function run(file: string, args: string[], options: RunOptions = {}): Promise<string> {
  const { cwd, timeoutMs, env, onLine } = options;
  const child = spawn(file, args, {
    ...{ cwd, timeout: timeoutMs, stdio: ['ignore', 'pipe', 'pipe'] },
    env: { ...process.env, ...env },
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      onLine?.(line);
    });
  }
  const { promise, resolve, reject } = Promise.withResolvers<number | string>();
  child.once('error', (error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? `\`${file}\` is not installed` : `\`${file}\`: ${error.message}`;
    reject(new ToolError(why, { cause: error }));
  });
  child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  const status = await promise;
  if (status !== 0) {
    throw new ToolError(`\`${file} ${args[0] ?? ''}\` ended with ${status}: ${lines.slice(-5).join(' / ')}`);
  }
  return lines.join('\n');
}
