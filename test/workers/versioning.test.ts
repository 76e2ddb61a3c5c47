import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, type Connection, QueryNotRegisteredError } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeBatch } from '../../cli/request.ts';
import { type Config, parseConfig } from '../../model/config.ts';
import { MESSAGE, remediationId, responderId, runRule, WORKFLOW } from '../../model/names.ts';
import type { Runbook } from '../../model/rule.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import type { Version } from '../../workers/versioning.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { bundleOf } from '../replay/builds/index.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';

const SCOPE = 'elsewhere/shop';
const DEPLOYMENT = 'salvor';

/** A kubeconfig of a cluster that does not answer: a diagnosis tries for minutes. */
const UNREACHABLE = {
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'gone', cluster: { server: 'https://127.0.0.1:9' } }],
  users: [{ name: 'none', user: { token: 'none' } }],
  contexts: [{ name: 'gone', context: { cluster: 'gone', user: 'none' } }],
  'current-context': 'gone',
};

const DEPENDENCIES =
  'dependencies: [{ name: payments, switch: { envoy: { admin: ["http://127.0.0.1:9"], envoyCluster: x } }, probe: { tcp: { host: 127.0.0.1, port: 9 } } }]';

let sandbox: Sandbox<'temporal'>;
let connection: Connection;
let folder: string;
/** Bundle of another build than today's. */
let previous: string;
const workers: RunningWorker[] = [];

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  connection = await connectTo(sandbox.temporal.address);
  folder = await mkdtemp(join(tmpdir(), 'salvor-versioning-'));
  previous = join(folder, 'previous.js');
  await writeFile(previous, await bundleOf('previous'));
  await writeFile(join(folder, 'kubeconfig'), JSON.stringify(UNREACHABLE));
});
afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.stop())));
afterAll(async () => {
  await connection?.close();
  await sandbox?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A Temporal namespace for one test, and what is seen of it. */
class Place {
  readonly namespace = `versions-${randomUUID().slice(0, 8)}`;
  readonly client = new Client({ connection, namespace: this.namespace });
  config!: Config;

  static async create(): Promise<Place> {
    const place = new Place();
    const { namespace } = place;
    const workflowExecutionRetentionPeriod = { seconds: 86_400 as never };
    await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
    await eventually('the namespace is known', () => connection.workflowService.describeNamespace({ namespace }));
    const text = `temporal: { address: ${sandbox.temporal.address}, namespace: ${namespace} }\n${DEPENDENCIES}\nclusters: [{ name: elsewhere, kubeconfig: ${join(folder, 'kubeconfig')} }]\ndefaults: { gates: { failClosed: false } }`;
    const parsed = parseConfig(text, join(folder, 'salvor.yaml'));
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    place.config = parsed.config;
    return place;
  }

  async start(version?: Version, bundlePath?: string): Promise<RunningWorker> {
    const audit = { url: `file:${join(folder, `${this.namespace}.db`)}` };
    const logger = pino({ level: 'silent' });
    const worker = await startWorker({
      config: this.config,
      audit,
      logger,
      version,
      ...(bundlePath && { bundlePath }),
    });
    workers.push(worker);
    return worker;
  }

  async stop(worker: RunningWorker): Promise<void> {
    workers.splice(workers.indexOf(worker), 1);
    await worker.stop();
  }

  /** As `salvor deploy promote` does, without its replay. */
  async promote(buildId: string): Promise<void> {
    const request = { namespace: this.namespace, deploymentName: DEPLOYMENT, buildId };
    await eventually(`build ${buildId} is known`, async () => {
      const { workerDeploymentInfo: info } = await connection.workflowService.describeWorkerDeployment(request);
      return info?.versionSummaries?.some(({ deploymentVersion }) => deploymentVersion?.buildId === buildId);
    });
    // Not before it has heard of all the queues that the build polls.
    await eventually(`build ${buildId} is current`, () =>
      connection.workflowService.setWorkerDeploymentCurrentVersion(request),
    );
  }

  /** A request for a target, as Alertmanager's would come; its cluster cannot be reached, so it is diagnosed for minutes. */
  ask(pod: string): Promise<string> {
    return this.#order('drain-instance', `k8s/elsewhere/shop/pod/${pod}`);
  }

  /** One for a dependency, whose switch does not answer either. */
  askForBreaker(): Promise<string> {
    return this.#order('circuit-breaker', 'dependency/payments');
  }

  async #order(runbook: Runbook, target: string): Promise<string> {
    const order = { runbook, target, with: {}, mode: 'act' as const };
    const batch = makeBatch(this.config, { order, updateId: randomUUID(), chosen: false, by: 'person:test' });
    await this.client.workflow.signalWithStart(WORKFLOW.responder, {
      workflowId: responderId(runRule(runbook), batch.scope),
      taskQueue: this.config.temporal.taskQueue,
      signal: MESSAGE.alerts,
      signalArgs: [batch],
      args: [{ rule: runRule(runbook), scope: batch.scope }],
    });
    return remediationId(target);
  }

  readonly responder = responderId(runRule('drain-instance'), SCOPE);

  /** `PINNED A`: what Temporal has of the workflow's version; undefined where it has none. */
  async versionOf(workflowId: string): Promise<string | undefined> {
    const { raw } = await this.client.workflow.getHandle(workflowId).describe();
    const { behavior, deploymentVersion } = raw.workflowExecutionInfo?.versioningInfo ?? {};
    return behavior ? `${['', 'PINNED', 'AUTO_UPGRADE'][behavior]} ${deploymentVersion?.buildId}` : undefined;
  }

  async untilVersion(workflowId: string, version: string | undefined): Promise<void> {
    let last: unknown;
    await eventually(`${workflowId} is ${version}`, async () => {
      last = await this.versionOf(workflowId);
      return last === version;
    }).catch((error: Error) => {
      throw new Error(`${error.message}, but ${last}`, { cause: error });
    });
  }

  /** Whether the other build's code has the workflow in hand: only that answers the query. */
  async isPrevious(workflowId: string): Promise<boolean> {
    try {
      return (await this.client.workflow.getHandle(workflowId).query<string>('build')) === 'previous';
    } catch (error) {
      if (error instanceof QueryNotRegisteredError) return false;
      throw error;
    }
  }
}

const build = (buildId: string): Version => ({ deployment: DEPLOYMENT, buildId });

describe('a worker without a version', () => {
  it('says nothing of versions, so that the server takes its tasks, and takes over from the build before it', async () => {
    const place = await Place.create();
    const before = await place.start(undefined, previous);
    const remediation = await place.ask('web-0');
    await eventually('it is in hand', () => place.isPrevious(remediation));
    expect(await place.versionOf(remediation)).toBeUndefined();
    expect(await place.versionOf(place.responder)).toBeUndefined();

    await place.stop(before);
    await place.start();
    await eventually('the next build has it in hand', async () => !(await place.isPrevious(remediation)));
    const { status } = await place.client.workflow.getHandle(remediation).describe();
    expect(status.name).toBe('RUNNING');
  });
});

describe('workers of two builds', () => {
  it('a remediation stays with the build that began it, a responder goes on under the current one', async () => {
    const place = await Place.create();
    await place.start(build('A'), previous);
    await place.promote('A');
    const first = await place.ask('web-0');
    await place.untilVersion(first, 'PINNED A');
    await place.untilVersion(place.responder, 'AUTO_UPGRADE A');
    const { runId } = await place.client.workflow.getHandle(place.responder).describe();

    await place.start(build('B'));
    await place.promote('B');
    const second = await place.ask('web-1');
    await place.untilVersion(place.responder, 'AUTO_UPGRADE B');
    expect((await place.client.workflow.getHandle(place.responder).describe()).runId).toBe(runId);

    // The first one ends, under A, and leaves its slot to the second one, under B.
    await place.client.workflow.getHandle(first).cancel();
    await place.untilVersion(second, 'PINNED B');
    expect(await place.versionOf(first)).toBe('PINNED A');
    expect(await place.isPrevious(second)).toBe(false);
    const { events } = await place.client.workflow.getHandle(first).fetchHistory();
    const builds = events?.flatMap(({ workflowTaskCompletedEventAttributes: done }) =>
      done ? [done.deploymentVersion?.buildId] : [],
    );
    expect(new Set(builds)).toEqual(new Set(['A']));
  });

  it('a breaker, which may be open for weeks, goes on under the current one', async () => {
    const place = await Place.create();
    const before = await place.start(build('A'));
    await place.promote('A');
    const breaker = await place.askForBreaker();
    await place.untilVersion(breaker, 'AUTO_UPGRADE A');
    await place.start(build('B'));
    await place.promote('B');
    // Of its build no worker is left.
    await place.stop(before);
    await place.client.workflow.getHandle(breaker).signal(MESSAGE.resolved);
    await place.untilVersion(breaker, 'AUTO_UPGRADE B');
  });

  it('what a worker without a version began goes on under the first version, and under those after it', async () => {
    const place = await Place.create();
    const before = await place.start(undefined, previous);
    const remediation = await place.ask('web-0');
    await eventually('it is in hand', () => place.isPrevious(remediation));

    await place.start(build('A'), previous);
    await place.promote('A');
    await place.stop(before);
    // A word to it makes a task, which Temporal routes anew.
    await place.client.workflow.getHandle(remediation).signal(MESSAGE.resolved);
    await place.untilVersion(remediation, 'AUTO_UPGRADE A');
    await place.start(build('B'));
    await place.promote('B');
    await place.client.workflow.getHandle(remediation).signal(MESSAGE.resolved);
    await place.untilVersion(remediation, 'AUTO_UPGRADE B');
    expect(await place.isPrevious(remediation)).toBe(false);
  });
});
