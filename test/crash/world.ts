import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { freePort } from '../../sandbox/ports.ts';
import { type Postgres, startPostgres } from '../../sandbox/postgres.ts';
import { type Component, startComponent, untilReady } from '../../sandbox/processes.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from '../support/connection.ts';
import { TestCluster } from '../support/kubernetes.ts';
import { ALERT } from './alerts.ts';
import type { Victim } from './chaos.ts';

const BIN = join(import.meta.dirname, '..', '..', 'bin', 'salvor.mjs');
/** The user as whom Salvor talks to the API server. */
export const SALVOR = 'salvor';

/** Milliseconds that a process may take on a busy machine until it is of use. */
const READY_WITHIN = 180_000;

/** Rules by name, as they are written; an alert names the one that it is for in its label `rule`. */
export type Rules = Record<string, { mode?: string; with?: object; gates?: object }>;

/**
 * What a team runs, all real: Temporal, a Kubernetes control plane, PostgreSQL, one gateway and two workers, each a
 * process of its own that can be killed.
 */
export class World {
  sandbox!: Sandbox<'temporal' | 'kubernetes'>;
  postgres!: Postgres;
  cluster!: TestCluster;
  client!: Client;
  /** Of the audit store, without the password. */
  auditUrl = '';
  webhook = '';
  gateway!: Victim;
  workers: Victim[] = [];
  database!: Victim;
  /** What ended although nobody killed it. */
  readonly deaths: string[] = [];
  #salvors: Salvor[] = [];

  async start(rules: Rules): Promise<void> {
    [this.sandbox, this.postgres] = await Promise.all([
      startSandbox({
        parts: ['temporal', 'kubernetes'],
        temporal: { headless: true },
        kubernetes: { users: [{ name: SALVOR }] },
      }),
      startPostgres(),
    ]);
    this.auditUrl = await this.postgres.createDatabase('audit');
    this.cluster = new TestCluster(this.sandbox.kubernetes);
    await this.cluster.allow(SALVOR);
    const { address } = this.sandbox.temporal;
    this.client = new Client({ connection: await connectTo(address) });
    const config = await this.#configure(rules);
    const [gateway, ...workers] = ['gateway', 'worker-1', 'worker-2'].map(
      (name) => new Salvor(name, config, this.sandbox.folder, this.deaths),
    );
    this.#salvors = [gateway as Salvor, ...workers];
    [this.gateway, this.workers] = [gateway as Salvor, workers];
    this.database = new DatabaseServer(this.postgres);
    await Promise.all(this.#salvors.map((salvor) => salvor.start()));
    await Promise.all(this.#salvors.map((salvor) => salvor.ready()));
  }

  get victims(): Victim[] {
    return [this.gateway, ...this.workers, this.database];
  }

  async stop(): Promise<void> {
    await Promise.all(this.#salvors.map((salvor) => salvor.stop()));
    await this.client?.connection.close();
    await this.postgres?.stop();
    await this.sandbox?.stop();
  }

  async #configure(rules: Rules): Promise<string> {
    const { folder, temporal, kubernetes } = this.sandbox;
    const listen = `127.0.0.1:${await freePort()}`;
    this.webhook = `http://${listen}/webhook/alertmanager`;
    const passwordFile = join(folder, 'audit-password');
    await writeFile(passwordFile, this.postgres.password);
    const file = join(folder, 'salvor.yaml');
    const config = {
      temporal: { address: temporal.address },
      gateway: { listen },
      audit: { url: this.auditUrl, passwordFile },
      clusters: [{ name: this.cluster.name, kubeconfig: kubernetes.users[SALVOR]?.kubeconfig }],
      rules: Object.entries(rules).map(([name, rule]) => ({
        name,
        match: [`alertname="${ALERT}"`, `rule="${name}"`],
        runbook: 'drain-instance',
        target: `k8s/${this.cluster.name}/\${labels.namespace}/pod/\${labels.pod}`,
        mode: 'act',
        ...rule,
        gates: { scope: '${labels.namespace}', ...rule.gates },
      })),
    };
    await writeFile(file, JSON.stringify(config, null, 2));
    return file;
  }
}

/** A `salvor` process. */
class Salvor implements Victim {
  readonly name: string;
  readonly #config: string;
  readonly #folder: string;
  readonly #deaths: string[];
  #component: Component | undefined;
  #starts = 0;

  constructor(name: string, config: string, folder: string, deaths: string[]) {
    this.name = name;
    this.#config = config;
    this.#folder = folder;
    this.#deaths = deaths;
  }

  async start(): Promise<void> {
    this.#starts += 1;
    const [command = ''] = this.name.split('-');
    const component = await startComponent({
      name: `salvor ${command}`,
      file: process.execPath,
      args: [BIN, '--config', this.#config, command],
      cwd: this.#folder,
      logFile: join(this.#folder, `${this.name}.${this.#starts}.log`),
    });
    this.#component = component;
    void component.exited.then(async ({ code, signal }) => {
      // Whoever kills or stops it takes it away first.
      if (this.#component !== component) return;
      this.#component = undefined;
      const log = await readFile(component.logFile, 'utf8').catch(String);
      this.#deaths.push(`${this.name} ended by itself (${code ?? signal}): ${log.trimEnd().slice(-1_000)}`);
      // As whatever runs it would do.
      await this.start();
    });
  }

  async ready(): Promise<void> {
    const component = this.#component;
    if (!component) return;
    const says = async () => /worker is ready|gateway listens/.test(await readFile(component.logFile, 'utf8'));
    await untilReady(component, says, READY_WITHIN);
  }

  async kill(): Promise<void> {
    await this.#take()?.kill();
  }

  async stop(): Promise<void> {
    await this.#take()?.stop();
  }

  #take(): Component | undefined {
    const component = this.#component;
    this.#component = undefined;
    return component;
  }
}

/** PostgreSQL as when its machine fails: all of its processes at once, and the recovery of what it had committed. */
class DatabaseServer implements Victim {
  readonly name = 'database';
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  async kill(): Promise<void> {
    const { pid } = this.#postgres;
    if (pid === undefined) return;
    const children = await childrenOf(pid);
    for (const one of [pid, ...children]) {
      try {
        process.kill(one, 'SIGKILL');
      } catch {
        // A process of its own that has ended since.
      }
    }
    await this.#postgres.kill();
  }

  async start(): Promise<void> {
    await this.#postgres.start();
  }

  /** It was when it had started. */
  ready = () => Promise.resolve();
}

/** Linux tells them; elsewhere they notice by themselves that their parent is gone. */
async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').filter(Boolean).map(Number);
}
