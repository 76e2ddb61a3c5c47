import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** One mutating request as the API server's audit log has it (audit.k8s.io/v1 Event, stage ResponseComplete). */
export interface AuditEvent {
  auditID: string;
  /** create, update, patch, delete or deletecollection. */
  verb: string;
  requestURI: string;
  user: { username: string; groups?: string[] };
  userAgent?: string;
  objectRef?: {
    resource?: string;
    namespace?: string;
    name?: string;
    uid?: string;
    apiGroup?: string;
    apiVersion?: string;
    /** `eviction`, `status`, … */
    subresource?: string;
  };
  responseStatus?: { code?: number; reason?: string; message?: string };
  requestObject?: unknown;
  /** ISO times with microseconds. */
  requestReceivedTimestamp: string;
  stageTimestamp: string;
}

/** All that are given must hold. */
export interface AuditFilter {
  /** Received at or after then. */
  since?: Date;
  /** User name, e.g. `admin`. */
  user?: string;
  verb?: string | readonly string[];
  namespace?: string;
  /** Plural: `pods`. */
  resource?: string;
  subresource?: string;
  name?: string;
}

/** Every mutating request with its body, and nothing else. */
export const AUDIT_POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Request
    verbs: [create, update, patch, delete, deletecollection]
  - level: None
`;

/** A request that changes nothing, but is logged, for its verb is `create`. */
const MARKER = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
const MARKER_TIMEOUT_MS = 10_000;

/**
 * The log up to now: a marker of our own is sent and waited for, so that every request answered before this call is in.
 * @param send POSTs JSON to the API server
 */
export async function readAudit(
  file: string,
  filter: AuditFilter,
  send: (path: string, body: unknown, headers: Record<string, string>) => Promise<void>,
): Promise<AuditEvent[]> {
  const marker = randomUUID();
  await send(MARKER, { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }, { 'Audit-ID': marker });
  const deadline = Date.now() + MARKER_TIMEOUT_MS;
  let text = await readFile(file, 'utf8');
  while (!text.includes(marker)) {
    if (Date.now() > deadline) throw new Error(`The audit log ${file} does not show the request ${marker} after 10 s.`);
    await sleep(5);
    text = await readFile(file, 'utf8');
  }
  const events: AuditEvent[] = [];
  // The last line may be half written; the marker is whole once the newline after it is there.
  for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    if (line === '') continue;
    const event = JSON.parse(line) as AuditEvent;
    if (!event.requestURI.startsWith(MARKER) && matches(event, filter)) events.push(event);
  }
  return events;
}

function matches(event: AuditEvent, filter: AuditFilter): boolean {
  const { since, user, verb, ...object } = filter;
  if (since !== undefined && new Date(event.requestReceivedTimestamp) < since) return false;
  if (user !== undefined && event.user.username !== user) return false;
  if (verb !== undefined && ![verb].flat().includes(event.verb)) return false;
  for (const field of ['namespace', 'resource', 'subresource', 'name'] as const) {
    if (object[field] !== undefined && event.objectRef?.[field] !== object[field]) return false;
  }
  return true;
}
