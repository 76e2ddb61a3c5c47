import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
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
import type { Component } from '../../sandbox/processes.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from './connection.ts';
import { PROBE_PATH, RealDependency } from './dependency.ts';
import { eventually } from './wait.ts';
import { alertOf, deliver, webhookOf } from './webhook.ts';
import { startWorkerProcess } from './worker.ts';

export interface BreakerStackOptions {
  /** Of `dependencies[0]`, over what all tests have. */
  dependency?: object;
  gateway?: object;
  /** Milliseconds until Envoy gives up a call. */
  timeout?: number;
  /** Runtime key of the percent of callers that its routes let through. */
  shareKey?: string;
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
    const { timeout, shareKey } = this.#options;
    const folder = join(this.sandbox.folder, `envoy-${this.#started}`);
    this.envoy = await startEnvoy({
      ...{ folder, adminPort: this.#adminPort },
      ...(timeout && { timeout }),
      ...(shareKey && { shareKey }),
    });
    await this.envoy.setEndpoints([this.dependency.address]);
    await eventually('Envoy sends there', async () => (await this.envoy.endpoints())[0] === this.dependency.address);
  }

  async startWorker(): Promise<void> {
    this.#started += 1;
    const logFile = join(this.sandbox.folder, `worker-${this.#started}.log`);
    this.worker = await startWorkerProcess({ configFile: this.configFile, logFile });
  }

  /** SIGKILL: nothing is said, handed over or tidied up. */
  async killWorker(): Promise<void> {
    await this.worker?.kill();
    this.worker = undefined;
  }

  /** Delivers an alert, and waits for the remediation that it starts. */
  async heal(): Promise<void> {
    const run = () =>
      this.remediation.describe().then(
        ({ runId }) => runId,
        () => undefined,
      ); // there may be none yet
    const before = await run();
    await this.alert();
    await eventually('its remediation has begun', async () => (await run()) !== before);
  }

  /** Delivers an alert, as Alertmanager does. */
  async alert(status: 'firing' | 'resolved' = 'firing', startsAt = new Date().toISOString()): Promise<string> {
    const labels = { alertname: 'DependencyFails', dependency: NAME };
    const alert = alertOf(labels, { status, startsAt, fingerprint: 'abcdef0123456789' });
    const { status: code, text } = await deliver(this.gateway.url, webhookOf([alert], status));
    if (code !== 200) throw new Error(`the gateway answered ${code}: ${text}`);
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
    const { dependency = {}, gateway, shareKey } = this.#options;
    const text = JSON.stringify({
      temporal: { address: temporal.address, taskQueue: `breaker-${randomUUID()}` },
      gateway: { listen: '127.0.0.1:0', ...gateway },
      audit: { url: 'file:./audit.db' },
      prometheus: { url: prometheus.url },
      defaults: { gates: { cooldown: '0s' } },
      dependencies: [
        {
          name: NAME,
          switch: {
            envoy: { admin: [this.envoy.adminUrl], envoyCluster: ENVOY_CLUSTER, ...(shareKey && { shareKey }) },
          },
          probe: { http: { url: `http://${this.dependency.address}${PROBE_PATH}` }, within: '500ms', failures: 2 },
          openFor: '2s',
          maxOpen: '8s',
          healthyFor: '6s',
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
