import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { NativeConnection, Worker, type WorkerOptions, type WorkflowBundleOption } from '@temporalio/worker';
import { pausesOf } from '../activities/pauses.ts';
import type { AuditStoreOptions } from '../audit/store.ts';
import type { Config } from '../model/config.ts';
import { watchQueue } from '../model/names.ts';
import { allFinished } from '../providers/processes/unfinished.ts';
import { createRegistry } from '../providers/registry.ts';
import { breakersOf } from '../providers/temporal/all-breakers.ts';
import { connectOptions } from '../providers/temporal/connect.ts';
import { activitiesOf } from './activities.ts';
import { type Audit, openAudit } from './audit.ts';
import { bundleWorkflows } from './bundle.ts';
import { tryClusters } from './clusters.ts';
import { driftOf, intervalsOf } from './drift.ts';
import type { Logger } from './logging.ts';
import { WorkerMetrics } from './metrics.ts';
import type { Health } from './monitor.ts';
import { installRuntime, temporalMetrics } from './runtime.ts';
import { keepSchedules } from './schedules.ts';
import { ensureSearchAttributes } from './search-attributes.ts';
import { answers, countWorkflows } from './signs.ts';
import { standingOf } from './standing.ts';
import type { Telemetry } from './telemetry.ts';
import { type Version, versioned } from './versioning.ts';

/** How long a cut or an undo that is under way may take to end; Kubernetes kills after 30 s by default. */
const GRACE = '20 seconds';
/** Waits are made to be interrupted: the next worker takes them up where they were. */
const GRACE_OF_WAITS = '500 milliseconds';
/** After that the process ends all the same; what was cut short is tried again elsewhere. */
const FORCE = '26 seconds';

/** For workflows and short activities. Measured: with the defaults a burst waits for polls, not for work. */
const WORK = {
  shutdownGraceTime: GRACE,
  maxConcurrentWorkflowTaskPolls: 20,
  maxConcurrentActivityTaskPolls: 20,
  nonStickyToStickyPollRatio: 0.5,
  maxConcurrentWorkflowTaskExecutions: 100,
  maxConcurrentActivityTaskExecutions: 200,
  maxConcurrentLocalActivityExecutions: 200,
} satisfies Partial<WorkerOptions>;

/**
 * For waits: they cost a timer and a share of a watch, so thousands are fine. Limits and budgets run here too: responders
 * wait for their answers within workflow tasks, and would otherwise hold the slots that the answers need.
 */
const WATCH = {
  shutdownGraceTime: GRACE_OF_WAITS,
  maxConcurrentActivityTaskExecutions: 5_000,
  // A cancel reaches a wait with the answer to its heartbeat; the default would hold heartbeats back for 8 s of 10.
  maxHeartbeatThrottleInterval: '3 seconds',
  defaultHeartbeatThrottleInterval: '3 seconds',
} satisfies Partial<WorkerOptions>;

export interface WorkerSettings {
  config: Config;
  /** When its file was written, in milliseconds since the epoch: of several workers the newest has its way with the schedules. */
  configuredAt?: number | undefined;
  /** Where the record is kept. */
  audit: AuditStoreOptions;
  logger: Logger;
  /** Workflow bundle; by default the one of the build, or, from source, one that is made now. */
  bundlePath?: string;
  /** Traces, where they are configured. */
  telemetry?: Telemetry | undefined;
  /** Temporal's SDK counts what it does, for {@link RunningWorker.metrics}. */
  measured?: boolean;
  /** Which build it is, where builds are promoted one by one; without it any worker takes anything. */
  version?: Version | undefined;
}

/** A worker that polls. */
export interface RunningWorker {
  /** Whether runs carry search attributes. */
  searchAttributes: boolean;
  /**
   * Takes nothing new, lets short work end, hands waits over. Resolves when all is closed; rejects where something did not
   * end within 26 s: then end the process, and the next worker tries it again.
   */
  stop(): Promise<void>;
  /** Settles as `stop` does; rejects also where the worker dies by itself. */
  done: Promise<void>;
  /** In Prometheus' text format: the worker's own, the audit store's and the SDK's. */
  metrics(): Promise<string>;
  health(): Promise<Health>;
}

