import { setTimeout as delay } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import type { AuditActivities, AuditWriter } from '../model/audit.ts';
import type { Announce } from './attempt.ts';
import { asFailure } from './errors.ts';

/** Milliseconds for which a mutation waits for its record. */
const PATIENCE = 1_000;

/** Writes what workflows note. Tried again for as long as the store is down. */
export function auditActivities(store: AuditWriter): AuditActivities {
  return {
    async record(page) {
      try {
        await store.append(page);
      } catch (error) {
        throw asFailure(error);
      }
    },
  };
}

/**
 * Before a mutation. While the store is down the workflow's history and the note on the object have what is held; the
 * record follows.
 */
export function announcing(store: AuditWriter): Announce {
  return async (page) => {
    const written = store.append(page).then(
      () => undefined,
      (error: unknown) => error ?? 'no reason given',
    );
    const timer = new AbortController();
    const late = delay(PATIENCE, `no answer within ${PATIENCE} ms`, { signal: timer.signal }).catch(() => undefined);
    const problem = await Promise.race([written, late]);
    timer.abort();
    if (problem !== undefined) log.warn('not on record before it acts: the record follows', { problem: `${problem}` });
  };
}
