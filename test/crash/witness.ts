import type { Change } from '../../model/change.ts';
import { HELD_ANNOTATION, TRAFFIC_LABEL } from '../../model/names.ts';
import type { AuditEvent } from '../../sandbox/audit-log.ts';

/** One mutation that the API server carried out for Salvor. */
interface Mutation {
  id: string;
  /** Which object, and what was done to it. */
  what: string;
}

interface Body {
  metadata?: { uid?: string; labels?: Record<string, string>; annotations?: Record<string, string | null> };
  deleteOptions?: { preconditions?: { uid?: string } };
}

/** Written and removed again by an undo that found nothing to take back: it alters nothing that anybody reads. */
const OVERTAKEN = 'salvor.dev/overtaken';

function mutationOf({ auditID, verb, objectRef, requestObject, responseStatus }: AuditEvent): Mutation[] {
  if ((responseStatus?.code ?? 0) >= 300) return [];
  const { metadata, deleteOptions } = (requestObject ?? {}) as Body;
  const of = (uid: string | undefined, what: string) => [{ id: auditID, what: `${uid} ${what}` }];
  const { resource, subresource } = objectRef ?? {};
  if (subresource === 'eviction') return of(deleteOptions?.preconditions?.uid, 'eviction');
  const annotations = Object.keys(metadata?.annotations ?? {});
  if (annotations.length === 1 && annotations[0] === OVERTAKEN && !metadata?.labels) return [];
  const traffic = metadata?.labels?.[TRAFFIC_LABEL];
  if (traffic) return of(metadata?.uid, `traffic ${traffic}`);
  if (annotations.includes(HELD_ANNOTATION)) return of(metadata?.uid, 'note');
  return of(metadata?.uid, `${verb} ${resource}/${subresource ?? ''} ${objectRef?.name}`);
}

function nameOf({ object, field, after }: Change): string {
  if (field === 'eviction') return `${object.uid} eviction`;
  if (field.includes(TRAFFIC_LABEL)) return `${object.uid} traffic ${after}`;
  if (field.includes(HELD_ANNOTATION)) return `${object.uid} note`;
  return `${object.uid} ${field}`;
}

/**
 * Compares the changes on record with what the API server carried out: each change is one mutation, and each mutation one
 * change. A change whose answer was lost with its worker is on record without the request's id, for Salvor found it made.
 *
 * @returns what differs, and how many mutations there were
 */
export function compare(events: AuditEvent[], changes: Change[]): { problems: string[]; mutations: number } {
  const mutations = events.flatMap(mutationOf);
  const left = new Map(mutations.map((one) => [one.id, one]));
  const problems: string[] = [];
  const known = changes.filter(({ requestId }) => requestId !== undefined);
  for (const change of known) {
    const { what } = left.get(change.requestId ?? '') ?? {};
    if (what !== nameOf(change))
      problems.push(`${nameOf(change)} is on record as ${change.requestId}, which is ${what}`);
    left.delete(change.requestId ?? '');
  }
  for (const change of changes.filter(({ requestId }) => requestId === undefined)) {
    const made = [...left.values()].find(({ what }) => what === nameOf(change));
    if (made) left.delete(made.id);
    else problems.push(`${nameOf(change)} is on record, and was not made`);
  }
  for (const { id, what } of left.values()) problems.push(`${what} (${id}) was made, and is not on record`);
  return { problems, mutations: mutations.length };
}
