import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAllYaml } from '@kubernetes/client-node';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { pino } from 'pino';
import { tracedClient } from '../../cli/processes.ts';
import { type Gateway, startGateway } from '../../gateway/server.ts';
import { type Config, parseConfig } from '../../model/config.ts';
import { remediationId } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { lazyClient } from '../../providers/temporal/connect.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import type { Telemetry } from '../../workers/telemetry.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { deployment, nameOf, service, TestCluster } from './kubernetes.ts';
import { eventually } from './wait.ts';
import { alertOf, deliver, webhookOf } from './webhook.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** The user name of the service account in deploy/kubernetes/. */
export const SALVOR = 'system:serviceaccount:salvor:salvor';

/** The objects of a file of deploy/kubernetes/. */
export const manifests = (file: string) => loadAllYaml(readFileSync(join(ROOT, 'deploy/kubernetes', file), 'utf8'));

/** Rules by name, as they are written; an alert names the one that it is for in its label `rule`. */
export type Rules = Record<string, { mode?: string; with?: object; gates?: object }>;

/**
 * Gateway and worker in this process, on a real Temporal and a real API server, with the rights of deploy/kubernetes/. One
 * for each test file: tracing and the SDK's runtime are those of the process.
 */
export class Salvor {
  sandbox!: Sandbox<'temporal' | 'kubernetes'>;
  cluster!: TestCluster;
  client!: Client;
  config!: Config;
  gateway!: Gateway;
  worker!: RunningWorker;
  #traced: Client | undefined;

  /** @param rights file of deploy/kubernetes/ with what Salvor may do */
  async startSandbox(rights = 'rbac.yaml'): Promise<void> {
    this.sandbox = await startSandbox({
      parts: ['temporal', 'kubernetes'],
      temporal: { headless: true },
      kubernetes: { users: [{ name: SALVOR }] },
    });
    this.cluster = new TestCluster(this.sandbox.kubernetes);
    await this.cluster.create(...manifests(rights));
  }

  /** @param more sections of `salvor.yaml` */
  async start(
    rules: Rules,
    more: object = {},
    how: { telemetry?: (config: Config) => Telemetry; audit?: { url: string; password?: string } } = {},
  ): Promise<void> {
    const { temporal, kubernetes, folder } = this.sandbox;
    const text = JSON.stringify({
      temporal: { address: temporal.address },
      gateway: { listen: '127.0.0.1:0' },
      clusters: [{ name: this.cluster.name, kubeconfig: kubernetes.users[SALVOR]?.kubeconfig }],
      rules: Object.entries(rules).map(([name, rule]) => ({
        name,
        match: ['alertname="PodUnable"', `rule="${name}"`],
        runbook: 'drain-instance',
        target: `k8s/sandbox/\${labels.namespace}/pod/\${labels.pod}`,
        mode: 'act',
        ...rule,
      })),
      ...more,
    });
    const parsed = parseConfig(text, join(folder, 'salvor.yaml'));
    if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
    this.config = parsed.config;
    const { config } = this;
    const logger = pino({ level: 'silent' });
    const telemetry = how.telemetry?.(config);
    const audit = how.audit ?? { url: `file:${join(folder, 'audit.db')}` };
    this.client ??= lazyClient(config.temporal);
    this.worker = await startWorker({ config, audit, logger, telemetry, measured: true });
    this.#traced = telemetry && tracedClient(config, telemetry);
    this.gateway = await startGateway({ config, logger, ...(this.#traced && { client: this.#traced }) });
  }

  /** Ends gateway and worker; the sandbox stays. */
  async stop(): Promise<void> {
    await this.gateway?.close();
    await this.worker?.stop();
    await this.#traced?.connection.close();
  }

  async stopSandbox(): Promise<void> {
    await this.client?.connection.close();
    await this.sandbox?.stop();
  }

  /** Pods behind a Service that cuts by the traffic label, the first of them sick. */
  async sickPod(): Promise<{ namespace: string; pod: string; others: string[] }> {
    const namespace = await this.cluster.namespace();
    await this.cluster.create(
      service(namespace, 'web', true),
      deployment({ namespace, name: 'web', trafficLabel: true }),
    );
    const [pod = '', ...others] = (await this.cluster.readyPods(namespace, 'web', 2)).map(nameOf);
    await this.cluster.setUnready(namespace, pod, true);
    return { namespace, pod, others };
  }

  /** Delivers one alert, as Alertmanager does. @returns the status of the answer */
  async alert(
    { namespace, pod, rule }: { namespace: string; pod: string; rule: string },
    headers: Record<string, string> = {},
  ): Promise<number> {
    const alert = alertOf({ alertname: 'PodUnable', namespace, pod, rule });
    return (await deliver(this.gateway.url, webhookOf([alert]), headers)).status;
  }

  remediation(namespace: string, pod: string): WorkflowHandle {
    return this.client.workflow.getHandle(remediationId(this.cluster.target(namespace, pod)));
  }

  /** Resolves when the remediation has ended, with what came of it: also where it failed. */
  async ending(namespace: string, pod: string): Promise<Ending> {
    const handle = this.remediation(namespace, pod);
    await eventually(`a remediation of ${pod}`, () => handle.describe(), 60_000);
    return handle.result().catch((error: { cause?: { details?: Ending[] } }) => {
      const [ending] = error.cause?.details ?? [];
      if (ending === undefined) throw error;
      return ending;
    });
  }
}
