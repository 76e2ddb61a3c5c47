import { type ChildProcess, fork } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { FromGuard, ToGuard } from './guard.ts';

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: string | null;
}

/** A component's process, a child of the guard (see guard.ts): it does not outlive this process. */
export interface Component {
  readonly name: string;
  readonly pid: number;
  /** Its standard output and error. */
  readonly logFile: string;
  readonly exited: Promise<Exit>;
  /** SIGTERM, and SIGKILL after `graceMs` (default 10 s). Resolves when it is gone. */
  stop(graceMs?: number): Promise<Exit>;
  /** SIGKILL. Resolves when it is gone. */
  kill(): Promise<Exit>;
}

export interface StartOptions {
  name: string;
  /** Path of the executable. */
  file: string;
  args: string[];
  /** Added to this process's environment. */
  env?: Record<string, string>;
  cwd?: string;
  logFile: string;
}

/** A component did not start, or not in time. The message quotes the end of its log, where it has one. */
export class ComponentStartError extends Error {
  override readonly name = 'ComponentStartError';
  readonly component: string;
  readonly logFile: string | undefined;
  constructor(component: string, what: string, log?: { file: string; tail: string }) {
    const quote = log?.tail === '' ? `Its log ${log.file} is empty.` : `The end of its log ${log?.file}:\n${log?.tail}`;
    super(`${component} ${what}.${log === undefined ? '' : ` ${quote}`}`);
    this.component = component;
    this.logFile = log?.file;
  }
}

interface Pending {
  resolve(pid: number): void;
  reject(error: Error): void;
}

/** This process's side of the guard. */
class Guard {
  readonly #process: ChildProcess;
  readonly #starting = new Map<number, Pending>();
  readonly #running = new Map<number, { pid: number; exited: (exit: Exit) => void }>();
  /** While somebody waits for an answer, the channel keeps this process alive; else it does not. */
  #waiting = 0;
  #lastId = 0;
  #hasServed = false;
  gone = false;

  constructor() {
    const file = fileURLToPath(new URL(`./guard${extname(import.meta.url)}`, import.meta.url));
    // A session of its own: Ctrl-C in the terminal must not reach the components before we have our say.
    this.#process = fork(file, [], { detached: true, stdio: ['ignore', 'ignore', 'ignore', 'ipc'], execArgv: [] });
    this.#process.on('message', (message) => this.#receive(message as FromGuard));
    this.#process.once('error', () => this.#lost());
    this.#process.once('exit', () => this.#lost());
    this.#process.unref();
    this.#process.channel?.unref();
  }

  async start(order: Omit<Extract<ToGuard, { kind: 'start' }>, 'kind' | 'id'>): Promise<{
    pid: number;
    exited: Promise<Exit>;
    end(graceMs: number): Promise<Exit>;
  }> {
    const id = ++this.#lastId;
    const { promise: exited, resolve: onExit } = Promise.withResolvers<Exit>();
    const started = Promise.withResolvers<number>();
    this.#starting.set(id, {
      resolve: (pid) => {
        this.#running.set(id, { pid, exited: onExit });
        started.resolve(pid);
      },
      reject: started.reject,
    });
    this.#send({ kind: 'start', id, ...order });
    const pid = await this.#awake(started.promise);
    const end = (graceMs: number): Promise<Exit> => {
      if (this.#running.has(id)) this.#send({ kind: 'end', id, graceMs });
      return this.#awake(exited);
    };
    return { pid, exited, end };
  }

  folders(folders: string[]): void {
    if (!this.gone) this.#send({ kind: 'folders', folders });
  }

  #send(message: ToGuard): void {
    this.#process.send(message, (error) => {
      if (error !== null) this.#lost();
    });
  }

  async #awake<T>(promise: Promise<T>): Promise<T> {
    if (this.#waiting++ === 0) this.#process.channel?.ref();
    try {
      return await promise;
    } finally {
      if (--this.#waiting === 0) this.#process.channel?.unref();
    }
  }

  #receive(message: FromGuard): void {
    this.#hasServed = true;
    const pending = this.#starting.get(message.id);
    this.#starting.delete(message.id);
    if (message.kind === 'started') pending?.resolve(message.pid);
    else if (message.kind === 'refused') pending?.reject(new Error(message.message));
    else {
      this.#running.get(message.id)?.exited({ code: message.code, signal: message.signal });
      this.#running.delete(message.id);
    }
  }

  /** The guard was ended by somebody else: its children are orphans, so they are ended from here. */
  #lost(): void {
    if (this.gone) return;
    this.gone = true;
    for (const { pid, exited } of this.#running.values()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It is gone already.
      }
      exited({ code: null, signal: 'SIGKILL' });
    }
    this.#running.clear();
    for (const pending of this.#starting.values())
      pending.reject(new Error('the guard process was ended from outside'));
    this.#starting.clear();
    // The folders still need somebody who outlives us; but a guard that never worked would not the next time.
    if (this.#hasServed && foldersToRemove.size > 0) theGuard();
  }
}

