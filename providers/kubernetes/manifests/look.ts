import { scryptSync } from 'node:crypto';
import { equal, type Json, type JsonObject } from '../../../model/breaker/patch.ts';
import { canonicalJson, digest } from '../../../model/digest.ts';
import { classifyField, classifyObject, type FieldVerdict } from '../../../model/drift/classify-manifests.ts';
import { type Culprit, type Difference, MOST_FIELDS } from '../../../model/drift/difference.ts';
import { type FieldPath, fieldAt, formatField, leavesOf, withField } from '../../../model/drift/field-set.ts';
import { ignoredBy } from '../../../model/drift/ignore.ts';
import { applierOf, culpritOf, type Manager, ownersOf } from '../../../model/drift/managers.ts';
import { shownField } from '../../../model/drift/shown-fields.ts';
import { UnavailableError } from '../../errors.ts';
import type { Cluster } from '../cluster.ts';
import { appliedTo, isAsApplied } from './applied.ts';
import type { Place } from './kinds.ts';
import { isSecret } from './manifest.ts';
import { respectOf } from './respect.ts';
import { declaredFields, type Live, patientCall, type Tried, tryApply, tryCopy } from './try.ts';

export interface Looking {
  cluster: Cluster;
  /** Patterns of the stack. */
  ignore: readonly string[];
  /** Kinds whose missing objects are created without an approval. */
  create: readonly string[];
  /** Why a person wants all in a namespace left alone; undefined where nobody does. */
  excluded(namespace: string): Promise<string | undefined>;
  signal: AbortSignal;
}

/** A field that differs, with what it is. */
export interface Differing extends FieldVerdict {
  path: FieldPath;
  live: Json | undefined;
  source: Json | undefined;
}

/** What reverting writes. */
export type Write =
  | { kind: 'create'; place: Place }
  | { kind: 'patch'; place: Place; live: Live; wanted: JsonObject; fields: Differing[] }
  | { kind: 'replace'; place: Place; live: Live }
  | { kind: 'delete'; place: Place; live: Live };

export interface Looked {
  difference: Difference;
  /** Absent where nothing is to be reverted. */
  write?: Write;
}

/** Looks at an object that others write to at the same time. */
const TRIES = 5;

/** One look at an object. */
export interface Seen {
  /** Absent where it is not there. */
  live?: Live;
  /** Absent where nothing differs. */
  looked?: Looked;
}

/** Compares one object with its manifest. */
export async function look(looking: Looking, place: Place): Promise<Seen> {
  const { cluster, signal } = looking;
  const { ref } = place;
  if (!ref) {
    const why = `cluster ${cluster.name} has no kind ${place.kind} of ${place.apiVersion}`;
    return { looked: plain(place, 'create', 'unapplied', why) };
  }
  for (let tries = 1; tries <= TRIES; tries++) {
    const live = await patientCall(() => cluster.get<Live>(ref, signal), signal);
    const ending = live?.metadata.deletionTimestamp;
    if (live && ending !== undefined) {
      const why = `it is being deleted, since ${ending}, and can be created when it is gone`;
      return { live, looked: plain(place, 'create', 'mixed', why, live) };
    }
    const tried = await tryApply(cluster, ref, place.object, live, signal);
    if (tried.kind === 'moved') continue;
    const looked = live ? await compared(looking, place, live, tried) : missing(looking, place, tried);
    const own = looked && (await orLeftAlone(looking, place, looked));
    return { ...(live && { live }), ...(own && { looked: own }) };
  }
  throw new UnavailableError(`${place.address} was written to between a read and a dry run, ${TRIES} times in a row`);
}

async function orLeftAlone({ ignore, excluded }: Looking, place: Place, looked: Looked): Promise<Looked> {
  const pattern = ignoredBy(ignore, place.address);
  const why =
    pattern !== undefined
      ? `ignored by the pattern ${pattern}`
      : place.namespace !== undefined && (await excluded(place.namespace));
  if (!why) return looked;
  const { action, digest } = looked.difference;
  return { difference: { ...bare(place, action), class: 'ignored', why, digest } };
}

const bare = ({ address, kind }: Place, action: Difference['action']) => ({ address, kind, action, fields: [] });

function plain(place: Place, action: Difference['action'], is: Difference['class'], why: string, live?: Live): Looked {
  const own = digest({ address: place.address, action, is, why, uid: live?.metadata.uid });
  return { difference: { ...bare(place, action), class: is, why: shortened(why), digest: own } };
}

/** What runs once, and is gone when it is done: creating it would run it again. */
const RUNS_ONCE = ['Job', 'Pod'];

