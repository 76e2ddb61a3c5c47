import { covers, equal, type Json, type JsonObject } from '../../../model/breaker/patch.ts';
import { type FieldPath, fieldAt, hasField } from '../../../model/drift/field-set.ts';
import { LAST_APPLIED, type Manager, tellsApplied } from '../../../model/drift/managers.ts';
import type { Cluster } from '../cluster.ts';
import type { Place } from './kinds.ts';
import { manifestsOf } from './manifest.ts';
import { declaredFields, type Live, objectIn, tryApply, tryCopy } from './try.ts';

/** What was applied last, field by field; absent where nothing tells. */
export type Applied = (path: FieldPath) => { value: Json | undefined } | undefined;

interface Asked {
  cluster: Cluster;
  place: Place;
  live: Live;
  /** What came of trying to apply the source; absent where it was refused. */
  tried?: Live;
  /** It was tried under another name, for it can only be replaced. */
  isCopy: boolean;
  applier: Manager | undefined;
  signal: AbortSignal;
}

/**
 * What kubectl's annotation says was applied last, in the API's own form: it is tried as well, for the annotation has `100m` where
 * the live object may have `0.1`, and nothing of what is defaulted. It need not be where it is equal to the source.
 */
export async function appliedTo({ cluster, place, live, tried, isCopy, applier, signal }: Asked): Promise<Applied> {
  const last = lastApplied(live, place);
  if (!last || !tellsApplied(live.metadata.managedFields ?? [], applier)) return () => undefined;
  const { object, ref } = place;
  if (!tried || !ref) return (path) => raw(last, object, live, path);
  if (equal(last, object)) return (path) => ({ value: fieldAt(tried, path) });
  // Of whatever version of the object: what is applied is in the answer as it is applied, and a status may be written meanwhile.
  const isSame = last['apiVersion'] === object['apiVersion'];
  const attempt = () =>
    isCopy ? tryCopy(cluster, ref, last, signal) : tryApply(cluster, ref, last, undefined, signal);
  const again = isSame ? await attempt() : undefined;
  if (again?.kind !== 'tried')
    return (path) => {
      const value = fieldAt(last, path);
      return { value: equal(value, fieldAt(object, path)) ? fieldAt(tried, path) : value };
    };
  const fields = declaredFields(again.object);
  return (path) => ({ value: hasField(fields, path) ? fieldAt(again.object, path) : undefined });
}

/** As far as can be told without the API: of what it refuses to apply, it tells no normal form. */
function raw(last: JsonObject, source: JsonObject, live: Live, path: FieldPath): { value: Json | undefined } {
  const value = fieldAt(last, path);
  if (equal(value, fieldAt(source, path))) return { value };
  const found = fieldAt(live, path);
  return { value: covers(found, value) ? found : value };
}

function lastApplied({ metadata }: Live, { kind, name, namespace }: Place): JsonObject | undefined {
  const text = metadata.annotations?.[LAST_APPLIED];
  if (text === undefined) return undefined;
  try {
    const [last, ...others] = manifestsOf(JSON.parse(text) as Json, LAST_APPLIED);
    if (!last || others.length > 0 || last.kind !== kind || last.name !== name) return undefined;
    return { ...last.object, metadata: { ...objectIn(last.object['metadata']), ...(namespace && { namespace }) } };
  } catch {
    return undefined; // no record, but what somebody has written there by hand
  }
}

/** What was applied last is just what the source has, as far as is known. */
export function isAsApplied(live: Live, place: Place): boolean {
  const last = lastApplied(live, place);
  return last !== undefined && equal(last, place.object);
}
