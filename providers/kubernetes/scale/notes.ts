import { HELD_ANNOTATION } from '../../../model/names.ts';
import { holdsOn, type Note } from '../fields.ts';
import type { Metadata } from '../objects.ts';
import { readSize, type Sized } from './objects.ts';

/**
 * What is held on this very object; undefined where the annotation cannot be read. Kubernetes copies the annotations of a
 * Deployment to its ReplicaSets, and KEDA those of a ScaledObject to its autoscaler: a note that names another object is a copy.
 */
export function notesOn(metadata: Metadata): Note[] | undefined {
  return holdsOn(metadata)?.filter(({ object }) => object === undefined || object.uid === metadata.uid);
}

/** Who else holds a size by this object, for a message; undefined where nobody does now. */
export function heldByOther(metadata: Metadata, remediation: string): string | undefined {
  const notes = notesOn(metadata);
  if (!notes) return `its annotation ${HELD_ANNOTATION} cannot be read, so nobody knows what is held on it`;
  const other = notes.find((note) => note.remediation !== remediation && Date.parse(note.until) > Date.now());
  return other && `${other.field} is held by remediation ${other.remediation} (${other.runbook}) until ${other.until}`;
}

/** What another remediation has set and left so although its time has run out, for a message. Nobody gives it back by itself. */
export function leftSet(object: Sized, remediation: string): string | undefined {
  const left = notesOn(object.metadata)?.find(
    (note) =>
      note.remediation !== remediation &&
      Date.parse(note.until) <= Date.now() &&
      readSize(object, note.field) === note.set,
  );
  return (
    left &&
    `its ${left.field} is still ${left.set}, as remediation ${left.remediation} set it, whose hold ran out at ${left.until}; it was ${left.before} before (salvor release ${left.remediation} gives it back)`
  );
}

/** What a remediation's own note says that it has set. */
export function ownNoted({ metadata }: Sized, field: string, remediation: string): number | undefined {
  const own = notesOn(metadata)?.find((note) => note.remediation === remediation && note.field === field);
  return typeof own?.set === 'number' ? own.set : undefined;
}
