import type { Json, JsonObject, Path } from '../../../model/breaker/patch.ts';
import type { FieldValue } from '../../../model/change.ts';
import type { Position } from '../../../model/ports/switch.ts';
import { FinalError } from '../../errors.ts';

export type Kept = Exclude<Position, 'closed'>;

/** A field of an object, with what was there and what was set; undefined where there is nothing. */
export interface Slot {
  field: string;
  before: Json | undefined;
  set: Json | undefined;
}

/** What opens and closes one object of a cluster: which of its fields, and how they are read and written. */
export interface Form {
  apiVersion: string;
  kind: string;
  namespace: string;
  name: string;
  /** For people: `what it does`. */
  title: string;
  /** The object as it is to be, made of how it was. @throws FinalError `Invalid` where that cannot be */
  want(base: JsonObject, position: Kept): JsonObject;
  /** The fields in which what came of it differs from how it was. */
  slots(base: JsonObject, made: JsonObject, position: Kept): Slot[];
  read(object: JsonObject, field: string): Json | undefined;
  write(object: JsonObject, field: string, value: Json | undefined): JsonObject;
  /** Puts back what was there before, as far as nobody else has changed it. */
  putBack(object: JsonObject, slot: Slot): JsonObject;
  /** Whether it may be this form's: on one object several dependencies may have fields of their own. */
  owns(field: string): boolean;
  /** Where the API records who wrote it. */
  path(field: string): Path;
}

/** A value as it is held: its JSON as text; null where there is nothing. */
export const textOf = (value: Json | undefined): FieldValue => (value === undefined ? null : JSON.stringify(value));

/** @throws FinalError `Invalid` for a text that {@link textOf} does not write */
export function heldValue(text: FieldValue): Json | undefined {
  if (text === null) return undefined;
  try {
    return JSON.parse(String(text)) as Json;
  } catch (cause) {
    throw new FinalError(`"${String(text).slice(0, 60)}" is no JSON, so it is no value that Salvor held`, {
      type: 'Invalid',
      cause,
    });
  }
}

export const shownText = (text: FieldValue): string => {
  const value = String(text ?? '(none)');
  return value.length > 80 ? `${value.slice(0, 79).toWellFormed()}…` : value;
};
