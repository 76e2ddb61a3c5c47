import { createHmac } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { canonicalJson } from '../../model/digest.ts';
import type { OpenTofuStack, Stack } from '../../model/drift/options.ts';
import { type PlanJson, parsePlan } from '../../model/drift/plan-json.ts';
import { InputError } from '../../model/input-error.ts';
import { FinalError } from '../errors.ts';
import { type Ended, type ProcessOptions, runProcess, type Watch } from '../processes/run.ts';
import { unfinished } from '../processes/unfinished.ts';
import type { Workplace } from '../processes/workplace.ts';
import type { Environment } from './environment.ts';
import { failed, locked, lockIn } from './errors.ts';
import { keepState } from './module.ts';

export interface TofuOptions {
  stack: Stack;
  options: OpenTofuStack;
  /** Where the module is that is worked in. */
  cwd: string;
  /** The user's own folder, of which it is a copy; undefined: a checkout. */
  folder?: string;
  place: Workplace;
  environment: Environment;
  watch: Watch;
}

/** It ends what it does, and lets go of the lock: to kill it before that would leave both as they are. */
const GRACE_MS = 120_000;
/** An apply is in the middle of something that nobody else knows how far it is. */
const APPLY_GRACE_MS = 600_000;

/** One initialised module. Nothing here ever ends a lock that somebody else has. */
export class Tofu {
  readonly #options: TofuOptions;
  readonly #name: string;
  #plans = 0;

  constructor(options: TofuOptions) {
    this.#options = options;
    this.#name = options.stack.name;
  }

  /** @returns why it must not be worked with; undefined: it may */
  async init(): Promise<string | undefined> {
    const { options, cwd, folder } = this.#options;
    const settings = [
      ...options.backendConfigFiles.map((file) => `-backend-config=${file}`),
      ...Object.entries(options.backendConfig).map(([key, value]) => `-backend-config=${key}=${value}`),
    ];
    // Versions that are pinned are not changed: with another one the plan might be another.
    const pinned = await readFile(join(cwd, '.terraform.lock.hcl')).then(
      () => ['-lockfile=readonly'],
      () => [],
    );
    await this.#must('init', '-input=false', '-no-color', ...pinned, ...settings);
    const local = await this.#localState();
    if (local) {
      if (folder === undefined)
        return 'its state is in a local file of the checkout, which nobody keeps: give it a backend, or an absolute path';
      await keepState(cwd, { path: resolve(folder, local.path), workspaces: resolve(folder, local.workspaces) });
      await this.#must('init', '-input=false', '-no-color', '-reconfigure', ...pinned);
    }
    // Not created: an empty workspace would want everything anew.
    if (options.workspace !== undefined) await this.#must('workspace', 'select', '-no-color', options.workspace);
    return undefined;
  }

