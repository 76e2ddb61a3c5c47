import { styleText } from 'node:util';
import { IllegalStateError } from '@temporalio/common';
import { type LogLevel, Runtime, type Logger as TemporalLogger } from '@temporalio/worker';
import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Logs go to standard error: one JSON object a line, or, on a terminal, a line for people. */
export function createLogger(level: 'debug' | 'info' | 'warn' = 'info'): Logger {
  const options = { level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime };
  return process.stderr.isTTY ? pino(options, { write: writeForPeople }) : pino(options, pino.destination(2));
}

/** pino's numbers for its levels. */
const LEVELS: Record<number, string> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };

function writeForPeople(line: string): void {
  const { level, time, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const name = LEVELS[Number(level)] ?? 'info';
  const colour = Number(level) >= 50 ? 'red' : Number(level) >= 40 ? 'yellow' : 'dim';
  const paint = (format: typeof colour, text: string): string => styleText(format, text, { stream: process.stderr });
  const fields = Object.entries(err === undefined ? rest : { ...rest, error: (err as { message?: unknown }).message })
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  const clock = new Date(String(time)).toLocaleTimeString('en-GB');
  process.stderr.write(`${paint('dim', clock)} ${paint(colour, name.padEnd(5))} ${msg} ${paint('dim', fields)}\n`);
}

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
