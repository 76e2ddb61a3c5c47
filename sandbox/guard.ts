/**
 * The guard: a small process that is the parent of all components, so that they end when the process that asked for
 * them ends, whatever ended it. It talks over the IPC channel; when the channel closes it ends every component by its
 * process id, removes the folders it was told of, and ends itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';

export type ToGuard =
  | {
      kind: 'start';
      id: number;
      file: string;
      args: string[];
      env: Record<string, string | undefined>;
      cwd: string;
      logFile: string;
    }
  | { kind: 'end'; id: number; graceMs: number }
  /** Folders to be removed when the channel closes. */
  | { kind: 'folders'; folders: string[] };

export type FromGuard =
  | { kind: 'started'; id: number; pid: number }
  | { kind: 'refused'; id: number; message: string }
  | { kind: 'exited'; id: number; code: number | null; signal: string | null };

const GRACE_OF_ORPHANS_MS = 3_000;

const running = new Map<number, ChildProcess>();
let folders: string[] = [];

function tell(message: FromGuard): void {
  // The channel may close at any moment; what is to be done then is done by `disconnect`.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

function start(order: Extract<ToGuard, { kind: 'start' }>): void {
  let log: number;
  try {
    log = openSync(order.logFile, 'a');
  } catch (error) {
    tell({ kind: 'refused', id: order.id, message: String(error) });
    return;
  }
  const child = spawn(order.file, order.args, { cwd: order.cwd, env: order.env, stdio: ['ignore', log, log] });
  closeSync(log);
  child.once('spawn', () => {
    running.set(order.id, child);
    if (child.pid !== undefined) tell({ kind: 'started', id: order.id, pid: child.pid });
  });
  child.on('error', (error) => {
    if (!running.has(order.id)) tell({ kind: 'refused', id: order.id, message: error.message });
  });
  child.once('exit', (code, signal) => {
    running.delete(order.id);
    tell({ kind: 'exited', id: order.id, code, signal });
    if (!process.connected) leaveWhenEmpty();
  });
}

function end(id: number, graceMs: number): void {
  const child = running.get(id);
  if (child === undefined) return;
  if (graceMs > 0) child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), graceMs);
  child.once('exit', () => clearTimeout(kill));
}

function leaveWhenEmpty(): void {
  if (running.size > 0) return;
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  process.exit(0);
}

process.on('message', (message: ToGuard) => {
  if (message.kind === 'start') start(message);
  else if (message.kind === 'end') end(message.id, message.graceMs);
  else folders = message.folders;
});
process.on('disconnect', () => {
  for (const id of running.keys()) end(id, GRACE_OF_ORPHANS_MS);
  leaveWhenEmpty();
});
// Ctrl-C and a hang-up of the terminal are for the process that started us: it ends the components in its own order.
for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(signal, () => undefined);
