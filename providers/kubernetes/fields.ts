import type { FieldValue, Held } from '../../model/change.ts';
import { HELD_ANNOTATION } from '../../model/names.ts';
import { FinalError } from '../errors.ts';
import { conditionOf } from './health.ts';
import type { FieldSet, Instance, Metadata, OwnerReference } from './objects.ts';

/** A field that Salvor may hold: of a pod a label, or a condition of its status; of a node `spec.unschedulable`. */
export interface Field {
  in: 'labels' | 'conditions' | 'spec';
  name: string;
}

export const CORDON: Field = { in: 'spec', name: 'unschedulable' };

const PREFIX = { labels: 'metadata.labels', conditions: 'status.conditions' } as const;

/** `metadata.labels[salvor.dev/traffic]`, `spec.unschedulable` */
export const fieldPath = (field: Field): string =>
  field.in === 'spec' ? `spec.${field.name}` : `${PREFIX[field.in]}[${field.name}]`;

/** @throws FinalError `Invalid` for a path that {@link fieldPath} does not write. */
export function parseField(path: string): Field {
  const field = fieldOf(path);
  if (!field) throw new FinalError(`"${path}" is not a field that Salvor holds`, { type: 'Invalid' });
  return field;
}

/** Undefined for a path that {@link fieldPath} does not write: another runbook's note may name one. */
function fieldOf(path: string): Field | undefined {
  if (path === fieldPath(CORDON)) return CORDON;
  for (const place of ['labels', 'conditions'] as const) {
    const prefix = `${PREFIX[place]}[`;
    if (path.startsWith(prefix) && path.endsWith(']')) return { in: place, name: path.slice(prefix.length, -1) };
  }
  return undefined;
}

/** "label salvor.dev/traffic" */
export const nameOf = (field: Field): string =>
  ({ labels: `label ${field.name}`, conditions: `readiness gate ${field.name}`, spec: fieldPath(CORDON) })[field.in];

/** "label salvor.dev/traffic: on → off" */
export const describeChange = (field: Field, from: FieldValue, to: FieldValue): string =>
  `${nameOf(field)}: ${shown(from)} → ${shown(to)}`;

export const shown = (value: FieldValue): string => (value === null ? '(none)' : String(value));

export function readField(pod: Instance, field: Field): FieldValue {
  if (field.in === 'labels') return pod.metadata.labels?.[field.name] ?? null;
  // The API has no `false` here: it leaves the field out.
  if (field.in === 'spec') return pod.spec?.unschedulable ?? null;
  return conditionOf(pod, field.name)?.status ?? null;
}

/** The field of the note itself. */
export const HELD_FIELD = `metadata.annotations[${HELD_ANNOTATION}]`;

/** What is held, as the annotation has it. */
export interface Note extends Held {
  /** Of a quarantine: the controller that the pod was taken from, for it names none any more. */
  controller?: OwnerReference;
}

/**
 * What is held on an object, as its annotation says.
 *
 * @returns undefined where the annotation cannot be read: then nobody knows what is held.
 */
export function holdsOn(metadata: Metadata): Note[] | undefined {
  const text = metadata.annotations?.[HELD_ANNOTATION];
  if (text === undefined) return [];
  try {
    const entries: unknown = JSON.parse(text);
    if (Array.isArray(entries) && entries.every(isHeld)) return entries;
  } catch {
    // Not JSON; answered below like any other text that Salvor did not write.
  }
  return undefined;
}

const isHeld = (entry: unknown): entry is Note =>
  typeof entry === 'object' &&
  entry !== null &&
  ['field', 'remediation', 'until', 'set', 'before'].every((key) => key in entry);

/** The annotation for these holds; null, which removes it, for none. */
export const annotationOf = (holds: Note[]): string | null => (holds.length > 0 ? JSON.stringify(holds) : null);

/** Who else holds something on the object, for a message; undefined where nobody does now. */
export function heldByAnother(metadata: Metadata, remediation: string): string | undefined {
  const holds = holdsOn(metadata);
  if (!holds) return `its annotation ${HELD_ANNOTATION} cannot be read, so nobody knows what is held on it`;
  const other = holds.find((held) => held.remediation !== remediation && Date.parse(held.until) > Date.now());
  return other && `${other.field} is held by remediation ${other.remediation} (${other.runbook}) until ${other.until}`;
}

/**
 * What another remediation still keeps out of traffic although its time has run out, for a message; undefined where
 * there is nothing of the kind. Nobody gives it back by itself.
 */
export function leftOut(pod: Instance, remediation: string): string | undefined {
  for (const held of holdsOn(pod.metadata) ?? []) {
    if (held.remediation === remediation || Date.parse(held.until) > Date.now()) continue;
    const field = fieldOf(held.field);
    if (!field || readField(pod, field) !== held.set) continue;
    return `but it is still out of traffic by remediation ${held.remediation}, whose hold ran out at ${held.until}: its ${nameOf(field)} is ${held.set} and was ${held.before}. A person must give it back, and remove the annotation ${HELD_ANNOTATION}`;
  }
  return undefined;
}

export interface Writer {
  manager: string;
  /** To the second. */
  time?: string;
}

/** The field manager that wrote a field last, and when; `fieldsV1` has one key per step of the path. */
export const writerOf = (metadata: Metadata, field: Field): Writer | undefined =>
  lastWriter(
    metadata,
    {
      labels: ['f:metadata', 'f:labels', `f:${field.name}`],
      conditions: ['f:status', 'f:conditions', `k:${JSON.stringify({ type: field.name })}`, 'f:status'],
      spec: ['f:spec', `f:${field.name}`],
    }[field.in],
  );

/** The same of the note; undefined where there is none. */
export const noteWriterOf = (metadata: Metadata): Writer | undefined =>
  lastWriter(metadata, ['f:metadata', 'f:annotations', `f:${HELD_ANNOTATION}`]);

/** The same of any field; `path` has one step of `fieldsV1` per step: `['f:spec', 'f:replicas']`. */
export function lastWriter(metadata: Metadata, path: readonly string[]): Writer | undefined {
  const owns = (fields: FieldSet | undefined) => path.reduce((node, step) => node?.[step], fields) !== undefined;
  const [writer] = (metadata.managedFields ?? [])
    .filter((entry) => owns(entry.fieldsV1))
    .sort((a, b) => (b.time ?? '').localeCompare(a.time ?? ''));
  return writer?.manager === undefined ? undefined : { manager: writer.manager, time: writer.time };
}