function missing({ create }: Looking, place: Place, tried: Tried): Looked {
  const { kind, address, object } = place;
  const not = 'it does not exist';
  if (RUNS_ONCE.includes(kind))
    return plain(place, 'create', 'ignored', `${not}, but a ${kind} is not run again by reverting drift`);
  if (tried.kind !== 'tried') return plain(place, 'create', 'unapplied', `${not}, and ${whyNot(place, tried)}`);
  // Nothing tells the two apart, and what nobody has ever deployed is not Salvor's to deploy.
  const unknown = `${not}: it was deleted, or never deployed`;
  const isListed = create.includes(kind);
  const why = isListed
    ? `${unknown}; create of the rule lists ${kind}`
    : `${unknown}, and a person has to tell. Where the rule lists ${kind} in create, it is created without being asked about`;
  const own = digest({ address, action: 'create', object: guarded(place, object, address) });
  return {
    difference: { ...bare(place, 'create'), class: isListed ? 'reversible' : 'destructive', why, digest: own },
    write: { kind: 'create', place },
  };
}

/** The API's own words on a Secret may have its values in them. */
function whyNot(place: Place, tried: Exclude<Tried, { kind: 'tried' }>): string {
  if (tried.kind === 'nowhere') return tried.why;
  if (isSecret(place) || tried.kind === 'moved') return 'the API server does not take it as it is in the source';
  return `the API server does not take it as it is in the source: ${tried.why}`;
}

async function compared(looking: Looking, place: Place, live: Live, tried: Tried): Promise<Looked | undefined> {
  const { cluster, ignore, signal } = looking;
  if (tried.kind !== 'tried' && tried.kind !== 'immutable') return unfit(place, live, tried);
  const isCopy = tried.kind === 'immutable';
  // A replacement writes all that the source declares, so all of that is compared.
  const form = isCopy ? await copied(cluster, place, signal) : tried;
  const isTried = form.kind === 'tried';
  const source: JsonObject = isTried ? form.object : place.object;
  const declared = isTried ? leavesOf(declaredFields(form.object)) : isCopy ? tried.fields : [];
  const paths = declared.filter((path) => !equal(fieldAt(source, path), fieldAt(live, path)));
  if (paths.length === 0) return isCopy ? unfit(place, live, tried) : undefined;
  const managers = live.metadata.managedFields ?? [];
  // What cannot be applied as a whole is counted over what it declares, as it is written.
  const applier = applierOf(managers, isTried ? declared : topLevel(place.object));
  const asked = { cluster, place, live, applier, signal, isCopy };
  const applied = await appliedTo({ ...asked, ...(isTried && { tried: form.object }) });
  const respect = await respectOf(cluster, place, live.metadata, paths, ignore);
  const fields = paths.map((path): Differing => {
    const [is, should] = [fieldAt(live, path), fieldAt(source, path)];
    const record = applied(path);
    const facts = { live: is, source: should, owners: ownersOf(managers, path), applier: applier?.manager };
    // A replacement has nothing of what is held on the object.
    const verdict = classifyField({
      ...{ ...facts, ignored: respect.ignored(path), held: respect.held(isCopy ? [] : path) },
      ...(record && { applied: record }),
    });
    return { path, live: is, source: should, ...verdict };
  });
  return judged({
    place,
    live,
    fields,
    managers,
    applier,
    ...(isCopy && { replaced: isTried ? {} : { refused: whyNot(place, form) } }),
  });
}

const copied = async (cluster: Cluster, { ref, object }: Place, signal: AbortSignal): Promise<Tried> =>
  ref ? tryCopy(cluster, ref, object, signal) : { kind: 'moved' };

/** The API server refuses it: because of the source, or of what somebody has made of the object that it is applied to. */
function unfit(place: Place, live: Live, tried: Exclude<Tried, { kind: 'tried' }>): Looked {
  if (!isAsApplied(live, place)) return plain(place, 'update', 'unapplied', whyNot(place, tried), live);
  const why = `it was applied as the source has it, and was changed since in a way that a person must undo: ${whyNot(place, tried)}`;
  return plain(place, 'update', 'mixed', why, live);
}

const topLevel = (object: JsonObject): FieldPath[] =>
  Object.entries(object).flatMap(([name, below]) =>
    typeof below === 'object' && below !== null && !Array.isArray(below)
      ? Object.keys(below).map((inner) => [{ name }, { name: inner }])
      : [[{ name }]],
  );

interface Judged {
  place: Place;
  live: Live;
  fields: Differing[];
  managers: readonly Manager[];
  applier: Manager | undefined;
  /** Present where it can only be replaced; `refused`: why the API server would not make it anew. */
  replaced?: { refused?: string };
}

