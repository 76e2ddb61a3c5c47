// Node's crypto is allowed here because no workflow imports this file: digests are made by the gateway and the command
// line, and travel in the batches.
import { createHash } from 'node:crypto';

/**
 * JSON in one form only: keys sorted by UTF-16 code units (as RFC 8785), no space, members that are undefined left out.
 * For plain JSON values of known depth, not for input of strangers.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** The first 16 hex digits of the SHA-256 of the value's canonical JSON: tells versions of one thing apart. */
export const digest = (value: unknown): string =>
  createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 16);
