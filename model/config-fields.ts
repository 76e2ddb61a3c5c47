import { z } from 'zod';
import { DURATION_PATTERN, formatDuration, parseDuration } from './duration.ts';
import { InputError, shown } from './input-error.ts';
import { nearest } from './nearest.ts';

/** The building blocks of the configuration's schema. Every message says what would be right. */

/** An object whose keys are all known. Its message has a line for each key that is not. */
export const section = <T extends z.core.$ZodShape>(shape: T) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => unknownKey(key, Object.keys(shape))).join('\n')
        : undefined,
  });

function unknownKey(key: string, known: string[]): string {
  const meant = nearest(key, known);
  return meant === undefined
    ? `unknown key ${shown(key)}: the keys known here are ${known.join(', ')}`
    : `unknown key ${shown(key)}: did you mean ${meant}?`;
}

/** A text that a function reads; its InputError becomes the message. */
export const parsed = <T>(expected: string, parse: (text: string) => T) =>
  z
    .string({
      error: (issue) => (issue.input === undefined ? undefined : `expected ${expected}, got ${described(issue.input)}`),
    })
    .transform((text, ctx): T => {
      try {
        return parse(text);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        ctx.addIssue({ code: 'custom', message: error.message });
        return z.NEVER;
      }
    });

/** A duration in milliseconds, written as `1h30m`. */
export const duration = (
  description: string,
  { above = -1, atMost = YEAR }: { above?: number; atMost?: number } = {},
) =>
  parsed('a duration such as 5m or 1h30m', (text) => {
    const ms = parseDuration(text);
    if (ms > YEAR) throw new InputError(`${shown(text)} is longer than a year`);
    if (ms <= above) throw new InputError(`expected more than ${formatDuration(above)}`);
    if (ms > atMost) throw new InputError(`expected at most ${formatDuration(atMost)}`);
    return ms;
  }).meta({ description, pattern: DURATION_PATTERN, examples: ['30s', '5m', '1h30m'] });

const YEAR = 365 * 86_400_000;

export const count = (description: string, min: number, max: number) => z.int().min(min).max(max).meta({ description });

/** A share in percent, 1 to 100, written as `40%`. */
export const percent = (description: string) =>
  parsed('a share such as 40%', (text) => {
    if (!PERCENT.test(text)) throw new InputError(`expected a share from 1% to 100%, got ${shown(text)}`);
    return Number(text.slice(0, -1));
  }).meta({ description, pattern: PERCENT.source });

const PERCENT = /^(?:100|[1-9]\d?)%$/;

export const named = (description: string, pattern: RegExp, expected: string) =>
  parsed(expected, (text) => {
    if (!pattern.test(text)) throw new InputError(`expected ${expected}, got ${shown(text)}`);
    return text;
  }).meta({ description, pattern: pattern.source });

export const nonEmpty = (description: string) => named(description, /^\S(?:.*\S)?$/, 'a text that is not empty');

/** An address of a web API. Credentials do not belong into the configuration. */
export const webUrl = (description: string) =>
  parsed('an address such as http://localhost:9090', (text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
      throw new InputError(`expected an address such as http://localhost:9090, got ${shown(text)}`);
    }
    // The value is not shown: it holds a secret.
    if (url.username !== '' || url.password !== '')
      throw new InputError('expected an address without user name and password');
    return text;
  }).meta({ description, format: 'uri' });

/**
 * Where the audit is kept: a file, whose path becomes absolute, or a PostgreSQL database.
 *
 * @throws InputError
 */
