import { setTimeout as delay } from 'node:timers/promises';
import { difference, type JsonObject } from '../../../model/breaker/patch.ts';
import type { Change } from '../../../model/change.ts';
import { canonicalJson } from '../../../model/digest.ts';
import { type Culprit, type Difference, MOST_FIELDS } from '../../../model/drift/difference.ts';
import { LAST_APPLIED, OWN_MANAGER } from '../../../model/drift/managers.ts';
import { shownField } from '../../../model/drift/shown-fields.ts';
import { LOST } from '../../instance.ts';
import type { Answer, Cluster } from '../cluster.ts';
import { ApiError, explain, isPassing } from '../errors.ts';
import type { Ref } from '../objects.ts';
import type { Place } from './kinds.ts';
import { type Differing, isHidden, type Looked, type Write } from './look.ts';
import { isSecret } from './manifest.ts';
import { type Live, objectIn, patientCall, underAnotherName } from './try.ts';

/** What a write is made with. */
export interface Writing {
  cluster: Cluster;
  step: string;
  signal: AbortSignal;
}

/** Its object did not go in time. */
export class StillThere extends Error {
  override readonly name = 'StillThere';
}

/** It would not be made again, so it was not deleted. */
export class NotReplaced extends Error {
  override readonly name = 'NotReplaced';
}

/** How long an object that is to be replaced may take to go. */
const GONE_WITHIN_MS = 120_000;

/**
 * Reverts one difference, with the identity and the version of what was looked at as preconditions.
 *
 * Fields are written by a JSON patch, not by server-side apply: an apply of fewer fields than before gives up, and so removes, those
 * that the same manager has applied before; and an apply of all of them would bring along source that is not applied yet. A patch
 * writes what was reviewed and nothing beside it.
 *
 * @param done is told each change as soon as it is made
 */
export async function write(writing: Writing, looked: Looked, done: (change: Change) => void): Promise<void> {
  const { write: what, difference: of } = looked;
  if (!what) return;
  switch (what.kind) {
    case 'patch':
      return patch(writing, what, of.who, done);
    case 'create':
      return create(writing, what.place, done);
    case 'delete':
      return remove(writing, what.place, what.live, done);
    case 'replace':
      await tryCreation(writing, what.place);
      await remove(writing, what.place, what.live, done);
      await untilGone(writing, what.place, what.live);
      return create(writing, what.place, done);
  }
}