/**
 * Connects and polls two task queues: one for workflows and short activities, one for waits, which never take the slots
 * of cuts and undos.
 *
 * @throws where Temporal cannot be reached
 */
export async function startWorker(settings: WorkerSettings): Promise<RunningWorker> {
  const { config, logger, bundlePath, telemetry, measured = false, version } = settings;
  await installRuntime(logger, measured);
  const { namespace, taskQueue } = config.temporal;
  const [connection, workflowBundle] = await Promise.all([
    NativeConnection.connect(connectOptions(config.temporal)),
    findBundle(bundlePath),
  ]);
  const registry = createRegistry(config);
  let audit: Audit | undefined;
  let schedules: ReturnType<typeof keepSchedules> | undefined;
  const close = async (): Promise<void> => {
    await schedules?.stop();
    await audit?.close();
    await registry.close();
    await connection.close();
  };
  try {
    // The worker's own connection, so that the server hands the first task of what is started here straight back.
    const client = new Client({ connection, namespace, interceptors: { workflow: telemetry?.client ?? [] } });
    const pauses = pausesOf(client);
    const metrics = new WorkerMetrics(
      config.rules.map(({ rule }) => rule),
      (query) => countWorkflows(client, query),
      standingOf(client, pauses),
    );
    metrics.breakers(breakersOf(client, config));
    metrics.drift(driftOf(client, config), intervalsOf(config));
    const searchAttributes = await ensureSearchAttributes(connection, namespace, logger);
    audit = await openAudit({ options: settings.audit, client, registry: metrics.registry, logger });
    const { store } = audit;
    const counted = metrics.counting(store);
    const { work, watch } = activitiesOf({ config, client, registry, store, counted, pauses, searchAttributes });
    const common = {
      connection,
      namespace,
      shutdownForceTime: FORCE,
      interceptors: telemetry?.worker ?? {},
      ...versioned(version),
    } satisfies Partial<WorkerOptions>;
    const workers = await Promise.all([
      Worker.create({ ...common, ...WORK, taskQueue, workflowBundle, activities: work }),
      Worker.create({ ...common, ...WATCH, taskQueue: watchQueue(taskQueue), workflowBundle, activities: watch }),
    ]);
    // In the background: Salvor stays up for the clusters that do answer.
    void tryClusters(config.clusters, logger);
    schedules = keepSchedules({ client, config, configuredAt: settings.configuredAt, logger });
    const polls = (): boolean => workers.every((worker) => worker.getState() === 'RUNNING');
    return {
      ...run(workers, close),
      searchAttributes,
      metrics: async () => (await metrics.registry.metrics()) + (await temporalMetrics()),
      health: async () => ({ polls: polls(), temporal: await answers(client), audit: store.state() }),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function run(workers: Worker[], close: () => Promise<void>): Pick<RunningWorker, 'stop' | 'done'> {
  const shutdown = (): void => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  };
  // Where one of the two dies the other is of no use: workflows without waits, or waits without workflows.
  const runs = workers.map((worker) => worker.run().finally(shutdown));
  const done = Promise.allSettled(runs).then(async (ends) => {
    // Asked to end with the activities; what they have begun in the world they must end by themselves.
    await allFinished();
    const died = ends.find((end) => end.status === 'rejected');
    // What has not ended holds the connection: only the end of the process frees it.
    if (died) throw died.reason;
    await close();
  });
  return {
    done,
    stop: () => {
      shutdown();
      return done;
    },
  };
}

async function findBundle(bundlePath: string | undefined): Promise<WorkflowBundleOption> {
  const built = join(import.meta.dirname, '..', 'workflow-bundle.js');
  const codePath = bundlePath ?? built;
  const there = await readFile(codePath).then(
    () => true,
    () => false,
  );
  if (there) return { codePath };
  if (bundlePath !== undefined) throw new Error(`the workflow bundle ${bundlePath} cannot be read`);
  return await bundleWorkflows();
}
