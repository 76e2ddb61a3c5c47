import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { watchQueue } from '../../model/names.ts';
import type { Kubernetes } from '../../sandbox/kubernetes.ts';
import { freePort } from '../../sandbox/ports.ts';
import { answers, type Component, startComponent, untilReady } from '../../sandbox/processes.ts';

export const SALVOR = join(import.meta.dirname, '..', '..', 'bin', 'salvor.mjs');
export const CLUSTER = 'bench';
const QUEUE = 'salvor';

export interface ConfigOptions {
  kubernetes?: Kubernetes;
  /** host:port of Temporal. */
  temporal: string;
  /** Of drain-instance. */
  with?: Record<string, string | boolean>;
  gates?: Record<string, string | number | object>;
}

/** What Salvor is started with: one rule for pods that are not ready. */
export interface Configured {
  file: string;
  webhook: string;
  gateway: string;
}

/** Writes a `salvor.yaml`; JSON is YAML. */
export async function configure(folder: string, options: ConfigOptions): Promise<Configured> {
  const { kubernetes, temporal } = options;
  const listen = `127.0.0.1:${await freePort()}`;
  const file = join(folder, 'salvor.yaml');
  const rule = {
    name: 'pod-unready',
    match: ['alertname="KubePodNotReady"'],
    runbook: 'drain-instance',
    target: `k8s/${CLUSTER}/\${labels.namespace}/pod/\${labels.pod}`,
    mode: 'act',
    with: options.with ?? { recoverWithin: '1h' },
    // All of a scope may be sick at once, for it is the way of each alert that is measured.
    gates: {
      scope: '${labels.scope}',
      maxInFlight: 1000,
      maxUnavailable: '100%',
      storm: { above: '100%' },
      ...options.gates,
    },
  };
  const config = {
    temporal: { address: temporal, taskQueue: QUEUE },
    gateway: { listen },
    audit: { url: 'file:./audit.db' },
    clusters: kubernetes ? [{ name: CLUSTER, kubeconfig: kubernetes.users['salvor']?.kubeconfig }] : [],
    rules: kubernetes ? [rule] : [],
  };
  await writeFile(file, JSON.stringify(config, null, 2));
  return { file, gateway: `http://${listen}`, webhook: `http://${listen}/webhook/alertmanager` };
}

interface StartOptions {
  folder: string;
  config: Configured;
  /** Folder for a CPU profile, written when the process ends. */
  profile?: string;
}

/** A `salvor` process, a child of the sandbox's guard: it ends with this process. */
async function salvor(command: string, args: string[], { folder, config, profile }: StartOptions): Promise<Component> {
  const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(profile, command)}`];
  return await startComponent({
    name: `salvor ${command}`,
    file: process.execPath,
    args: [...profiling, SALVOR, '--json', '--config', config.file, command, ...args],
    cwd: folder,
    logFile: join(folder, `salvor-${command}.log`),
  });
}

/** `salvor gateway`, when it listens. */
export async function startGateway(options: StartOptions): Promise<Component> {
  const gateway = await salvor('gateway', [], options);
  await untilReady(gateway, answers(`${options.config.gateway}/healthz`));
  return gateway;
}

/** `salvor worker`, when it polls both its queues. */
export async function startWorker(options: StartOptions & { client: Client }): Promise<Component> {
  const worker = await salvor('worker', ['--single'], options);
  await untilReady(worker, async () => {
    const queues: [string, 1 | 2][] = [
      [QUEUE, 1],
      [QUEUE, 2],
      [watchQueue(QUEUE), 2],
    ];
    const polled = await Promise.all(queues.map(([name, type]) => isPolled(options.client, name, type, worker.pid)));
    return polled.every(Boolean);
  });
  return worker;
}

/** `type`: 1 for workflow tasks, 2 for activity tasks, as in Temporal's API. */
async function isPolled(client: Client, name: string, type: 1 | 2, pid: number): Promise<boolean> {
  const { namespace } = client.options;
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name },
    taskQueueType: type,
  });
  return pollers.some(({ identity }) => identity?.startsWith(`${pid}@`));
}

export interface Up {
  component: Component;
  temporal: string;
}

/** `salvor up`, as everybody starts it, when it says that it is ready. */
export async function startUp(options: StartOptions): Promise<Up> {
  const data = join(options.folder, 'data');
  const component = await salvor('up', ['--data', data, '--ui-port', `${await freePort()}`], options);
  let line: string | undefined;
  await untilReady(component, async () => {
    line = (await readFile(component.logFile, 'utf8')).split('\n').find((one) => one.includes('"ready":true'));
    return line !== undefined;
  });
  return { component, temporal: (JSON.parse(line ?? '{}') as { temporal: string }).temporal };
}

/** The most memory that a process ever had resident, in MiB (`VmHWM`; Linux). */
export async function peakMemory({ pid }: Component): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** Waits until `look` answers a value; throws after `within` milliseconds. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  within: number,
  every = 100,
): Promise<T> {
  const deadline = performance.now() + within;
  while (performance.now() < deadline) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    await sleep(every);
  }
  throw new Error(`not within ${within / 1000} s: ${what}`);
}
