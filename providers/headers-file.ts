import { readFile } from 'node:fs/promises';
import { FinalError } from './errors.ts';

const LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/;

/**
 * Headers with secrets, one `name: value` a line; empty lines and those that begin with `#` say nothing. Read anew each time,
 * for secrets are renewed. What it says stands in no message.
 *
 * @throws FinalError `Invalid`
 */
export async function headersOf(path: string | undefined): Promise<Record<string, string>> {
  if (path === undefined) return {};
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new FinalError(`cannot read the headers file ${path}: ${cause.code ?? cause.message}`, {
      type: 'Invalid',
      cause,
    });
  });
  const headers: Record<string, string> = {};
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, name, value] = LINE.exec(line) ?? [];
    if (name === undefined || value === undefined)
      throw new FinalError(`${path}:${at + 1} is no header: expected "name: value"`, { type: 'Invalid' });
    headers[name.toLowerCase()] = value;
  }
  return headers;
}
