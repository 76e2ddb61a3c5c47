import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dataFolder } from './paths.ts';
import type { OnProgress } from './progress.ts';
import { run } from './run.ts';
import { PARTS, type Sandbox, startSandbox } from './sandbox.ts';

/** What is known of the sandbox that `salvor sandbox up` keeps running; kept in a file under the user's data folder. */
export interface SandboxState {
  /** Of `salvor sandbox up`, which all other processes of the sandbox end with. */
  pid: number;
  /** When that process was born, in the words of the system: a number may have a second owner. */
  born: string;
  /** undefined while it starts. */
  up?: {
    folder: string;
    temporal: { address: string; uiUrl?: string };
    kubernetes: { server: string; kubeconfig: string; auditLog: string };
    prometheus: string;
    alertmanager: string;
  };
}

/** One sandbox at a time: another one is up. */
export class SandboxIsUpError extends Error {
  override readonly name = 'SandboxIsUpError';
  readonly state: SandboxState;
  constructor(state: SandboxState) {
    super(`A sandbox is up already, by process ${state.pid}. End it with \`salvor sandbox down\`.`);
    this.state = state;
  }
}

export interface SandboxUpOptions {
  /** Called once, when everything answers. */
  onUp: (state: Required<SandboxState>, sandbox: Sandbox) => void | Promise<void>;
  onProgress?: OnProgress;
}

const stateFile = (): string => join(dataFolder(), 'sandbox.json');
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const DOWN_WITHIN_MS = 30_000;

/**
 * Brings all parts up and keeps them until Ctrl-C, `sandboxDown` or the end of the terminal; answers which signal it was.
 * Where that comes before everything is up, the caller ends its process, and whatever has started ends with it.
 * @throws SandboxIsUpError, MissingComponentError, ComponentStartError
 */
export async function sandboxUp(options: SandboxUpOptions): Promise<(typeof SIGNALS)[number]> {
  const { promise: ended, resolve } = Promise.withResolvers<(typeof SIGNALS)[number]>();
  for (const signal of SIGNALS) process.once(signal, resolve);
  // Neither a signal handler nor a component keeps a process alive; this does.
  const alive = setInterval(() => undefined, 60_000);
  const mine: SandboxState = { pid: process.pid, born: (await bornAt(process.pid)) ?? '' };
  await claim(mine);
  try {
    const first = await Promise.race([startSandbox({ parts: PARTS, onProgress: options.onProgress }), ended]);
    if (typeof first === 'string') return first;
    try {
      const state = { ...mine, up: summaryOf(first) };
      await write(state);
      await options.onUp(state, first);
      return await ended;
    } finally {
      await first.stop();
    }
  } finally {
    await rm(stateFile(), { force: true });
    clearInterval(alive);
    for (const signal of SIGNALS) process.removeListener(signal, resolve);
  }
}

/**
 * Ends the sandbox that is up, by its process id, and resolves when nothing of it is left. Answers `none` where none is
 * up, and `was-dead` where its process had died before (its components died with it).
 */
export async function sandboxDown(): Promise<'ended' | 'was-dead' | 'none'> {
  const state = await readState();
  if (state === undefined) return 'none';
  if (!(await lives(state))) {
    await rm(stateFile(), { force: true });
    // Its guard may still be ending the components, which write there: up to three seconds.
    if (state.up !== undefined) await rm(state.up.folder, { recursive: true, force: true, maxRetries: 8 });
    return 'was-dead';
  }
  process.kill(state.pid, 'SIGTERM');
  const deadline = Date.now() + DOWN_WITHIN_MS;
  while (await lives(state)) {
    // Its guard then ends the components.
    if (Date.now() > deadline) process.kill(state.pid, 'SIGKILL');
    await sleep(100);
  }
  await rm(stateFile(), { force: true });
  return 'ended';
}

/** The sandbox that is up, if one is: for `salvor sandbox` without a command, and for the demo. */
export async function sandboxState(): Promise<SandboxState | undefined> {
  const state = await readState();
  return state !== undefined && (await lives(state)) ? state : undefined;
}

function summaryOf(sandbox: Sandbox): Required<SandboxState>['up'] {
  const { temporal, kubernetes, prometheus, alertmanager, folder } = sandbox;
  return {
    folder,
    temporal: { address: temporal.address, uiUrl: temporal.uiUrl },
    kubernetes: { server: kubernetes.server, kubeconfig: kubernetes.kubeconfig, auditLog: kubernetes.auditLog },
    prometheus: prometheus.url,
    alertmanager: alertmanager.url,
  };
}

/** Makes the state file ours; only one process can. */
async function claim(mine: SandboxState): Promise<void> {
  await mkdir(dirname(stateFile()), { recursive: true });
  const draft = `${stateFile()}.${process.pid}`;
  await writeFile(draft, JSON.stringify(mine));
  try {
    for (;;) {
      try {
        await link(draft, stateFile());
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const other = await sandboxState();
      if (other !== undefined) throw new SandboxIsUpError(other);
      await sandboxDown();
    }
  } finally {
    await rm(draft);
  }
}

/** Whole or not at all, for others read it at any time. */
async function write(state: SandboxState): Promise<void> {
  const draft = `${stateFile()}.${process.pid}`;
  await writeFile(draft, JSON.stringify(state, null, 2));
  await rename(draft, stateFile());
}

async function readState(): Promise<SandboxState | undefined> {
  try {
    return JSON.parse(await readFile(stateFile(), 'utf8')) as SandboxState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

const lives = async ({ pid, born }: SandboxState): Promise<boolean> => (await bornAt(pid)) === born;

/** When a process was born, or undefined where there is none of this number. */
async function bornAt(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
    // Fields are counted from behind the command, which may hold spaces and brackets; a zombie has ended.
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields?.[0] === 'Z' ? undefined : fields?.[19];
  }
  const answer = await run('ps', ['-o', 'lstart=', '-p', `${pid}`]).catch(() => '');
  return answer.trim() || undefined;
}
