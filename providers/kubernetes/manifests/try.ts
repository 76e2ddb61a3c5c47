import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isObject, type Json, type JsonObject } from '../../../model/breaker/patch.ts';
import type { FieldPath, FieldSet } from '../../../model/drift/field-set.ts';
import { OWN_MANAGER } from '../../../model/drift/managers.ts';
import type { Cluster } from '../cluster.ts';
import { ApiError, explain, isStatus } from '../errors.ts';
import type { KubeObject, Ref } from '../objects.ts';

/** An object of any kind, as the API's JSON has it. */
export type Live = KubeObject & JsonObject;

/** What came of trying to apply an object. */
export type Tried =
  | { kind: 'tried'; object: Live }
  /** It was written to, or deleted, since it was read. */
  | { kind: 'moved' }
  /** Its namespace is not there, or ends. */
  | { kind: 'nowhere'; why: string }
  /** It can only be replaced. `fields`: those that do not change. */
  | { kind: 'immutable'; why: string; fields: FieldPath[] }
  | { kind: 'refused'; why: string };

/** Tries at what somebody else writes to at the same time, or where the server asks to wait. */
const TRIES = 5;
const MOST_WAIT_MS = 10_000;

/** Calls again where the server asks to wait, after the time that it says. */
export async function patientCall<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await call();
    } catch (error) {
      if (!isStatus(error, 429) || tries === TRIES) throw error;
      const wait = Math.min(error.retryAfter ?? 2 ** tries * 250, MOST_WAIT_MS);
      await delay(wait * (1 + Math.random() / 4), undefined, { signal });
    }
  }
}

/**
 * Tries to apply an object, as a dry run of server-side apply with force: so the API's own defaults, normal forms and rules of
 * merging decide what differs.
 *
 * @param live with whose identity and version it is tried; absent: it is not there
 * @throws what is not about the object: no answer, a right that is missing, …
 */
export async function tryApply(
  cluster: Cluster,
  ref: Ref,
  object: JsonObject,
  live: Live | undefined,
  signal: AbortSignal,
): Promise<Tried> {
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  const seen = live && { uid: live.metadata.uid, resourceVersion: live.metadata.resourceVersion };
  const body = { ...object, metadata: { ...metadata, ...seen } };
  try {
    const answer = await patientCall(() => cluster.tryApply<Live>(ref, OWN_MANAGER, body, signal), signal);
    return { kind: 'tried', object: answer };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return refusalOf(error, live !== undefined);
  }
}

/**
 * Tries to make an object under a name that nobody has: what the API would make of it where it was created anew, which is all that can
 * be asked of one that cannot be changed into it. What is free for one object of a kind only, such as a port of the nodes, is refused.
 */
export async function tryCopy(cluster: Cluster, ref: Ref, object: JsonObject, signal: AbortSignal): Promise<Tried> {
  const copy = underAnotherName(ref, object);
  try {
    return await tryApply(cluster, copy.ref, copy.object, undefined, signal);
  } catch (error) {
    // Who may write to the object by its name alone may not create it.
    if (!isStatus(error, 403)) throw error;
    return { kind: 'refused', why: explain(error) };
  }
}

/** Short, for a CronJob's has at most 52 characters. */
export function underAnotherName(ref: Ref, object: JsonObject): { ref: Ref; object: JsonObject } {
  const name = `salvor-dry-run-${randomUUID().slice(0, 8)}`;
  return { ref: { ...ref, name }, object: { ...object, metadata: { ...objectIn(object['metadata']), name } } };
}

function refusalOf(error: ApiError, isThere: boolean): Tried {
  const { status, message, causes } = error;
  if (status === 409) return { kind: 'moved' };
  if (status === 404) return isThere ? { kind: 'moved' } : { kind: 'nowhere', why: 'its namespace does not exist' };
  if (status === 403 && causes.some(({ reason }) => reason === 'NamespaceTerminating'))
    return { kind: 'nowhere', why: 'its namespace is being deleted' };
  const fixed = causes.filter((cause) => STAYS.test(cause.message ?? ''));
  if (status === 422 && isThere && fixed.length > 0)
    return { kind: 'immutable', why: message, fields: fixed.map(({ field = '' }) => pathOf(field)) };
  // What an admission policy forbids is 403 as well, and a field that the schema does not have is 500 where it is applied.
  const isAboutIt =
    [400, 405, 413, 415, 422].includes(status) ||
    (status === 403 && !/ cannot \w+ resource /.test(message)) ||
    (status === 500 && /typed (?:patch|value|object)|not declared in schema/.test(message));
  if (!isAboutIt) throw error;
  return { kind: 'refused', why: message };
}

const STAYS = /immutable|may not change|cannot change|updates to .* forbidden/i;

/** Of a field as the API names it in a refusal: `spec.selector`; what is in a list belongs to the list. */
const pathOf = (field: string): FieldPath =>
  (field.split('[')[0] ?? '')
    .split('.')
    .filter((name) => name !== '')
    .map((name) => ({ name }));

/** What of an object the trial declares, as the server sees it. */
export function declaredFields({ metadata }: Live): FieldSet {
  const own = metadata.managedFields?.find(
    ({ manager, operation, subresource }) => manager === OWN_MANAGER && operation === 'Apply' && !subresource,
  );
  return own?.fieldsV1 ?? {};
}

export const objectIn = (value: Json | undefined): JsonObject => (isObject(value) ? value : {});
