import { styleText } from 'node:util';
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