let guard: Guard | undefined;
const foldersToRemove = new Set<string>();

function theGuard(): Guard {
  if (guard === undefined || guard.gone) {
    guard = new Guard();
    if (foldersToRemove.size > 0) guard.folders([...foldersToRemove]);
  }
  return guard;
}

/** Removes the folder should this process die without doing it itself. Answers a function that takes this back. */
export function removeAtDeath(folder: string): () => void {
  foldersToRemove.add(folder);
  theGuard().folders([...foldersToRemove]);
  return () => {
    foldersToRemove.delete(folder);
    guard?.folders([...foldersToRemove]);
  };
}

/**
 * Starts a component as a child of the guard. Resolves when its process runs, not when it is ready (`untilReady`).
 * @throws ComponentStartError when it cannot be executed
 */
export async function startComponent(options: StartOptions): Promise<Component> {
  const { name, file, args, logFile } = options;
  const env = { ...process.env, ...options.env };
  const child = await theGuard()
    .start({ file, args, env, cwd: options.cwd ?? tmpdir(), logFile })
    .catch((error: Error) => {
      throw new ComponentStartError(name, `could not be executed (${file}: ${error.message})`);
    });
  return {
    name,
    pid: child.pid,
    logFile,
    exited: child.exited,
    stop: (graceMs = 10_000) => child.end(graceMs),
    kill: () => child.end(0),
  };
}

/**
 * Resolves when the probe answers true. A probe that throws or takes over 2 s counts as not ready yet.
 * @throws ComponentStartError when the component ends first, or `timeoutMs` (default 60 s) has passed
 */
export async function untilReady(
  component: Component,
  probe: (signal: AbortSignal) => Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let exit: Exit | undefined;
  void component.exited.then((value) => {
    exit = value;
  });
  let why = '';
  for (let pause = 20; ; pause = Math.min(pause * 1.3, 200)) {
    if (exit !== undefined) {
      const how = exit.signal === null ? `with status ${exit.code}` : `by ${exit.signal}`;
      throw new ComponentStartError(component.name, `ended while starting, ${how}`, await endOfLog(component));
    }
    try {
      if (await probe(AbortSignal.timeout(2_000))) return;
    } catch (error) {
      why = `; last answer: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (Date.now() > deadline) {
      await component.kill();
      const what = `was not ready after ${timeoutMs / 1000} s and was ended${why}`;
      throw new ComponentStartError(component.name, what, await endOfLog(component));
    }
    await sleep(pause);
  }
}

/** A probe: a GET of the URL answers 2xx. */
export const answers =
  (url: string) =>
  async (signal: AbortSignal): Promise<boolean> => {
    const response = await fetch(url, { signal });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return true;
  };

async function endOfLog({ logFile }: Component, lines = 15): Promise<{ file: string; tail: string }> {
  const log = await readFile(logFile, 'utf8').catch(() => '');
  return { file: logFile, tail: log.trimEnd().split('\n').slice(-lines).join('\n') };
}