export function auditUrl(text: string, resolvePath: (path: string) => string): string {
  const wanted = 'expected file:./audit.db or postgres://user@host/database';
  if (text.startsWith('file:')) {
    const path = text.slice('file:'.length).replace(/^\/\/(?=\/)/, '');
    if (path === '' || path.startsWith('~')) throw new InputError(`${wanted}, got ${shown(text)}`);
    return `file:${resolvePath(path)}`;
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if ((url?.protocol !== 'postgres:' && url?.protocol !== 'postgresql:') || url.pathname.length < 2)
    throw new InputError(url ? `${wanted}` : `${wanted}, got ${shown(text)}`);
  // The value is not shown: it holds a secret.
  if (url.password !== '')
    throw new InputError('expected an address without a password: use passwordFile or passwordEnv');
  return text;
}

/** The name of an environment variable that holds a secret. */
export const variable = (description: string) =>
  parsed('the name of an environment variable', (text) => {
    // The value is not shown: it may be the secret itself.
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) throw new InputError('expected the name of an environment variable');
    return text;
  }).meta({ description, pattern: '^[A-Za-z_][A-Za-z0-9_]*$' });

/** The SHA-256 (hex, lower case) of a token that a person was given. The token itself belongs into no file of Salvor's. */
export const tokenHash = (description: string) => {
  // Whatever stands there is not shown: it may be the token.
  const error = 'expected the SHA-256 of the token in hex: printf %s TOKEN | sha256sum';
  return z
    .string({ error })
    .regex(/^[0-9a-fA-F]{64}$/, { error })
    .transform((hash) => hash.toLowerCase())
    .refine((hash) => hash !== SHA256_OF_NOTHING, { error: `${error} (this is that of no token at all)` })
    .meta({ description });
};

const SHA256_OF_NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

export interface HostAndPort {
  host: string;
  port: number;
}

const HOST_AND_PORT =
  /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<host>[A-Za-z0-9](?:[-.A-Za-z0-9]*[A-Za-z0-9])?)):(?<port>\d{1,5})$/;

/** @throws InputError */
export function parseHostAndPort(text: string): HostAndPort {
  const groups = HOST_AND_PORT.exec(text)?.groups;
  const host = groups?.v6 ?? groups?.host;
  const port = Number(groups?.port);
  if (host === undefined || port > 65_535) {
    throw new InputError(`expected host:port such as 127.0.0.1:9095 or [::1]:9095, got ${shown(text)}`);
  }
  return { host, port };
}

/** Whether only this machine can reach what listens there. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);

const SIZE_UNITS: Record<string, number> = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Bytes, written as `8MiB`. */
export const size = (description: string, max: number) =>
  parsed('a size such as 512KiB or 8MiB', (text) => {
    const match = /^(\d{1,10})(KiB|MiB|GiB)$/.exec(text);
    const bytes = Number(match?.[1]) * (SIZE_UNITS[match?.[2] ?? ''] ?? Number.NaN);
    if (!(bytes > 0)) throw new InputError(`expected a size such as 512KiB or 8MiB, got ${shown(text)}`);
    if (bytes > max) throw new InputError(`expected at most ${max / 1024 ** 2}MiB`);
    return bytes;
  }).meta({ description, pattern: '^\\d{1,10}(KiB|MiB|GiB)$' });

/** The message for what the schema's own messages leave open. */
export function messageFor(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      // A text in place of a section is not shown: it may be a secret.
      if (issue.expected === 'object' && typeof issue.input === 'string') return `expected ${NOUNS.object}, got a text`;
      return issue.input === undefined
        ? `is missing: expected ${NOUNS[issue.expected] ?? issue.expected}`
        : `expected ${NOUNS[issue.expected] ?? issue.expected}, got ${described(issue.input)}`;
    case 'invalid_value':
      return issue.input === undefined
        ? `is missing: expected ${oneOf(issue.values)}`
        : `expected ${oneOf(issue.values)}, got ${described(issue.input)}`;
    case 'too_small':
      return issue.origin === 'array'
        ? 'the list is empty: expected at least one item'
        : `expected at least ${issue.minimum}`;
    case 'too_big':
      return `expected at most ${issue.maximum}`;
    default:
      return undefined;
  }
}

const NOUNS: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a section with keys of its own',
};

const oneOf = (values: readonly unknown[]): string => (values.length === 1 ? '' : 'one of ') + values.join(', ');

export function described(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a section';
  if (typeof value === 'string') return shown(value);
  return `the ${typeof value} ${value}`;
}
