import { Client } from '@temporalio/client';
import type { Config } from '../model/config.ts';
import type { HostAndPort } from '../model/config-fields.ts';
import { lazyClient } from '../providers/temporal/connect.ts';
import { createLogger, type Logger } from '../workers/logging.ts';
import type { Monitor } from '../workers/monitor.ts';
import type { Telemetry } from '../workers/telemetry.ts';
import type { Version } from '../workers/versioning.ts';
import type { RunningWorker } from '../workers/worker.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { CUT_SHORT, type Stop } from './lifetime.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { auditOptions } from './store.ts';
import { outOfReach, withClient } from './temporal.ts';

export interface WorkerCommand {
  /** No other worker runs, so the audit may be in a file. */
  single?: boolean;
  /** Which build it is, where builds are promoted one by one. */
  version?: Version | undefined;
}

/** `salvor worker`: polls until it is to stop. */
export async function runWorker(
  context: Context,
  { single = false, version }: WorkerCommand,
  stopped: Promise<Stop>,
): Promise<ExitStatus> {
  const { config, writtenAt } = await configOf(context);
  if (!single) refuseFile(config);
  const logger = createLogger();
  // A worker that cannot connect would say so in the words of its native library.
  const [{ startWorker }] = await Promise.all([
    import('../workers/worker.ts'),
    withClient(config, async () => undefined),
  ]);
  const telemetry = await telemetryOf(config, 'salvor-worker');
  const { listen } = config.worker;
  const worker = await startWorker({
    config,
    ...(!single && { configuredAt: writtenAt }),
    audit: auditOptions(config),
    logger,
    telemetry,
    measured: listen !== undefined,
    version,
  }).catch((error: unknown) => {
    throw outOfReach(error, config.temporal) ?? error;
  });
  const monitor = listen && (await monitorOf(worker, listen, logger));
  const { address, namespace, taskQueue } = config.temporal;
  logger.info({ address, namespace, taskQueue, rules: config.rules.length }, 'worker is ready');
  const stop = await Promise.race([stopped, worker.done.then(() => undefined)]);
  logger.info({ why: stop?.why }, 'worker stops: what is under way may end, waits are handed over');
  await worker.stop().catch((error: unknown) => logger.warn({ err: error }, CUT_SHORT));
  await Promise.all([monitor?.close(), telemetry?.close()]);
  return stop?.status ?? EXIT.failed;
}

/** `salvor gateway`: serves until it is to stop. Temporal need not be up: it answers 503 until it is. */
export async function runGateway(context: Context, stopped: Promise<Stop>): Promise<ExitStatus> {
  const { config } = await configOf(context);
  const logger = createLogger();
  const { startGateway } = await import('../gateway/server.ts');
  const telemetry = await telemetryOf(config, 'salvor-gateway');
  const client = telemetry && tracedClient(config, telemetry);
  const gateway = await startGateway({ config, logger, ...(client && { client }) }).catch(misconfigured);
  const stop = await stopped;
  logger.info({ why: stop.why }, 'gateway stops: requests under way may end');
  await gateway.close();
  await Promise.all([client?.connection.close(), telemetry?.close()]);
  return stop.status;
}

/** The tracing of this process, where it is configured; nothing of it is loaded where not. */
export async function telemetryOf({ telemetry }: Config, service: string): Promise<Telemetry | undefined> {
  if (telemetry === undefined) return undefined;
  const { startTelemetry } = await import('../workers/telemetry.ts');
  try {
    return startTelemetry(telemetry, service);
  } catch (error) {
    return misconfigured(error);
  }
}

/** As the gateway's own, with the webhook's trace going on in what it starts. The caller closes its connection. */
export function tracedClient({ temporal }: Config, telemetry: Telemetry): Client {
  const { connection } = lazyClient(temporal);
  return new Client({ connection, namespace: temporal.namespace, interceptors: { workflow: telemetry.client } });
}

/** `/metrics`, `/healthz` and `/readyz` of a worker. */
export async function monitorOf(
  { metrics, health }: Pick<RunningWorker, 'metrics' | 'health'>,
  listen: HostAndPort,
  logger: Logger,
): Promise<Monitor> {
  const { startMonitor } = await import('../workers/monitor.ts');
  return await startMonitor({ listen, logger, metrics, health }).catch(misconfigured);
}

/** What keeps a process from starting is in the configuration: an address, or a secret that is not there. */
function misconfigured(error: unknown): never {
  throw new CliError(error instanceof Error ? error.message : String(error), { status: EXIT.usage, cause: error });
}

/** Two workers with a file each would have half of the record each, and neither would know. */
function refuseFile({ file, audit }: Config): void {
  if (audit !== undefined && !audit.url.startsWith('file:')) return;
  const kept = audit === undefined ? `${file} has no audit.url, so the audit would be` : `audit.url in ${file} is`;
  throw new CliError(`${kept} a file of this machine, which other workers cannot share`, {
    status: EXIT.usage,
    advice:
      'Nothing was started. Set audit.url to a PostgreSQL database (postgres://user@host/database, with audit.passwordFile); ' +
      'or, if this is the only worker, start it with --single.',
  });
}

/** A process of production without a configuration would do nothing, silently. */
async function configOf(context: Context) {
  const { found, ...loaded } = await loadConfig(context);
  if (found) return loaded;
  throw new CliError(`there is no ${context.config.file} here`, {
    status: EXIT.usage,
    advice: 'Name the configuration with --config FILE or $SALVOR_CONFIG; `salvor up` starts without one.',
  });
}
