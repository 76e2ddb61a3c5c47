import { equal, isObject, type Json, type JsonObject } from '../breaker/patch.ts';

/**
 * Fields as `metadata.managedFields` of Kubernetes names them: one level for each step, and what has no level below is owned as a
 * whole (a value, or a list or map that has no merge key).
 */
export interface FieldSet {
  [step: string]: FieldSet;
}

/** A step to a field: a key of a map, the item of a list that has these keys, or a value in a set. */
export type Step = { name: string } | { key: JsonObject } | { value: Json };
export type FieldPath = readonly Step[];

/** Undefined for `.`, which stands for the map or item itself, and for what this code does not know. */
function stepOf(text: string): Step | undefined {
  const rest = text.slice(2);
  if (text.startsWith('f:')) return { name: rest };
  if (!text.startsWith('k:') && !text.startsWith('v:')) return undefined;
  try {
    const json = JSON.parse(rest) as Json;
    if (text.startsWith('v:')) return { value: json };
    return isObject(json) ? { key: json } : undefined;
  } catch {
    return undefined; // of a later version of the API, perhaps: it is not compared
  }
}

const sameStep = (a: Step, b: Step): boolean => equal(a as JsonObject, b as JsonObject);

const isWhole = (set: FieldSet): boolean => Object.keys(set).every((text) => text === '.');

/** All fields of a set that are owned as a whole, in the order of the set. */
export function leavesOf(set: FieldSet, path: FieldPath = []): FieldPath[] {
  return Object.entries(set).flatMap(([text, below]) => {
    const step = stepOf(text);
    if (!step) return [];
    const here = [...path, step];
    return isWhole(below) ? [here] : leavesOf(below, here);
  });
}

/** Whether the set has the field: as a whole, within one that is owned as a whole, or a part of it. */
export function hasField(set: FieldSet, path: FieldPath): boolean {
  let at = set;
  for (const [depth, step] of path.entries()) {
    const found = Object.entries(at).find(([text]) => {
      const own = stepOf(text);
      return own !== undefined && sameStep(own, step);
    });
    if (!found) return depth > 0 && Object.keys(at).length === 0;
    at = found[1];
  }
  return true;
}

/** The value of a field; undefined where there is none. */
export function fieldAt(object: Json | undefined, path: FieldPath): Json | undefined {
  let at = object;
  for (const step of path) {
    const index = indexOf(at, step);
    if (index === undefined) return undefined;
    at = Array.isArray(at) ? at[index as number] : (at as JsonObject)[index];
  }
  return at;
}

/** The same object with this value there, or without it; what is missing on the way is made. */
export function withField(object: Json | undefined, path: FieldPath, value: Json | undefined): Json | undefined {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  const index = indexOf(object, step);
  if ('name' in step) {
    const own = isObject(object) ? object : {};
    const inner = withField(index === undefined ? undefined : own[step.name], rest, value);
    const others = Object.entries(own).filter(([name]) => name !== step.name);
    if (inner !== undefined && index !== undefined)
      return Object.fromEntries(Object.entries(own).map(([name, one]) => [name, name === step.name ? inner : one]));
    return Object.fromEntries(inner === undefined ? others : [...others, [step.name, inner]]);
  }
  const list = Array.isArray(object) ? object : [];
  const fresh = 'key' in step ? step.key : step.value;
  if (index === undefined) {
    const made = rest.length === 0 ? value : withField(fresh, rest, value);
    return made === undefined || value === undefined ? list : [...list, made];
  }
  const inner = withField(list[index as number], rest, value);
  return inner === undefined ? list.toSpliced(index as number, 1) : list.with(index as number, inner);
}

/** Where a step leads in this value: a key, or the place in a list; undefined where it leads to nothing. */
function indexOf(value: Json | undefined, step: Step): string | number | undefined {
  if ('name' in step) return isObject(value) && Object.hasOwn(value, step.name) ? step.name : undefined;
  if (!Array.isArray(value)) return undefined;
  const index = value.findIndex((item) => ('key' in step ? hasKeys(item, step.key) : equal(item, step.value)));
  return index < 0 ? undefined : index;
}

const hasKeys = (item: Json, key: JsonObject): boolean =>
  isObject(item) && Object.entries(key).every(([name, value]) => equal(item[name], value));

/** `spec.template.spec.containers[app].image`, `metadata.labels[app.kubernetes.io/name]` */
export function formatField(path: FieldPath): string {
  return segmentsOf(path).reduce((text, segment, i) => text + formatSegment(segment, 'name' in (path[i] ?? {}), i), '');
}

/** One more step, of a value that is shown in parts. */
export const formatSegment = (segment: string, isName: boolean, depth: number): string =>
  isName && /^[A-Za-z_][-\w]*$/.test(segment) ? `${depth === 0 ? '' : '.'}${segment}` : `[${segment}]`;

/** The path as texts: of an item its name, or its keys. */
export function segmentsOf(path: FieldPath): string[] {
  return path.map((step) => {
    if ('name' in step) return step.name;
    if ('value' in step) return textOf(step.value);
    const { name } = step.key;
    return typeof name === 'string' ? name : Object.values(step.key).map(textOf).join('/');
  });
}

const textOf = (value: Json): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** The segments of a field as a note names it: a JSON pointer, or `metadata.labels[salvor.dev/traffic]`. */
export function notedSegments(field: string): string[] {
  if (field.startsWith('/'))
    return field
      .slice(1)
      .split('/')
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  return [...field.matchAll(/\[([^\]]*)\]|[^.[\]]+/g)].map(([all, inner]) => inner ?? all);
}

/** Whether a noted field is this one, a part of it, or has it as a part. An item of a list may be noted by its place. */
export function overlaps(path: FieldPath, noted: readonly string[]): boolean {
  const own = segmentsOf(path);
  return noted
    .slice(0, own.length)
    .every((segment, i) => segment === own[i] || (/^\d+$/.test(segment) && !('name' in (path[i] ?? {}))));
}
