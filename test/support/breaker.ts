import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { pino } from 'pino';
import { type Gateway, startGateway } from '../../gateway/server.ts';
import type { BreakerPhase, Transition } from '../../model/breaker/machine.ts';
import type { BreakerStanding } from '../../model/breaker/standing.ts';
import { parseConfig } from '../../model/config.ts';
import { MESSAGE, remediationId } from '../../model/names.ts';
import type { Ending, Story } from '../../model/remediation.ts';
import { ENVOY_CLUSTER, type Envoy, startEnvoy } from '../../sandbox/envoy.ts';
import { freePort } from '../../sandbox/ports.ts';
import { type Component, startComponent, untilReady } from '../../sandbox/processes.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from './connection.ts';
import { eventually } from './wait.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** How a dependency fares: all is well; nothing listens; it takes requests and never answers; 3 of 10 are answered 500. */
export type Health = 'well' | 'refuses' | 'hangs' | 'fails';

/** Where callers of the tests go, and where the probes go. */
export const PROBE_PATH = '/probe';

/** A real HTTP server that the fleet calls, and that a test breaks. */
export class RealDependency {
  /** Paths of the requests that have reached it, with the time (milliseconds since the epoch). */
  readonly requests: { at: number; path: string }[] = [];
  port = 0;
  #server: Server | undefined;
  #health: Health = 'well';
  #served = 0;

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.port = await freePort();
    await this.#listen();
  }

  async is(health: Health): Promise<void> {
    const listens = this.#health !== 'refuses';
    this.#health = health;
    if (health === 'refuses') await this.#close();
    else if (!listens) await this.#listen();
    // What hangs is let go.
    else this.#server?.closeAllConnections();
  }

  /** Requests of callers, since then. */
  calls(since: number): number {
    return this.requests.filter(({ at, path }) => at >= since && path !== PROBE_PATH).length;
  }

  stop = (): Promise<void> => this.#close();

  /** So many connections are open to it. */
  connections(): Promise<number> {
    return new Promise((resolve) => {
      if (!this.#server) resolve(0);
      else this.#server.getConnections((_error, count) => resolve(count));
    });
  }

  async #listen(): Promise<void> {
    const server = createServer((request, response) => this.#answer(request, response));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.port = (server.address() as AddressInfo).port;
  }

  async #close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  #answer({ url = '' }: IncomingMessage, response: ServerResponse): void {
    this.requests.push({ at: Date.now(), path: url });
    if (this.#health === 'hangs') return;
    this.#served += 1;
    response.statusCode = this.#health === 'fails' && this.#served % 10 < 3 ? 500 : 200;
    response.end();
  }
}

export interface BreakerStackOptions {
  /** Of `dependencies[0]`, over what all tests have. */
  dependency?: object;
  gateway?: object;
  /** Milliseconds until Envoy gives up a call. */
  timeout?: number;
  scraped?: boolean;
}

export const NAME = 'payments';
export const TARGET = `dependency/${NAME}`;

/**
 * Callers → Envoy → a dependency, and Salvor beside it, all real: the gateway, and the built `salvor worker` as a process that
 * can be killed.
 */
export class BreakerStack {
  readonly dependency = new RealDependency();
  sandbox!: Sandbox<'temporal' | 'prometheus'>;
  envoy!: Envoy;
  gateway!: Gateway;
  client!: Client;
  worker: Component | undefined;
  configFile = '';
  #adminPort = 0;
  #started = 0;
  #options: BreakerStackOptions = {};

  async start(options: BreakerStackOptions = {}): Promise<void> {
    this.#options = options;
    await this.dependency.start();
    this.#adminPort = await freePort();
    this.sandbox = await startSandbox({
      parts: ['temporal', 'prometheus'],
      temporal: { headless: true },
      prometheus: {
        scrape: [{ job: 'envoy', targets: [`127.0.0.1:${this.#adminPort}`], path: '/stats/prometheus' }],
      },
    });
    await this.startEnvoy();
    await this.#configure();
    await this.startWorker();
  }

  async stop(): Promise<void> {
    await this.worker?.stop();
    await this.gateway?.close();
    await this.client?.connection.close();
    await this.envoy?.stop();
    await this.sandbox?.stop();
    await this.dependency.stop();
  }