async function patch(
  { cluster, step, signal }: Writing,
  { place, live, wanted, fields }: Extract<Write, { kind: 'patch' }>,
  who: Culprit | undefined,
  done: (change: Change) => void,
): Promise<void> {
  const { uid, resourceVersion } = live.metadata;
  const operations = [
    { op: 'replace', path: '/metadata/uid', value: uid },
    { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
    ...difference(live, wanted),
  ];
  const send = () => cluster.patch<Live>(refOf(place), 'operations', OWN_MANAGER, operations);
  const answer = await patientCall(send, signal);
  for (const change of changesOf(place, { uid, step, fields, who, answer })) done(change);
}

interface Made {
  uid: string;
  step: string;
  fields: readonly Differing[];
  who: Culprit | undefined;
  answer: Pick<Answer<unknown>, 'auditId'>;
}

function changesOf(place: Place, { uid, step, fields, who, answer }: Made): Change[] {
  const by = who ? ` (changed by ${who.by}${who.at ? ` at ${who.at}` : ''})` : '';
  return fields
    .flatMap(({ path, live, source }) => shownField(path, live, source, isHidden(place, path)))
    .slice(0, MOST_FIELDS)
    .map(({ path, live, source }) => ({
      ...{ step, what: `${titleOf(place)}: ${path}: ${live ?? '(none)'} → ${source ?? '(none)'}${by}` },
      ...{ object: { key: place.address, uid }, field: path, before: live, after: source },
      ...answered(answer),
    }));
}

/** Before it is deleted, and as it is created then: under another name, for its own is not free yet. */
async function tryCreation({ cluster, signal }: Writing, place: Place): Promise<void> {
  const { ref, object } = underAnotherName(refOf(place), recorded(place));
  const { name: _, ...collection } = ref;
  try {
    await patientCall(() => cluster.tryCreate(collection, object, signal), signal);
  } catch (error) {
    if (!(error instanceof ApiError) || isPassing(error) || error.status === 401) throw error;
    const why = isSecret(place) ? `${error.status} ${error.reason ?? ''}`.trim() : explain(error);
    throw new NotReplaced(
      `${titleOf(place)} was not deleted, for the API server would not create what is to replace it: ${why}`,
      { cause: error },
    );
  }
}

async function create({ cluster, step, signal }: Writing, place: Place, done: (change: Change) => void): Promise<void> {
  const { name: _, ...collection } = refOf(place);
  const answer = await patientCall(() => cluster.create(collection, recorded(place), signal, OWN_MANAGER), signal);
  const { uid } = (answer.body as Live).metadata;
  done(actionOf(place, { step, uid, verb: 'create', answer }));
}

/**
 * With kubectl's own record of what was applied: by it the next look tells what people change from what the source changes, and
 * the next `kubectl apply` what the source has dropped. A Secret gets none, for its values would stand in it.
 */
function recorded(place: Place): JsonObject {
  const { object } = place;
  const text = canonicalJson(object);
  if (isSecret(place) || text.length > MOST_RECORD) return object;
  const metadata = objectIn(object['metadata']);
  const annotations = { ...objectIn(metadata['annotations']), [LAST_APPLIED]: `${text}\n` };
  return { ...object, metadata: { ...metadata, annotations } };
}

/** All annotations of an object together may have 256 KiB. */
const MOST_RECORD = 128 * 1024;

async function remove(
  { cluster, step, signal }: Writing,
  place: Place,
  { metadata: { uid, resourceVersion } }: Live,
  done: (change: Change) => void,
): Promise<void> {
  const answer = await patientCall(() => cluster.delete(refOf(place), { uid, resourceVersion }), signal);
  done(actionOf(place, { step, uid, verb: 'delete', answer }));
}

async function untilGone({ cluster, signal }: Writing, place: Place, { metadata: { uid } }: Live): Promise<void> {
  const until = Date.now() + GONE_WITHIN_MS;
  for (;;) {
    const live = await patientCall(() => cluster.get<Live>(refOf(place), signal), signal);
    if (live?.metadata.uid !== uid) return;
    if (Date.now() > until)
      throw new StillThere(
        `${titleOf(place)} was deleted to be replaced, and is still there after ${GONE_WITHIN_MS / 1000} s; its finalizers: ${live.metadata.finalizers?.join(', ') ?? 'none'}. When it is gone, the next check proposes to create it`,
      );
    await delay(500, undefined, { signal });
  }
}

/** What an earlier attempt has done and could not tell; what is gone may have been deleted by somebody else as well. */
export function lostChanges(
  { address, action, fields }: Difference,
  { step, live, at }: { step: string; live: Live | undefined; at: string | undefined },
): Change[] {
  const uid = live?.metadata.uid ?? UNKNOWN;
  const common = { step, object: { key: address, uid }, at: new Date(at ?? Date.now()).toISOString() };
  if (action === 'update')
    return fields.map(({ path, live: before, source: after }) => ({
      ...{ ...common, field: path, before, after },
      what: `${address}: ${path}: ${before ?? '(none)'} → ${after ?? '(none)'}${LOST}`,
    }));
  const verb = action === 'delete' ? 'delete' : 'create';
  return [{ ...common, ...actionFields(verb, uid), what: `${address}: ${WORDS[verb]}${LOST}` }];
}

const UNKNOWN = '(unknown)';
const WORDS = { create: 'created', delete: 'deleted' } as const;
type Action = keyof typeof WORDS;

const actionFields = (verb: Action, uid: string): Pick<Change, 'field' | 'before' | 'after'> => ({
  ...{ field: verb, before: verb === 'create' ? null : uid, after: verb === 'create' ? uid : null },
});

const actionOf = (
  place: Place,
  { step, uid, verb, answer }: { step: string; uid: string; verb: Action; answer: Answer<unknown> },
): Change => ({
  ...{ step, what: `${titleOf(place)}: ${WORDS[verb]}`, object: { key: place.address, uid } },
  ...actionFields(verb, uid),
  ...answered(answer),
});

const answered = (answer: Pick<Answer<unknown>, 'auditId'>) => ({
  at: new Date().toISOString(),
  ...(answer.auditId && { requestId: answer.auditId }),
});

/** `Service shop/web` */
const titleOf = ({ kind, namespace, name }: Place): string =>
  `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;

/** What differs in a way that can be written has a kind that the cluster serves. */
function refOf({ ref, address }: Place): Ref {
  if (!ref) throw new TypeError(`${address} has no resource`);
  return ref;
}
