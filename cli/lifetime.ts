import { readFileSync } from 'node:fs';
import { EXIT, type ExitStatus } from './status.ts';

/** Why a long-running command is to stop, and the exit status that says so. */
export interface Stop {
  why: string;
  status: ExitStatus;
}

/** For the log, where a worker did not stop in time. */
export const CUT_SHORT = 'some work did not end in time; the next worker tries it again';

/**
 * Resolves once when this process is to stop: on Ctrl-C, SIGTERM, the end of its terminal, or the end of its parent
 * (a process that was started without one, as by init or as the first of a container, looks for none). A second Ctrl-C
 * does not wait for what is being stopped.
 */
export function untilStopped(): Promise<Stop> {
  const { promise, resolve } = Promise.withResolvers<Stop>();
  let asked = false;
  const ask = (stop: Stop): void => {
    asked = true;
    resolve(stop);
  };
  process.on('SIGINT', () => {
    if (asked) process.exit(EXIT.interrupted);
    ask({ why: 'interrupted', status: EXIT.interrupted });
  });
  process.on('SIGTERM', () => ask({ why: 'asked to end (SIGTERM)', status: EXIT.done }));
  process.on('SIGHUP', () => ask({ why: 'its terminal closed', status: EXIT.interrupted }));
  const born = lineage();
  if (process.ppid > 1) {
    const look = setInterval(() => {
      if (lineage() === born) return;
      clearInterval(look);
      ask({ why: 'the process that started it has ended', status: EXIT.interrupted });
    }, 1_000);
    look.unref();
  }
  return promise;
}

/** The parent, and under npm also the parent's: `npx` and `npm run` put a shell in between, which outlives them. */
function lineage(): string {
  const parent = process.ppid;
  return process.env['npm_execpath'] === undefined ? `${parent}` : `${parent} ${parentOf(parent)}`;
}

/** @returns undefined where the system has no process table in files, or no such process */
function parentOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Fields are counted from behind the command, which may hold spaces and brackets.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
  } catch {
    return undefined;
  }
}
