import { chmod, chown, cp, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { findComponent } from './components.ts';
import { freePort } from './ports.ts';
import { type Component, removeAtDeath, startComponent, untilReady } from './processes.ts';
import type { OnProgress } from './progress.ts';
import { run } from './run.ts';

/** A real PostgreSQL on loopback, with its data in a temporary folder of its own. It syncs to the disk as it does everywhere. */
export interface Postgres {
  /** `postgres://salvor@127.0.0.1:PORT/postgres`; its user may do anything. */
  readonly url: string;
  readonly password: string;
  readonly logFile: string;
  /** Undefined while it is down. */
  readonly pid: number | undefined;
  /** Makes an empty database and answers its address, without the password. */
  createDatabase(name: string): Promise<string>;
  /** Ends it, its clients being cut off; `start` brings it up again on the same port and data. */
  shutDown(): Promise<void>;
  /** SIGKILL, of all its processes, as when the machine fails. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

const USER = 'salvor';
const PASSWORD = 'of-the-sandbox';
/** PostgreSQL refuses to run as root: it then runs as `nobody`. */
const NOBODY = 65_534;
const LEFTOVER_MS = 20_000;

/** @throws MissingComponentError, ComponentStartError, ToolError */
export async function startPostgres(options: { onProgress?: OnProgress } = {}): Promise<Postgres> {
  const found = await findComponent('postgres', { onProgress: options.onProgress });
  const folder = await mkdtemp(join(tmpdir(), 'salvor-postgres-'));
  const keep = removeAtDeath(folder);
  const remove = async (): Promise<void> => {
    await rm(folder, { recursive: true, force: true });
    keep();
  };
  try {
    const server = new Server(folder, await usable(found, folder), await freePort());
    await server.initialise();
    await server.start();
    return Object.assign(server, {
      stop: async () => {
        await server.shutDown();
        await remove();
      },
    });
  } catch (error) {
    await remove();
    throw error;
  }
}

/** As whom and with which libraries the programs run. */
interface Programs {
  folder: string;
  /** Libraries that came with them from the cache. */
  libraries: string | undefined;
}

class Server {
  readonly password = PASSWORD;
  readonly logFile: string;
  readonly #data: string;
  readonly #programs: Programs;
  readonly #port: number;
  #component: Component | undefined;

  constructor(folder: string, programs: Programs, port: number) {
    this.#data = join(folder, 'data');
    this.logFile = join(folder, 'postgres.log');
    this.#programs = programs;
    this.#port = port;
  }

  get url(): string {
    return this.#urlOf('postgres');
  }

  get pid(): number | undefined {
    return this.#component?.pid;
  }

  async initialise(): Promise<void> {
    const folder = dirname(this.#data);
    const passwordFile = join(folder, 'password');
    await writeFile(passwordFile, PASSWORD);
    if (isRoot()) for (const path of [folder, passwordFile]) await chown(path, NOBODY, NOBODY);
    const args = ['--pgdata', this.#data, '--username', USER, '--pwfile', passwordFile, '--auth', 'scram-sha-256'];
    const { file, args: all } = command(this.#programs, 'initdb', [...args, '--encoding', 'UTF8', '--locale', 'C']);
    await run(file, [...all, '--no-sync'], { cwd: folder, timeoutMs: 60_000 });
  }

  async start(): Promise<void> {
    for (const deadline = Date.now() + LEFTOVER_MS; ; await sleep(100)) {
      try {
        await this.#start();
        return;
      } catch (error) {
        // Killed a moment ago: its other processes are about to notice and to end.
        if (!/still in use|lock file .* exists/.test(String(error)) || Date.now() > deadline) throw error;
      }
    }
  }

  async #start(): Promise<void> {
    const settings = {
      listen_addresses: '127.0.0.1',
      port: this.#port,
      unix_socket_directories: '',
      // In its own folder, so that nothing is left elsewhere when it is killed.
      dynamic_shared_memory_type: 'mmap',
      // Its compiler is a package of a hundred megabytes, which nobody here needs.
      jit: 'off',
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const program = command(this.#programs, 'postgres', ['-D', this.#data, ...flags]);
    const component = await startComponent({ name: 'postgres', ...program, cwd: this.#data, logFile: this.logFile });
    this.#component = component;
    void component.exited.then(() => {
      if (this.#component === component) this.#component = undefined;
    });
    await untilReady(component, async () => {
      await this.#query('select 1');
      return true;
    });
  }

  async shutDown(): Promise<void> {
    const component = this.#component;
    if (component === undefined) return;
    // The guard's SIGTERM would wait until the last client has gone.
    process.kill(component.pid, 'SIGINT');
    await Promise.race([component.exited, component.stop(20_000)]);
  }

  async kill(): Promise<void> {
    // Its other processes notice that their parent is gone, and end at once.
    await this.#component?.kill();
  }

  async createDatabase(name: string): Promise<string> {
    await this.#query(`create database ${pg.escapeIdentifier(name)}`);
    return this.#urlOf(name);
  }

  async #query(text: string): Promise<void> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.#port,
      user: USER,
      password: PASSWORD,
      database: 'postgres',
      connectionTimeoutMillis: 2_000,
    });
    try {
      await client.connect();
      await client.query(text);
    } finally {
      await client.end();
    }
  }

  #urlOf(database: string): string {
    return `postgres://${USER}@127.0.0.1:${this.#port}/${database}`;
  }
}

const isRoot = (): boolean => process.getuid?.() === 0;

/** Where its programs can be run by whoever runs them: `nobody` cannot look into root's home. */
async function usable(executable: string, folder: string): Promise<Programs> {
  // What is in the PATH may be a link; the other programs and files are found from the real place.
  const real = dirname(await realpath(executable));
  const own: Programs = { folder: real, libraries: await librariesBeside(real) };
  if (!isRoot()) return own;
  await chmod(folder, 0o755);
  const { file, args } = unprivileged(['test', '-x', join(real, 'postgres')]);
  const runs = await run(file, args).then(
    () => true,
    () => false,
  );
  if (runs) return own;
  const tree = join(folder, 'programs');
  await cp(root(real), tree, { recursive: true, verbatimSymlinks: true });
  const copy = join(tree, real.slice(root(real).length));
  return { folder: copy, libraries: await librariesBeside(copy) };
}

/** The folder that stands for `/` above `usr/lib/postgresql/NN/bin`. */
const root = (programs: string): string => resolve(programs, '..', '..', '..', '..', '..');

async function librariesBeside(programs: string): Promise<string | undefined> {
  const libraries = join(root(programs), 'usr', 'lib');
  if (libraries === '/usr/lib') return undefined;
  const folders = (await readdir(libraries).catch(() => [])).filter((name) => name.endsWith('-linux-gnu'));
  return folders.length === 0 ? undefined : folders.map((name) => join(libraries, name)).join(':');
}

function command({ folder, libraries }: Programs, name: string, args: string[]): { file: string; args: string[] } {
  const words = [join(folder, name), ...args];
  if (libraries !== undefined) words.unshift('env', `LD_LIBRARY_PATH=${libraries}`);
  return unprivileged(words);
}

function unprivileged(words: string[]): { file: string; args: string[] } {
  const as = isRoot() ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'] : [];
  const [file = '', ...args] = [...as, ...words];
  return { file, args };
}
