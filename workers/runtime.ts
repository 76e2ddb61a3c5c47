import { IllegalStateError } from '@temporalio/common';
import { type LogLevel, Runtime, type Logger as TemporalLogger } from '@temporalio/worker';
import type { Logger } from './logging.ts';

/**
 * Sends what Temporal's SDK has to say, its native part included, through this logger, and leaves the signals to the
 * process, which knows what else it must stop and in which order. A process has one runtime: the first call decides.
 */
export function installRuntime(logger: Logger): void {
  try {
    Runtime.install({
      logger: temporalLogger(logger),
      telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
      shutdownSignals: [],
    });
  } catch (error) {
    if (!(error instanceof IllegalStateError)) throw error;
    logger.debug('the Temporal runtime of this process is already there');
  }
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
