import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CoreV1Api,
  KubeConfig,
  loadAllYaml,
  PatchStrategy,
  PolicyV1Api,
  setHeaderOptions,
} from '@kubernetes/client-node';
import { Client, type WorkflowHandle } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, beforeAll } from 'vitest';
import { type Gateway, startGateway } from '../../gateway/server.ts';
import { parseConfig } from '../../model/config.ts';
import { MESSAGE, remediationId, responderId, TRAFFIC_LABEL } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import type { ResponderState } from '../../model/responder.ts';
import { webhookConfig } from '../../sandbox/alertmanager.ts';
import type { AuditEvent, AuditFilter } from '../../sandbox/audit-log.ts';
import type { Component } from '../../sandbox/processes.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import type { TemporalOptions } from '../../sandbox/temporal.ts';
import { type Ended, salvor } from '../cli/salvor.ts';
import { alertsOf, type Seen } from '../providers/alertmanager/support.ts';
import { connectTo } from '../support/connection.ts';
import { service, TestCluster } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { bearer, deliver } from '../support/webhook.ts';
import { startWorkerProcess } from '../support/worker.ts';
import { type Complaint, Exporter } from './exporter.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** The user name of the service account in deploy/kubernetes/rbac.yaml: what that file grants is all that Salvor may. */
export const SALVOR = 'system:serviceaccount:salvor:salvor';

/** What takes seconds on an idle machine may take much longer on a busy one. */
export const PATIENCE = 90_000;

const ALERT = 'PodUnable';

/** Rules by name, as they are written; an alert names the one that it is for in its label `rule`. */
export type Rules = Record<
  string,
  {
    match?: string[];
    runbook?: string;
    target?: string;
    mode?: string;
    with?: object;
    gates?: object;
    hush?: boolean;
    approvers?: string[];
    approveWithin?: string;
  }
>;

interface Sections {
  temporal?: object;
  gateway?: object;
  limits?: object;
  stacks?: object[];
  dependencies?: object[];
}

/** `temporal.api.enums.v1.PendingActivityState.PENDING_ACTIVITY_STATE_STARTED` */
const STARTED = 2;

/**
 * The whole way of an alert, all real: the exporter's metric → Prometheus → Alertmanager → gateway → Temporal → worker →
 * API server. The worker is the built `salvor worker`, a process of its own that can be killed.
 */
export class Stack {
  readonly exporter = new Exporter();
  sandbox!: Sandbox<'temporal' | 'kubernetes' | 'prometheus' | 'alertmanager'>;
  cluster!: TestCluster;
  gateway!: Gateway;
  client!: Client;
  worker: Component | undefined;
  configFile = '';
  readonly #token = randomUUID();
  #policy!: PolicyV1Api;
  #workers = 0;

  /** @param more sections of `salvor.yaml`, over those that every stack has */
  async start(rules: Rules, temporal: Partial<TemporalOptions> = {}, more: Sections = {}): Promise<void> {
    await this.exporter.listen();
    this.sandbox = await startSandbox({
      parts: ['temporal', 'kubernetes', 'prometheus', 'alertmanager'],
      temporal: { headless: true, ...temporal },
      kubernetes: { users: [{ name: SALVOR }] },
      prometheus: {
        scrape: [{ job: 'app', targets: [this.exporter.address] }],
        // A scrape that a busy machine has missed says nothing, and must not look like the end of the alert.
        rules: [{ name: 'app', rules: [{ alert: ALERT, expr: 'last_over_time(app_unable[5m]) == 1' }] }],
      },
    });
    const { kubernetes } = this.sandbox;
    this.cluster = new TestCluster(kubernetes);
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(kubernetes.kubeconfig);
    this.#policy = kubeconfig.makeApiClient(PolicyV1Api);
    await this.cluster.create(...loadAllYaml(readFileSync(join(ROOT, 'deploy/kubernetes/rbac.yaml'), 'utf8')));
    await this.#startGateway(rules, more);
    await this.startWorker();
  }

  async stop(): Promise<void> {
    await this.worker?.stop();
    await this.gateway?.close();
    await this.client?.connection.close();
    await this.sandbox?.stop();
    await this.exporter.close();
  }

  /** In the place of the one before it, if that is gone. Resolves when it polls. */
  async startWorker(): Promise<void> {
    this.#workers += 1;
    const logFile = join(this.sandbox.folder, `worker-${this.#workers}.log`);
    this.worker = await startWorkerProcess({ configFile: this.configFile, logFile });
  }

