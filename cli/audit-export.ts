import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AuditRecord } from '../audit/store.ts';
import { aboutOf, wordsOf } from './audit-text.ts';
import { CliError, EXIT } from './status.ts';

export const FORMATS = ['jsonl', 'csv'] as const;
export type Format = (typeof FORMATS)[number];

/** Writes records to a file, or to standard output where none is named. @returns how many there were */
export async function writeRecords(
  records: AsyncIterable<AuditRecord>,
  format: Format,
  file: string | undefined,
): Promise<number> {
  let written = 0;
  const counted = async function* (): AsyncGenerator<AuditRecord> {
    for await (const record of records) {
      written += 1;
      yield record;
    }
  };
  const text = Readable.from(format === 'csv' ? csv(counted()) : jsonLines(counted()));
  if (file === undefined) await pipeline(text, process.stdout, { end: false });
  else
    await pipeline(text, createWriteStream(file)).catch((error: NodeJS.ErrnoException) => throwUnwritable(error, file));
  return written;
}

function throwUnwritable(error: NodeJS.ErrnoException, file: string): never {
  if (error.syscall === undefined || error.path !== file) throw error;
  throw new CliError(`cannot write ${file} (${error.code ?? 'unknown error'})`, { status: EXIT.usage, cause: error });
}

/** One record a line, with its hash and the one before it, so that anybody can check the chain. */
async function* jsonLines(records: AsyncIterable<AuditRecord>): AsyncGenerator<string> {
  for await (const record of records) yield `${JSON.stringify(record)}\n`;
}

const COLUMNS = ['at', 'kind', 'rule', 'target', 'by', 'what', 'stream', 'seq', 'key', 'entry', 'previous', 'hash'];

/** RFC 4180, with a header. */
async function* csv(records: AsyncIterable<AuditRecord>): AsyncGenerator<string> {
  yield line(COLUMNS);
  // A remediation's first record says what all of them are about.
  const streams = new Map<string, { rule: string; target: string }>();
  for await (const record of records) {
    const { at, entry, stream, seq, key, previous, hash } = record;
    if (entry.kind === 'begun') streams.set(stream, { rule: entry.rule.name, target: entry.target });
    const { rule = '', target = '', by = '' } = { ...streams.get(stream), ...aboutOf(record) };
    const what = wordsOf(entry);
    yield line([at, entry.kind, rule, target, by, what, stream, `${seq}`, key, JSON.stringify(entry), previous, hash]);
  }
}

const line = (cells: string[]): string => `${cells.map(cell).join(',')}\r\n`;

/** What a spreadsheet would take for a formula gets an apostrophe before it: names and reasons are data of strangers. */
function cell(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
