import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { FinalError } from '../errors.ts';
import { redacted } from './redact.ts';

const BEAT_MS = 2_000;
const GRACE_MS = 10_000;
const MOST_OUT = 64 * 1024 * 1024;
const MOST_ERR = 32 * 1024;

/** Whom a long process is for. */
export interface Watch {
  /** When it is aborted, the process is ended, and the signal's reason is thrown. */
  signal: AbortSignal;
  /** Called every two seconds while it runs. */
  beat: () => void;
}

export interface ProcessOptions extends Watch {
  cwd: string;
  /** The whole environment: nothing of this process's gets in by itself. */
  env: Readonly<Record<string, string>>;
  /** Never told of what it printed on its standard error. */
  secrets?: readonly string[];
  /** How it is asked to end. Default: SIGTERM. */
  endWith?: 'SIGTERM' | 'SIGINT';
  /** After that it is killed. */
  graceMs?: number;
  /** Bytes of standard output that are kept; more end it with an error, for a part of an answer is none. */
  mostOut?: number;
  /**
   * Open files for both of its outputs, in place of pipes: then it does not die of a broken pipe when this process does, and
   * ends what it has begun.
   */
  files?: { out: number; err: number };
  /** What it printed and how it ended is told also where it was ended by the signal: it may have done a part. */
  tellAll?: boolean;
  /** Told its process id as soon as it runs. */
  started?: (pid: number) => void;
}

export interface Ended {
  /** Exit status; 128 and the number of the signal that ended it. */
  status: number;
  stdout: string;
  /** The end of it, without secrets. */
  stderr: string;
}

/**
 * Runs a program to its end, without a shell, in a process group of its own: so whatever it started ends with it, and a
 * Ctrl-C on the worker's terminal does not reach it before the worker has decided.
 *
 * @throws FinalError `Invalid` where there is no such program; the signal's reason when that was aborted
 */
export async function runProcess(file: string, args: readonly string[], options: ProcessOptions): Promise<Ended> {
  const { cwd, env, signal, beat, files, started, secrets = [] } = options;
  signal.throwIfAborted();
  const child = spawn(file, args, {
    ...{ cwd, env: { ...env }, detached: true },
    stdio: files ? ['ignore', files.out, files.err] : ['ignore', 'pipe', 'pipe'],
  });
  const out = new Kept(options.mostOut ?? MOST_OUT, 'first');
  const err = new Kept(MOST_ERR, 'last');
  const end = new Ending(child.pid, options);
  child.stdout?.on('data', (chunk: Buffer) => {
    if (!out.add(chunk)) void end.now();
  });
  child.stderr?.on('data', (chunk: Buffer) => err.add(chunk));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once('error', (cause) => reject(notStarted(file, cause)));
  child.once('close', (code, by) => resolve(code ?? 128 + (by ? constants.signals[by] : 0)));
  if (child.pid !== undefined) started?.(child.pid);
  const timer = setInterval(beat, BEAT_MS);
  signal.addEventListener('abort', end.now, { once: true });
  try {
    beat();
    const status = await promise;
    if (!options.tellAll) signal.throwIfAborted();
    if (out.isOver) throw tooMuch(file, out.most);
    return { status, stdout: out.text(), stderr: redacted(err.text(), secrets) };
  } finally {
    end.over();
    clearInterval(timer);
    signal.removeEventListener('abort', end.now);
  }
}

/** Ends a group of processes: asks once, waits, and then no more. */
class Ending {
  readonly #pid: number | undefined;
  readonly #how: 'SIGTERM' | 'SIGINT';
  readonly #graceMs: number;
  readonly #over = new AbortController();
  #asked = false;

  constructor(pid: number | undefined, { endWith = 'SIGTERM', graceMs = GRACE_MS }: ProcessOptions) {
    this.#pid = pid;
    this.#how = endWith;
    this.#graceMs = graceMs;
  }

  readonly now = async (): Promise<void> => {
    // A second SIGINT would make OpenTofu stop at once, and leave its lock behind.
    if (this.#asked) return;
    this.#asked = true;
    this.#send(this.#how);
    const late = await delay(this.#graceMs, true, { signal: this.#over.signal }).catch(() => false);
    if (late) this.#send('SIGKILL');
  };

  over(): void {
    this.#over.abort();
  }

  #send(signal: NodeJS.Signals): void {
    if (this.#pid === undefined) return;
    try {
      process.kill(-this.#pid, signal);
    } catch {
      // It has ended by itself.
    }
  }
}

/** What was printed, up to a bound. */
class Kept {
  readonly most: number;
  readonly #which: 'first' | 'last';
  #chunks: Buffer[] = [];
  #size = 0;
  isOver = false;

  constructor(most: number, which: 'first' | 'last') {
    this.most = most;
    this.#which = which;
  }

  /** @returns whether there was room for it */
  add(chunk: Buffer): boolean {
    this.#size += chunk.length;
    if (this.#size <= this.most) {
      this.#chunks.push(chunk);
      return true;
    }
    this.isOver = true;
    if (this.#which === 'last') {
      this.#chunks = [Buffer.concat([...this.#chunks, chunk]).subarray(-this.most)];
      this.#size = this.most;
    }
    return false;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

const notStarted = (file: string, cause: Error): FinalError =>
  new FinalError(
    `the command ${file} could not be started (${cause.message}); nothing was done. Install it on each worker, or name its path`,
    { type: 'Invalid', cause },
  );

const tooMuch = (file: string, most: number): FinalError =>
  new FinalError(
    `${file} printed more than ${most / 1024 / 1024} MiB, which is more than is read; nothing was done. Split what it is about`,
    { type: 'Invalid' },
  );
