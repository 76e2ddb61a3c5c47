import type { Client } from '@temporalio/client';
import type { Component } from '../../sandbox/processes.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import { Alertmanager } from '../support/alerts.ts';
import { Audit } from '../support/audit.ts';
import type { Pods, Workload } from '../support/pods.ts';
import { type Configured, configure, startGateway, startWorker } from '../support/product.ts';
import { untilNoneOpen } from '../support/remediations.ts';
import type { Death, Engine } from './engine.ts';

interface Parts {
  sandbox: Sandbox<'temporal' | 'kubernetes'>;
  client: Client;
  pods: Pods;
  config: Configured;
}

/** Salvor as in production, gateway and worker in processes of their own; its action is to cut a pod's traffic. */
export class Salvor implements Engine {
  readonly name = 'Salvor';
  readonly deaths: readonly Death[];
  readonly #parts: Parts;
  readonly #audit: Audit;
  readonly #alertmanager: Alertmanager;
  #gateway: Component | undefined;
  #worker: Component | undefined;
  #workload: Workload | undefined;

  private constructor(parts: Parts) {
    const { temporal, kubernetes } = parts.sandbox;
    this.#parts = parts;
    this.#audit = new Audit(kubernetes);
    this.#alertmanager = new Alertmanager(parts.config.webhook);
    this.deaths = [
      {
        name: 'worker and gateway',
        kill: async () => {
          await Promise.all([this.#worker?.kill(), this.#gateway?.kill()]);
        },
        restart: () => this.#start(),
      },
      { name: 'Temporal', kill: () => temporal.kill(), restart: () => temporal.start() },
    ];
  }

  static async start(parts: Omit<Parts, 'config'>): Promise<Salvor> {
    const { sandbox } = parts;
    const config = await configure(sandbox.folder, {
      kubernetes: sandbox.kubernetes,
      temporal: sandbox.temporal.address,
    });
    const salvor = new Salvor({ ...parts, config });
    await salvor.#start();
    return salvor;
  }

  async #start(): Promise<void> {
    const { sandbox, client, config } = this.#parts;
    const options = { folder: sandbox.folder, config };
    [this.#gateway, this.#worker] = await Promise.all([startGateway(options), startWorker({ ...options, client })]);
  }

  async targets(count: number): Promise<string[]> {
    this.#workload = await this.#parts.pods.run(count, { unready: true });
    await this.#audit.clear();
    return this.#workload.pods;
  }

  async send(pod: string): Promise<boolean> {
    const namespace = this.#workload?.namespace ?? '';
    return (await this.#alertmanager.send([{ namespace, pod, scope: namespace }])) === 200;
  }

  async actions(): Promise<ReadonlyMap<string, readonly number[]>> {
    const actions = new Map<string, number[]>();
    for (const { pod, at } of await this.#audit.look()) actions.set(pod, [...(actions.get(pod) ?? []), at]);
    return actions;
  }

  async retire(): Promise<void> {
    await this.#workload?.remove();
    await untilNoneOpen(this.#parts.client, 120_000);
    await this.#audit.clear();
  }

  async stop(): Promise<void> {
    await this.#alertmanager.close();
    await Promise.all([this.#gateway?.stop(30_000), this.#worker?.stop(60_000)]);
  }
}