  /**
   * Plans into a file, of these addresses and what they depend on, or of all. It refreshes, and persists nothing of that.
   * It takes the lock for the time of it: a state that somebody is just writing would tell of drift where there is none.
   */
  async plan(addresses: readonly string[] = []): Promise<{ file: string; plan: PlanJson }> {
    const { options, stack, place } = this.#options;
    this.#plans += 1;
    const file = join(place.folder, `plan-${this.#plans}`);
    const { status, err } = await this.#outliving([
      ...['plan', '-input=false', '-no-color', '-refresh=true', `-lock-timeout=${stack.lockWithin}ms`, `-out=${file}`],
      ...options.varFiles.map((one) => `-var-file=${one}`),
      ...addresses.map((address) => `-target=${address}`),
    ]);
    if (status !== 0) throw this.#failed('plan', err);
    const { stdout } = await this.#must('show', '-json', file);
    try {
      return { file, plan: parsePlan(stdout) };
    } catch (cause) {
      if (!(cause instanceof InputError)) throw cause;
      throw new FinalError(`stack ${this.#name}: ${cause.message}; nothing was touched`, { type: 'Invalid', cause });
    }
  }

  /** Applies that very file, and nothing else. */
  async apply(file: string): Promise<Applied> {
    const { stack } = this.#options;
    const args = ['apply', '-input=false', '-json', `-lock-timeout=${stack.lockWithin}ms`, file];
    const { status, out, err } = await this.#outliving(args, { graceMs: APPLY_GRACE_MS, tellAll: true });
    return appliedOf(status, out, err);
  }

  /**
   * Seals values with a key that only who may read the state knows, who may read them there too. So it is the same for all
   * workers, and tells nothing to who reads the history.
   */
  async sealer(): Promise<(value: unknown) => string> {
    const { stdout } = await this.#must('state', 'pull');
    const lineage =
      stdout.trim() === '' ? undefined : /"lineage":\s*"(?<lineage>[^"]+)"/.exec(stdout)?.groups?.['lineage'];
    // Without a state there is nothing to compare with later.
    if (lineage === undefined) return () => '';
    return (value) =>
      createHmac('sha256', `salvor ${lineage}`)
        .update(canonicalJson(value ?? null))
        .digest('hex');
  }

  async #localState(): Promise<{ path: string; workspaces: string } | undefined> {
    const text = await readFile(join(this.#dataDir, 'terraform.tfstate'), 'utf8').catch(() => '{}');
    const { backend = null } = JSON.parse(text) as {
      backend?: { type: string; config?: Record<string, unknown> } | null;
    };
    if (backend !== null && backend.type !== 'local') return undefined;
    const path = backend?.config?.['path'] ?? 'terraform.tfstate';
    const workspaces = backend?.config?.['workspace_dir'] ?? 'terraform.tfstate.d';
    if (typeof path !== 'string' || typeof workspaces !== 'string') return undefined;
    return path === resolve(path) ? undefined : { path, workspaces };
  }

  get #dataDir(): string {
    return this.#options.environment.env['TF_DATA_DIR'] ?? '';
  }

  async #must(...args: string[]): Promise<Ended> {
    const ended = await this.#run(args);
    if (ended.status !== 0) throw this.#failed(args[0] ?? '', ended.stderr);
    return ended;
  }

  #failed(command: string, text: string): Error {
    const { stack, options, environment } = this.#options;
    const lock = lockIn(text);
    if (lock) return locked(this.#name, lock, stack.lockWithin);
    return failed(this.#name, `${basename(options.command)} ${command}`, text, environment.secrets);
  }

  /**
   * Runs what takes the lock. When this worker is killed meanwhile, the command lives on, keeps its lock, ends what it has
   * begun, and lets go of it: it prints into files, for of a broken pipe it would die in the middle, and leave the lock behind.
   * Its folder stays until then. A worker that is only asked to end waits for it.
   */
  async #outliving(args: readonly string[], more: Partial<ProcessOptions> = {}) {
    const { place } = this.#options;
    const paths = { out: join(place.folder, 'out'), err: join(place.folder, 'err') };
    await using out = await open(paths.out, 'w', 0o600);
    await using err = await open(paths.err, 'w', 0o600);
    const marks: Promise<void>[] = [];
    const { status } = await unfinished(
      this.#run(args, {
        ...{ files: { out: out.fd, err: err.fd }, ...more },
        started: (pid) => marks.push(place.mark(pid)),
      }),
    );
    await Promise.all(marks);
    return { status, out: await readFile(paths.out, 'utf8'), err: await readFile(paths.err, 'utf8') };
  }

  #run(args: readonly string[], more: Partial<ProcessOptions> = {}): Promise<Ended> {
    const { options, cwd, environment, watch } = this.#options;
    return runProcess(options.command, args, {
      ...{ cwd, env: environment.env, secrets: environment.secrets, ...watch },
      // It ends what it is doing then, and lets go of the lock.
      ...{ endWith: 'SIGINT', graceMs: GRACE_MS, ...more },
    });
  }
}

/** What an apply has told, line by line. */
export interface Applied {
  status: number;
  /** Addresses that were done, and when. */
  done: Map<string, string>;
  /** What went wrong. */
  problems: string;
  isStale: boolean;
}

function appliedOf(status: number, out: string, err: string): Applied {
  const done = new Map<string, string>();
  const problems: string[] = [];
  for (const line of out.split('\n')) {
    const told = jsonLine(line);
    const address = told?.hook?.resource?.addr;
    if (told?.type === 'apply_complete' && address)
      done.set(address, new Date(told['@timestamp'] ?? Date.now()).toISOString());
    if (told?.type !== 'diagnostic' || told.diagnostic?.severity !== 'error') continue;
    problems.push(`Error: ${told.diagnostic.summary ?? ''}`, told.diagnostic.detail ?? '');
  }
  const text = [...problems, err].join('\n');
  return { status, done, problems: text, isStale: /Saved plan is stale|does not match the current state/i.test(text) };
}

interface ToldLine {
  type?: string;
  '@timestamp'?: string;
  hook?: { resource?: { addr?: string } };
  diagnostic?: { severity?: string; summary?: string; detail?: string };
}

function jsonLine(line: string): ToldLine | undefined {
  try {
    return JSON.parse(line) as ToldLine;
  } catch {
    return undefined; // cut short, or of something that prints beside it
  }
}
