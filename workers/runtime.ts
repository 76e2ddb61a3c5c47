import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { IllegalStateError } from '@temporalio/common';
import { type LogLevel, Runtime, type Logger as TemporalLogger } from '@temporalio/worker';
import type { Logger } from './logging.ts';

/** Where the SDK of this process serves its metrics: only there can they be read. */
let exporter: string | undefined;

/**
 * Sends what Temporal's SDK has to say, its native part included, through this logger, and leaves the signals to the
 * process, which knows what else it must stop and in which order. A process has one runtime: the first call decides.
 *
 * @param measured the SDK counts what it does, for {@link temporalMetrics}
 */
export async function installRuntime(logger: Logger, measured: boolean): Promise<void> {
  const bindAddress = measured && exporter === undefined ? await freeAddress() : undefined;
  const prometheus = { countersTotalSuffix: true, unitSuffix: true, useSecondsForDurations: true };
  try {
    Runtime.install({
      logger: temporalLogger(logger),
      telemetryOptions: {
        logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} },
        ...(bindAddress !== undefined && { metrics: { prometheus: { bindAddress, ...prometheus } } }),
      },
      shutdownSignals: [],
    });
    exporter = bindAddress;
  } catch (error) {
    if (!(error instanceof IllegalStateError)) throw error;
    logger.debug('the Temporal runtime of this process is already there');
  }
}

/** The SDK's own metrics in Prometheus' text format; nothing where the runtime was installed without them. */
export async function temporalMetrics(): Promise<string> {
  if (exporter === undefined) return '';
  const response = await fetch(`http://${exporter}/metrics`, { signal: AbortSignal.timeout(2_000) });
  return response.text();
}

/** The SDK does not say which port it took, so one is chosen for it. */
async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `127.0.0.1:${port}`;
}

/** The queue of waits has no workflows, by design. */
const EXPECTED = 'No workflows registered, not polling for workflow tasks';

const METHODS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;

function temporalLogger(logger: Logger): TemporalLogger {
  const write = (level: LogLevel, message: string, meta: object = {}): void => {
    if (message === EXPECTED) return;
    const { error, ...fields } = meta as { error?: unknown };
    logger[METHODS[level]](error === undefined ? fields : { ...fields, err: error }, message);
  };
  return {
    log: write,
    trace: (message, meta) => write('TRACE', message, meta),
    debug: (message, meta) => write('DEBUG', message, meta),
    info: (message, meta) => write('INFO', message, meta),
    warn: (message, meta) => write('WARN', message, meta),
    error: (message, meta) => write('ERROR', message, meta),
  };
}
