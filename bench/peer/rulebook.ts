import { randomUUID } from 'node:crypto';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { Agent, request } from 'undici';
import { componentCache } from '../../sandbox/paths.ts';
import { freePort } from '../../sandbox/ports.ts';
import { type Component, startComponent, untilReady } from '../../sandbox/processes.ts';
import { run } from '../../sandbox/run.ts';
import { now } from '../support/clock.ts';
import type { Death, Engine } from './engine.ts';

export const VERSION = '1.3.2';
const PACKAGES = [`ansible-rulebook==${VERSION}`, 'ansible-core==2.19.14'];
const INSTALL_WITHIN = 600_000;

/** Installs the peer into the cache, once, and answers its `bin` folder. Needs Python 3 and Java 17. */
export async function installRulebook(say: (text: string) => void): Promise<string> {
  const folder = join(componentCache(), `ansible-rulebook-${VERSION}`);
  const bin = join(folder, 'bin');
  const complete = join(folder, 'complete');
  const there = await access(complete).then(
    () => true,
    () => false,
  );
  if (!there) {
    say(`installing ${PACKAGES.join(' and ')} in ${folder}`);
    await run('python3', ['-m', 'venv', '--clear', folder]);
    await run(join(bin, 'pip'), ['install', '--quiet', ...PACKAGES], { timeoutMs: INSTALL_WITHIN });
    await writeFile(complete, '');
  }
  await run('java', ['-version']);
  return bin;
}

export interface RulebookOptions {
  /** Existing folder for its rulebook, its database and its log. */
  folder: string;
  bin: string;
  /** `--persistence-id` with an embedded H2 database, the one that needs no other server. */
  persistence: boolean;
  /** Its other execution strategy; sequential is its default. */
  parallel: boolean;
}

/** ansible-rulebook with a webhook source; its action runs a module that sends one HTTP request to a server that counts. */
export class Rulebook implements Engine {
  readonly name: string;
  readonly deaths: readonly Death[];
  readonly #actions = new Map<string, number[]>();
  readonly #agent = new Agent({ connections: 256 });
  readonly #start: () => Promise<Component>;
  readonly #server: Server;
  readonly #url: string;
  #component: Component | undefined;

  private constructor(options: RulebookOptions, start: () => Promise<Component>, server: Server, url: string) {
    const { persistence, parallel } = options;
    this.name = `ansible-rulebook, persistence ${persistence ? 'on' : 'off'}${parallel ? ', parallel' : ''}`;
    this.#start = start;
    this.#server = server;
    this.#url = url;
    server.on('request', (received, response) => {
      const id = received.url?.slice(1) ?? '';
      this.#actions.set(id, [...(this.#actions.get(id) ?? []), now()]);
      response.end();
    });
    this.deaths = [
      {
        name: 'its process',
        kill: async () => {
          await this.#component?.kill();
        },
        restart: () => this.#restart(),
      },
    ];
  }

  static async start(options: RulebookOptions): Promise<Rulebook> {
    const { folder, bin, persistence } = options;
    const server = createServer().listen(0, '127.0.0.1');
    const port = await freePort();
    const files = await write(options, port, (server.address() as AddressInfo).port);
    const lasting = persistence ? ['--vars', files.vars, '--persistence-id', randomUUID(), '--id', '1'] : [];
    const start = async (): Promise<Component> => {
      const component = await startComponent({
        name: 'ansible-rulebook',
        file: join(bin, 'ansible-rulebook'),
        args: ['--rulebook', files.rulebook, '--inventory', files.inventory, ...lasting],
        // It finds ansible-playbook by the path.
        env: { PATH: `${bin}${delimiter}${process.env['PATH']}` },
        cwd: folder,
        logFile: join(folder, 'ansible-rulebook.log'),
      });
      await untilReady(component, () => accepts(port));
      return component;
    };
    const rulebook = new Rulebook(options, start, server, `http://127.0.0.1:${port}/endpoint`);
    await rulebook.#restart();
    return rulebook;
  }

  async #restart(): Promise<void> {
    this.#component = await this.#start();
  }

  async targets(count: number): Promise<string[]> {
    return Array.from({ length: count }, () => randomUUID());
  }

  async send(id: string): Promise<boolean> {
    try {
      const { statusCode, body } = await request(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ id }),
        dispatcher: this.#agent,
      });
      await body.dump();
      return statusCode === 200;
    } catch {
      // Killed while it had the request: it did not acknowledge it.
      return false;
    }
  }

  async actions(): Promise<ReadonlyMap<string, readonly number[]>> {
    return this.#actions;
  }

  async retire(): Promise<void> {
    this.#actions.clear();
  }

  async stop(): Promise<void> {
    await this.#component?.stop(5_000);
    await this.#agent.destroy();
    this.#server.close();
  }
}

async function write({ folder, bin, parallel }: RulebookOptions, port: number, counter: number) {
  const files = {
    rulebook: join(folder, 'rulebook.yml'),
    inventory: join(folder, 'inventory.yml'),
    vars: join(folder, 'vars.yml'),
  };
  const url = `http://127.0.0.1:${counter}/{{ event.payload.id }}`;
  const rulebook = [
    {
      name: 'bench',
      hosts: 'all',
      ...(parallel && { execution_strategy: 'parallel' }),
      sources: [{ 'eda.builtin.webhook': { host: '127.0.0.1', port } }],
      rules: [
        {
          name: 'act',
          condition: 'event.payload.id is defined',
          action: { run_module: { name: 'ansible.builtin.uri', module_args: { url, method: 'POST' } } },
        },
      ],
    },
  ];
  const local = { ansible_connection: 'local', ansible_python_interpreter: join(bin, 'python3') };
  await mkdir(join(folder, 'h2'), { recursive: true });
  // JSON is YAML.
  await writeFile(files.rulebook, JSON.stringify(rulebook, null, 2));
  await writeFile(files.inventory, JSON.stringify({ all: { hosts: { localhost: local } } }, null, 2));
  await writeFile(files.vars, JSON.stringify({ drools_db_file_path: join(folder, 'h2', 'events') }, null, 2));
  return files;
}

function accepts(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