  /** At the address of the one before it, if that is gone: with nothing of what that was told. */
  async startEnvoy(): Promise<void> {
    this.#started += 1;
    const { timeout } = this.#options;
    const folder = join(this.sandbox.folder, `envoy-${this.#started}`);
    this.envoy = await startEnvoy({ folder, adminPort: this.#adminPort, ...(timeout && { timeout }) });
    await this.envoy.setEndpoints([this.dependency.address]);
    await eventually('Envoy sends there', async () => (await this.envoy.endpoints())[0] === this.dependency.address);
  }

  async startWorker(): Promise<void> {
    this.#started += 1;
    const worker = await startComponent({
      name: 'salvor worker',
      file: process.execPath,
      args: [join(ROOT, 'bin', 'salvor.mjs'), 'worker', '--single', '--config', this.configFile],
      logFile: join(this.sandbox.folder, `worker-${this.#started}.log`),
    });
    await untilReady(worker, async () => (await readFile(worker.logFile, 'utf8')).includes('worker is ready'));
    this.worker = worker;
  }

  /** SIGKILL: nothing is said, handed over or tidied up. */
  async killWorker(): Promise<void> {
    await this.worker?.kill();
    this.worker = undefined;
  }

  /** Delivers an alert, as Alertmanager does. */
  async alert(status: 'firing' | 'resolved' = 'firing', startsAt = new Date().toISOString()): Promise<string> {
    const alert = {
      ...{ status, labels: { alertname: 'DependencyFails', dependency: NAME }, annotations: {}, startsAt },
      ...{ endsAt: '0001-01-01T00:00:00Z', generatorURL: '', fingerprint: 'abcdef0123456789' },
    };
    const group = { groupLabels: {}, commonLabels: {}, commonAnnotations: {}, externalURL: '' };
    const payload = { version: '4', groupKey: '{}', truncatedAlerts: 0, status, receiver: 'salvor', ...group };
    const response = await fetch(`${this.gateway.url}/webhook/alertmanager`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...payload, alerts: [alert] }),
    });
    if (!response.ok) throw new Error(`the gateway answered ${response.status}: ${await response.text()}`);
    await response.arrayBuffer();
    return startsAt;
  }

  /** What a caller is answered. */
  async call(): Promise<{ status: number; overloaded: boolean }> {
    const response = await fetch(this.envoy.url, { signal: AbortSignal.timeout(30_000) });
    await response.arrayBuffer();
    return { status: response.status, overloaded: response.headers.get('x-envoy-overloaded') === 'true' };
  }

  get remediation() {
    return this.client.workflow.getHandle(remediationId(TARGET));
  }

  async timeline(): Promise<Transition[]> {
    const story = await this.client.withDeadline(Date.now() + 10_000, () =>
      this.remediation.query<Story>(MESSAGE.story),
    );
    return story.breaker?.timeline ?? [];
  }

  /** As a program reads it: no worker need answer. */
  async standing(): Promise<BreakerStanding> {
    const response = await fetch(`${this.gateway.url}/v1/breakers/${NAME}`);
    if (!response.ok) throw new Error(`the gateway answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as BreakerStanding;
  }

  untilState(state: BreakerPhase): Promise<BreakerStanding> {
    return eventually(`the breaker is ${state}`, async () => {
      const now = await this.standing();
      return now.state === state && now;
    });
  }

  ending = async (): Promise<Ending> => (await this.remediation.result()) as Ending;

  async #configure(): Promise<void> {
    const { temporal, prometheus, folder } = this.sandbox;
    const { dependency = {}, gateway } = this.#options;
    const text = JSON.stringify({
      temporal: { address: temporal.address, taskQueue: `breaker-${randomUUID()}` },
      gateway: { listen: '127.0.0.1:0', ...gateway },
      audit: { url: 'file:./audit.db' },
      prometheus: { url: prometheus.url },
      defaults: { gates: { cooldown: '0s' } },
      dependencies: [
        {
          name: NAME,
          switch: { envoy: { admin: [this.envoy.adminUrl], envoyCluster: ENVOY_CLUSTER } },
          probe: { http: { url: `http://${this.dependency.address}${PROBE_PATH}` }, within: '500ms', failures: 2 },
          openFor: '2s',
          maxOpen: '8s',
          healthyFor: '1s',
          halfOpen: { successes: 2, trials: 10, every: '200ms', within: '10s' },
          assertEvery: '200ms',
          ...dependency,
        },
      ],
      rules: [
        {
          name: 'dependency-fails',
          match: ['alertname="DependencyFails"'],
          runbook: 'circuit-breaker',
          target: `dependency/\${labels.dependency}`,
          mode: 'act',
        },
      ],
    });
    this.configFile = join(folder, 'salvor.yaml');
    await writeFile(this.configFile, text);
    const parsed = parseConfig(text, this.configFile);
    if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
    this.gateway = await startGateway({ config: parsed.config, logger: pino({ level: 'silent' }) });
    this.client = new Client({ connection: await connectTo(temporal.address) });
  }
}
