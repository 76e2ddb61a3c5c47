import type { AuditEvent } from '../../sandbox/audit-log.ts';

/** Less what was refused because the object had changed since it was read (409): nothing was written then. */
export const overtakenLeftOut = (events: AuditEvent[]): AuditEvent[] =>
  events.filter(({ responseStatus }) => responseStatus?.code !== 409);
