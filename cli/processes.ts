import { createLogger } from '../workers/logging.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { CUT_SHORT, type Stop } from './lifetime.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { outOfReach, withClient } from './temporal.ts';

/** `salvor worker`: polls until it is to stop. */
export async function runWorker(context: Context, stopped: Promise<Stop>): Promise<ExitStatus> {
  const config = await configOf(context);
  const logger = createLogger();
  // A worker that cannot connect would say so in the words of its native library.
  const [{ startWorker }] = await Promise.all([
    import('../workers/worker.ts'),
    withClient(config, async () => undefined),
  ]);
  const worker = await startWorker({ config, logger }).catch((error: unknown) => {
    throw outOfReach(error, config.temporal) ?? error;
  });
  const { address, namespace, taskQueue } = config.temporal;
  logger.info({ address, namespace, taskQueue, rules: config.rules.length }, 'worker is ready');
  const stop = await Promise.race([stopped, worker.done.then(() => undefined)]);
  logger.info({ why: stop?.why }, 'worker stops: what is under way may end, waits are handed over');
  await worker.stop().catch((error: unknown) => logger.warn({ err: error }, CUT_SHORT));
  return stop?.status ?? EXIT.failed;
}

/** `salvor gateway`: serves until it is to stop. Temporal need not be up: it answers 503 until it is. */
export async function runGateway(context: Context, stopped: Promise<Stop>): Promise<ExitStatus> {
  const config = await configOf(context);
  const logger = createLogger();
  const { startGateway } = await import('../gateway/server.ts');
  const gateway = await startGateway({ config, logger }).catch((error: unknown) => {
    // What keeps it from starting is in the configuration: the address, or a secret that is not there.
    throw new CliError(error instanceof Error ? error.message : String(error), { status: EXIT.usage, cause: error });
  });
  const stop = await stopped;
  logger.info({ why: stop.why }, 'gateway stops: requests under way may end');
  await gateway.close();
  return stop.status;
}

/** A process of production without a configuration would do nothing, silently. */
async function configOf(context: Context) {
  const { config, found } = await loadConfig(context);
  if (found) return config;
  throw new CliError(`there is no ${context.config.file} here`, {
    status: EXIT.usage,
    advice: 'Name the configuration with --config FILE or $SALVOR_CONFIG; `salvor up` starts without one.',
  });
}