  /** SIGKILL: nothing is said, handed over or tidied up. */
  async killWorker(): Promise<void> {
    await this.worker?.kill();
    this.worker = undefined;
  }

  /** A Service that sends traffic to pods that are not ready too, as long as their label lets it in. */
  exposed(namespace: string, app: string) {
    const { spec, ...rest } = service(namespace, app, true);
    return { ...rest, spec: { ...spec, publishNotReadyAddresses: true } };
  }

  /** Makes the pod unable to work, and the metric say so. */
  async breakPod(complaint: Complaint): Promise<void> {
    await this.cluster.setUnready(complaint.namespace, complaint.pod, true);
    this.exporter.set(complaint, true);
  }

  async mendPod(complaint: Complaint): Promise<void> {
    await this.cluster.setUnready(complaint.namespace, complaint.pod, false);
    this.exporter.set(complaint, false);
  }

  async setMinAvailable(namespace: string, name: string, minAvailable: number): Promise<void> {
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await this.#policy.patchNamespacedPodDisruptionBudget({ namespace, name, body: { spec: { minAvailable } } }, merge);
  }

  /** Resolves when a budget is counted, and allows so many evictions. */
  async untilAllowed(namespace: string, name: string, count: number): Promise<void> {
    const look = async () => {
      const { status } = await this.#policy.readNamespacedPodDisruptionBudget({ namespace, name });
      return status?.disruptionsAllowed === count && (status.expectedPods ?? 0) > 0;
    };
    await eventually(`the budget ${name} allows ${count}`, look, PATIENCE);
  }

  /** A write to the pod as Salvor's user, which changes nothing. */
  async tryToLabel({ namespace, pod: name }: Complaint): Promise<void> {
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(this.sandbox.kubernetes.users[SALVOR]?.kubeconfig ?? '');
    const body = { metadata: { labels: { tried: 'true' } } };
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await kubeconfig.makeApiClient(CoreV1Api).patchNamespacedPod({ namespace, name, body, dryRun: 'All' }, merge);
  }

  remediation({ namespace, pod }: Complaint): WorkflowHandle {
    return this.client.workflow.getHandle(remediationId(this.cluster.target(namespace, pod)));
  }

  /** What the remediation came to, once it has started and ended. */
  async ending(complaint: Complaint): Promise<Ending> {
    const handle = this.remediation(complaint);
    await eventually(`a remediation of ${complaint.pod}`, () => handle.describe(), PATIENCE);
    return handle.result();
  }

  /** Resolves when the label that lets traffic in is as told. */
  async untilTraffic({ namespace, pod }: Complaint, value: 'on' | 'off'): Promise<void> {
    const look = async () => (await this.cluster.trafficLabel(namespace, pod)) === value;
    await eventually(`the traffic of ${pod} is ${value}`, look, PATIENCE);
  }

  /** Resolves when a worker is at this activity of the remediation. */
  async untilAt(complaint: Complaint, activity: string): Promise<void> {
    const look = async () => {
      const { raw } = await this.remediation(complaint).describe();
      return raw.pendingActivities?.some(
        ({ activityType, state }) => activityType?.name === activity && state === STARTED,
      );
    };
    await eventually(`the remediation of ${complaint.pod} is at ${activity}`, look, PATIENCE);
  }

  async responder({ namespace, rule }: Complaint): Promise<ResponderState> {
    return this.client.workflow.getHandle(responderId(rule, `sandbox/${namespace}`)).query(MESSAGE.state);
  }

  /** The body with which Alertmanager said that the pod is unable to work. */
  async webhookOf({ pod, namespace }: Complaint): Promise<string> {
    const says = (body: string) =>
      body.includes('"status":"firing"') && body.includes(`"pod":"${pod}"`) && body.includes(`"${namespace}"`);
    return eventually(`Alertmanager's webhook for ${pod}`, () => this.exporter.webhooks.find(says), PATIENCE);
  }