function judged({ place, live, fields, managers, applier, replaced }: Judged): Looked {
  const whole = classifyObject(fields);
  const isReplaced = replaced !== undefined;
  const asReplaced = replaced?.refused === undefined ? 'destructive' : 'mixed';
  const is = whole === 'reversible' && isReplaced ? asReplaced : whole;
  const action = isReplaced ? 'replace' : 'update';
  // Of what is left alone beside drift it is only told; a replacement leaves nothing alone.
  const told = fields.filter((one) => isReplaced || (whole === 'mixed' ? MIXED.has(one.class) : one.class === whole));
  const shown = told.flatMap(({ path, live, source }) => shownField(path, live, source, isHidden(place, path)));
  const who =
    is === 'reversible' || is === 'destructive' || is === 'mixed' ? whoDid(told, managers, applier) : undefined;
  const { address } = place;
  const values = told.map(({ path, live, source }) => ({
    path: formatField(path),
    values: isHidden(place, path) ? hardened([live, source], address) : [live ?? null, source ?? null],
  }));
  const difference: Difference = {
    ...{ address, kind: place.kind, class: is, action },
    why: whyOf(fields, told, replaced),
    fields: shown.slice(0, MOST_FIELDS),
    ...(shown.length > MOST_FIELDS && { more: shown.length - MOST_FIELDS }),
    digest: digest({ address, action, uid: live.metadata.uid, values, ...(isReplaced && wholeOf(place)) }),
    ...(who && { who }),
  };
  if (is === 'destructive') return { difference, write: { kind: 'replace', place, live } };
  if (is !== 'reversible') return { difference };
  const wanted = told.reduce<Json | undefined>((object, one) => withField(object, one.path, one.source), live);
  return { difference, write: { kind: 'patch', place, live, wanted: wanted as JsonObject, fields: told } };
}

/** What makes an object mixed, alone or together. */
const MIXED: ReadonlySet<string> = new Set(['mixed', 'reversible', 'unapplied']);

/** Replacing it writes all of it. */
const wholeOf = (place: Place) => ({ object: guarded(place, place.object, place.address) });

function whyOf(fields: readonly Differing[], told: readonly Differing[], replaced: Judged['replaced']): string {
  const reasons = (some: readonly Differing[]) =>
    [...new Set(some.map(({ why }) => why))]
      .map((why) => `${names(some.filter((one) => one.why === why))}: ${why}`)
      .join('; ');
  const rest = fields.filter((one) => !told.includes(one));
  const alone = rest.length > 0 ? `. Left alone: ${reasons(rest)}` : '';
  const how =
    replaced && `. The API server does not change that: the object has to be replaced, with all that the source has`;
  const person = replaced?.refused === undefined ? '' : `, which a person must do: ${replaced.refused}`;
  return shortened(`${reasons(told)}${how ?? ''}${person}${alone}`);
}

const names = (fields: readonly Differing[]): string => {
  const some = fields.slice(0, 3).map(({ path }) => formatField(path));
  return fields.length > some.length ? `${some.join(', ')} and ${fields.length - some.length} more` : some.join(', ');
};

const MOST_WHY = 500;
const shortened = (text: string): string =>
  text.length > MOST_WHY ? `${text.slice(0, MOST_WHY - 1).toWellFormed()}…` : text;

/** The one that changed any of it last. */
function whoDid(
  fields: readonly Differing[],
  managers: readonly Manager[],
  applier: Manager | undefined,
): Culprit | undefined {
  const found = fields
    .filter((one) => one.class !== 'unapplied')
    .flatMap(({ path }) => culpritOf(managers, path, applier) ?? [])
    .sort((a, b) => (b.time ?? '').localeCompare(a.time ?? ''))[0];
  return found && { by: found.manager ?? '', told: 'managedFields', ...(found.time && { at: found.time }) };
}

export const isHidden = (place: Place, path: FieldPath): boolean => {
  const [first] = path;
  return isSecret(place) && !(first && 'name' in first && ['metadata', 'type'].includes(first.name));
};

/** The object as a digest may be made of it. */
function guarded(place: Place, object: JsonObject, address: string): Json {
  if (!isSecret(place)) return object;
  const { data = null, ...rest } = object;
  return { ...rest, data: hardened([data], address) };
}

/** Of secret values, a hash that is dear to compute: digests are on record, and a short password must not be guessed from one. */
const hardened = (values: readonly (Json | undefined)[], salt: string): string =>
  scryptSync(canonicalJson(values), salt, 16).toString('hex');
