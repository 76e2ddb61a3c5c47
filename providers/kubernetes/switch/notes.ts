import type { Json, JsonObject, Path } from '../../../model/breaker/patch.ts';
import { valueAt, withValue } from '../../../model/breaker/patch.ts';
import type { Change, FieldValue, Held } from '../../../model/change.ts';
import { fieldManager, HELD_ANNOTATION } from '../../../model/names.ts';
import { annotationOf, holdsOn, type Note } from '../fields.ts';
import type { FieldSet, KubeObject, ManagedFields, Metadata } from '../objects.ts';
import { type Form, heldValue, type Slot } from './form.ts';

/** An object of any kind, as the API's JSON has it. */
export type Live = KubeObject & JsonObject;

/** The one runbook that holds switches. */
export const RUNBOOK = 'circuit-breaker';
export const MANAGER = fieldManager(RUNBOOK);

const ANNOTATION: Path = ['metadata', 'annotations', HELD_ANNOTATION];

/** What breakers hold of the form's fields, as the annotation says. */
export const breakerNotes = ({ metadata }: Live, form: Pick<Form, 'owns'>): Note[] =>
  (holdsOn(metadata) ?? []).filter(({ runbook, field }) => runbook === RUNBOOK && form.owns(field));

/** What may be taken for one's own: what this remediation has noted, and what another breaker has left behind. */
export const ownNotes = (live: Live, form: Pick<Form, 'owns'>, remediation: string): Note[] =>
  breakerNotes(live, form).filter((note) => note.remediation === remediation || Date.parse(note.until) <= Date.now());

export const slotOf = ({ field, before, set }: Pick<Held, 'field' | 'before' | 'set'>): Slot => ({
  ...{ field, before: heldValue(before), set: heldValue(set) },
});

/** The object with these notes in place of some of its own. */
export function withNotes(object: JsonObject, live: Live, old: readonly Note[], notes: readonly Note[]): JsonObject {
  const gone = new Set(old.map(idOf));
  const others = (holdsOn(live.metadata) ?? []).filter((note) => !gone.has(idOf(note)));
  const text = annotationOf([...others, ...notes]) ?? undefined;
  // An empty map of annotations is what the API leaves out.
  const bare = valueAt(object, ANNOTATION) === text ? object : (withValue(object, ANNOTATION, text) as JsonObject);
  const left = valueAt(bare, ANNOTATION.slice(0, -1));
  const isEmpty = typeof left === 'object' && left !== null && Object.keys(left).length === 0;
  return isEmpty ? (withValue(bare, ANNOTATION.slice(0, -1), undefined) as JsonObject) : bare;
}

const idOf = ({ remediation, field }: Note): string => `${remediation} ${field}`;

/** The field manager that wrote a field last; of one that is gone, as nobody records that, who wrote the object last. */
export function writerAt(metadata: Metadata, path: Path, found: Json | undefined): ManagedFields | undefined {
  const entries = [...(metadata.managedFields ?? [])].sort((a, b) => (b.time ?? '').localeCompare(a.time ?? ''));
  const owner = entries.find(({ fieldsV1 }) => owns(fieldsV1, path));
  if (owner || found !== undefined) return owner;
  return entries.find(({ manager }) => manager !== MANAGER);
}

/** What is owned as a whole has no keys of its own below. */
function owns(fields: FieldSet | undefined, path: Path): boolean {
  let at = fields;
  for (const key of path) {
    if (!at) return false;
    const next: FieldSet | undefined = at[`f:${key}`];
    if (!next) return Object.keys(at).length === 0 && at !== fields;
    at = next;
  }
  return at !== undefined;
}

/** A change of a field of the object. */
export const changeOf = (
  at: { step: string; key: string; uid: string; answered?: string | undefined; auditId?: string | undefined },
  change: { what: string; field: string; before: FieldValue; after: FieldValue },
): Change => ({
  ...{ step: at.step, what: change.what, object: { key: at.key, uid: at.uid } },
  ...{ field: change.field, before: change.before, after: change.after },
  at: new Date(at.answered ?? Date.now()).toISOString(),
  ...(at.auditId && { requestId: at.auditId }),
});
