import { z } from 'zod';
import { shown } from './input-error.ts';
import type { Labels } from './labels.ts';

/**
 * The webhook payload of Alertmanager, version "4"
 * (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config). Unknown fields are kept.
 */
export type WebhookPayload = z.output<typeof payloadSchema>;

/** One alert of a payload. Its times are ISO, in UTC, so that both members of a pair name an episode alike. */
export interface Alert {
  status: 'firing' | 'resolved';
  labels: Labels;
  annotations: Labels;
  startsAt: string;
  endsAt?: string;
  generatorURL?: string;
  /** 16 lower-case hex digits: as delivered, or computed from the labels as Alertmanager does. */
  fingerprint: string;
  /** Fields of other versions and senders, kept. */
  [other: string]: unknown;
}

export type ParsedAlert = { ok: true; alert: Alert } | { ok: false; index: number; problem: string };

export type ParsedPayload = { payload: WebhookPayload; alerts: ParsedAlert[] } | { problem: string };

const MISSING = 'is missing';

/** Labels and annotations: copied to a record without a prototype, so that no name in them means anything. */
const labelsSchema = z.unknown().transform((input, ctx): Labels => {
  const labels: Record<string, string> = Object.create(null);
  if (input === undefined) {
    ctx.addIssue({ code: 'custom', message: MISSING });
    return labels;
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    ctx.addIssue({ code: 'custom', message: `expected an object of strings, got ${kindOf(input)}` });
    return labels;
  }
  for (const [name, value] of Object.entries(input)) {
    if (typeof value === 'string') labels[name] = value;
    else ctx.addIssue({ code: 'custom', path: [name], message: `expected a string, got ${kindOf(value)}` });
  }
  return labels;
});

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/;

const timeSchema = z.string().transform((text, ctx): string => {
  const time = RFC3339.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) {
    ctx.addIssue({ code: 'custom', message: 'expected a time such as 2026-01-31T12:00:00Z' });
    return text;
  }
  return new Date(time).toISOString();
});

const statusSchema = z.enum(['firing', 'resolved']);

export const alertSchema = z.looseObject({
  status: statusSchema,
  labels: labelsSchema,
  annotations: labelsSchema.default(() => Object.create(null)),
  startsAt: timeSchema,
  endsAt: timeSchema.optional(),
  generatorURL: z.string().optional(),
  fingerprint: z.unknown().optional(),
});

export const payloadSchema = z.looseObject({
  version: z.literal('4'),
  groupKey: z.string(),
  /** Alerts that Alertmanager left out of this group (`max_alerts`): what is here is not all of it. */
  truncatedAlerts: z.int().nonnegative().default(0),
  status: statusSchema,
  receiver: z.string(),
  groupLabels: labelsSchema,
  commonLabels: labelsSchema,
  commonAnnotations: labelsSchema,
  externalURL: z.string(),
  alerts: z.array(z.unknown()),
});

/**
 * Reads a payload alert by alert: one that is malformed is reported by its index and never takes the others with it.
 * A payload that is not one as a whole answers a problem.
 */
export function parsePayload(json: unknown): ParsedPayload {
  const parsed = payloadSchema.safeParse(json, { error: messageFor });
  if (!parsed.success)
    return { problem: `not a webhook payload of Alertmanager, version "4": ${summary(parsed.error)}` };
  return { payload: parsed.data, alerts: parsed.data.alerts.map(parseAlert) };
}

function parseAlert(json: unknown, index: number): ParsedAlert {
  const parsed = alertSchema.safeParse(json, { error: messageFor });
  if (!parsed.success) return { ok: false, index, problem: summary(parsed.error) };
  const { fingerprint, ...alert } = parsed.data;
  return { ok: true, alert: { ...alert, fingerprint: delivered(fingerprint) ?? labelFingerprint(alert.labels) } };
}

const delivered = (fingerprint: unknown): string | undefined =>
  typeof fingerprint === 'string' && /^[0-9a-f]{16}$/i.test(fingerprint) ? fingerprint.toLowerCase() : undefined;

/** FNV-1a (64 bits) over names and values sorted by their bytes: `LabelsToSignature` of prometheus/common/model. */
export function labelFingerprint(labels: Labels): string {
  const bytes = Object.entries(labels)
    .map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)
    .sort(([a], [b]) => Buffer.compare(a, b))
    .flatMap(([name, value]) => [name, SEPARATOR, value, SEPARATOR]);
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.concat(bytes)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}

const SEPARATOR = Buffer.of(0xff);

/** What the schema has no words of its own for. */
function messageFor(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return MISSING;
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${NOUNS[issue.expected] ?? `a ${issue.expected}`}, got ${kindOf(issue.input)}`;
    case 'invalid_value':
      return `expected ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}, got ${shownAs(issue.input)}`;
    case 'too_small':
      return `expected at least ${issue.minimum}`;
    default:
      return undefined;
  }
}

const NOUNS: Record<string, string> = { object: 'an object', array: 'an array', int: 'a whole number' };

const shownAs = (value: unknown): string => (typeof value === 'string' ? shown(value) : kindOf(value));

/** The first problems in one line, each with its place. */
function summary(error: z.ZodError): string {
  const lines = error.issues.slice(0, 3).map(({ path, message }) => {
    const place = path.map((key) => String(key).slice(0, 60).toWellFormed()).join('.');
    if (place === '') return message;
    return message === MISSING ? `${place} ${message}` : `${place}: ${message}`;
  });
  if (error.issues.length > 3) lines.push(`and ${error.issues.length - 3} more`);
  return lines.join('; ');
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`;
}
