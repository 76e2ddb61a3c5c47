import { equal, isObject, type Json } from '../breaker/patch.ts';
import type { FieldValue } from '../change.ts';
import { type FieldDrift, MOST_VALUE, SENSITIVE } from './difference.ts';
import { type FieldPath, formatField, formatSegment } from './field-set.ts';

/** Levels below a field that is owned as a whole, which are shown in parts. */
const DEEPEST = 12;

/** A field that differs, for people: in as small parts as it differs in. */
export function shownField(
  path: FieldPath,
  live: Json | undefined,
  source: Json | undefined,
  sensitive: boolean,
): FieldDrift[] {
  const name = formatField(path);
  if (!sensitive) return partsOf(name, live, source, DEEPEST);
  const hidden = (value: Json | undefined) => (value === undefined ? null : SENSITIVE);
  return [{ path: name, live: hidden(live), source: hidden(source), sensitive: true }];
}

function partsOf(path: string, live: Json | undefined, source: Json | undefined, levels: number): FieldDrift[] {
  if (equal(live, source)) return [];
  if (levels > 0 && isObject(live) && isObject(source)) {
    const keys = [...new Set([...Object.keys(source), ...Object.keys(live)])];
    return keys.flatMap((key) => partsOf(`${path}${formatSegment(key, true, 1)}`, live[key], source[key], levels - 1));
  }
  if (levels > 0 && Array.isArray(live) && Array.isArray(source)) {
    const places = Array.from({ length: Math.max(live.length, source.length) }, (_, i) => i);
    return places.flatMap((i) => partsOf(`${path}[${i}]`, live[i], source[i], levels - 1));
  }
  return [{ path, live: shownValue(live), source: shownValue(source) }];
}

/** A value as one: its JSON where it has parts, and cut where it is long. */
export function shownValue(value: Json | undefined): FieldValue {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > MOST_VALUE ? `${text.slice(0, MOST_VALUE - 1).toWellFormed()}…` : text;
}
