import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { redact } from '../model/redact.ts';

export const compress: (text: string) => Promise<Uint8Array> = promisify<string, Buffer>(gzip);

export async function expand(bytes: Uint8Array): Promise<string> {
  return (await promisify<Uint8Array, Buffer>(gunzip)(bytes)).toString('utf8');
}

/**
 * A history without secrets. In protobuf JSON a payload is base64 of what somebody wrote, mostly JSON; one that holds a
 * secret is written anew, every other stays as it is, byte for byte.
 *
 * @param json protobuf JSON of an execution's history
 * @throws SyntaxError where it is no JSON
 */
export const redactHistory = (json: string): string => JSON.stringify(redactEvent(JSON.parse(json)));

function redactEvent(value: unknown): unknown {
  // Outside of payloads the names are Temporal's own: its task tokens are no secrets. What is written there is text.
  if (typeof value === 'string') return redact(value);
  if (Array.isArray(value)) return value.map(redactEvent);
  if (typeof value !== 'object' || value === null) return value;
  const { data, metadata } = value as { data?: unknown; metadata?: unknown };
  if (typeof data === 'string' && typeof metadata === 'object') return { ...value, data: redactPayload(data) };
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, redactEvent(member)]));
}

function redactPayload(data: string): string {
  const bytes = Buffer.from(data, 'base64');
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) return data; // Not text.
  const clean = redactJsonText(text);
  return clean === text ? data : Buffer.from(clean, 'utf8').toString('base64');
}

function redactJsonText(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return String(redact(text)); // Text that is no JSON.
  }
  const clean = redact(value);
  return JSON.stringify(clean) === JSON.stringify(value) ? text : JSON.stringify(clean);
}