  async deliver(body: string): Promise<number> {
    return (await deliver(this.gateway.url, body, bearer(this.#token))).status;
  }

  /** How many webhooks the gateway has answered with this status. */
  async answered(status: number): Promise<number> {
    const text = await (await fetch(`${this.gateway.url}/metrics`)).text();
    const series = `salvor_gateway_requests_total{code="${status}"} `;
    const line = text.split('\n').find((one) => one.startsWith(series));
    return Number(line?.slice(series.length) ?? 0);
  }

  /** Alertmanager's receiver `salvor`: it tells the gateway, and the exporter, which keeps a copy. */
  get receiver(): object {
    const [to, copy] = [`${this.gateway.url}/webhook/alertmanager`, `http://${this.exporter.address}/`];
    const http_config = { authorization: { credentials: this.#token } };
    return { name: 'salvor', webhook_configs: [{ url: to, send_resolved: true, http_config }, { url: copy }] };
  }

  /** Alerts that are not resolved, as Alertmanager tells: those with all of these labels. */
  alerts(labels: Record<string, string>): Promise<Seen[]> {
    return alertsOf(this.sandbox.alertmanager.url, labels);
  }

  /** The `salvor` command, as a person runs it. @param token of the person, for the gateway */
  salvor(args: string[], token?: string): Promise<Ended> {
    const env = { SALVOR_GATEWAY: this.gateway.url, ...(token !== undefined && { SALVOR_TOKEN: token }) };
    return salvor(['--config', this.configFile, ...args], { env });
  }

  /** What Salvor asked the API server to change, whatever the answer. */
  async requests(namespace: string, filter: AuditFilter = {}): Promise<AuditEvent[]> {
    return this.sandbox.kubernetes.readAudit({ user: SALVOR, namespace, ...filter });
  }

  /** What Salvor changed, in order, in short; the API server's audit log is the witness. */
  async changes(namespace: string): Promise<string[]> {
    const events = await this.requests(namespace);
    return events.filter(({ responseStatus }) => (responseStatus?.code ?? 0) < 300).map(inShort);
  }

  async #startGateway(rules: Rules, more: Sections): Promise<void> {
    const { temporal, kubernetes, prometheus, alertmanager, folder } = this.sandbox;
    const tokenFile = join(folder, 'webhook-token');
    await writeFile(tokenFile, this.#token);
    const text = JSON.stringify({
      temporal: { address: temporal.address, ...more.temporal },
      gateway: { listen: '127.0.0.1:0', bearerTokenFile: tokenFile, ...more.gateway },
      audit: { url: 'file:./audit.db' },
      prometheus: { url: prometheus.url },
      alertmanager: { urls: [alertmanager.url] },
      ...(more.limits && { limits: more.limits }),
      ...(more.stacks && { stacks: more.stacks }),
      ...(more.dependencies && { dependencies: more.dependencies }),
      clusters: [{ name: this.cluster.name, kubeconfig: kubernetes.users[SALVOR]?.kubeconfig }],
      rules: Object.entries(rules).map(([name, rule]) => ({
        name,
        match: [`alertname="${ALERT}"`, `rule="${name}"`],
        runbook: 'drain-instance',
        target: `k8s/sandbox/\${labels.namespace}/pod/\${labels.pod}`,
        mode: 'act',
        ...rule,
      })),
    });
    this.configFile = join(folder, 'salvor.yaml');
    await writeFile(this.configFile, text);
    const parsed = parseConfig(text, this.configFile);
    if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
    this.gateway = await startGateway({ config: parsed.config, logger: pino({ level: 'silent' }) });
    this.client = new Client({ connection: await connectTo(temporal.address) });
    await alertmanager.reload(this.#alertmanagerConfig());
  }

  #alertmanagerConfig(): object {
    const { route } = webhookConfig({ url: this.gateway.url }) as { route: object };
    return { route: { ...route, group_by: ['namespace', 'pod'] }, receivers: [this.receiver] };
  }
}

interface Body {
  metadata?: { uid?: string; labels?: Record<string, string> };
  deleteOptions?: { preconditions?: { uid?: string } };
}

/** "traffic off <uid>", "eviction <uid>": what was asked for, and of which object by its precondition. */
export function inShort({ verb, objectRef, requestObject }: AuditEvent): string {
  const { metadata, deleteOptions } = (requestObject ?? {}) as Body;
  const { resource, subresource } = objectRef ?? {};
  if (verb === 'create' && subresource === 'eviction') return `eviction ${deleteOptions?.preconditions?.uid}`;
  const traffic = metadata?.labels?.[TRAFFIC_LABEL];
  if (verb === 'patch' && resource === 'pods' && !subresource && traffic) return `traffic ${traffic} ${metadata?.uid}`;
  return `${verb} ${[resource, subresource].filter(Boolean).join('/')} ${objectRef?.name}`;
}

/** A stack for the tests of a file. */
export function useStack(rules: Rules, more?: Sections): Stack {
  const stack = new Stack();
  beforeAll(() => stack.start(rules, {}, more));
  afterAll(() => stack.stop());
  return stack;
}
