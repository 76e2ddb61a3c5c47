/** What JSON has. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** The way to a value, from the outside to the inside. */
export type Path = readonly string[];

/** One operation of a JSON Patch (RFC 6902). */
export type Operation = { op: 'add' | 'replace'; path: string; value: Json } | { op: 'remove'; path: string };

/** A path, with what was there and what is there now; undefined where there is nothing. */
export interface Touched {
  path: Path;
  before: Json | undefined;
  after: Json | undefined;
}

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A JSON pointer (RFC 6901). */
export const formatPointer = (path: Path): string =>
  path.map((key) => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

/** Undefined for a text that is no pointer. */
export function parsePointer(text: string): string[] | undefined {
  if (text === '') return [];
  if (!text.startsWith('/') || /~(?![01])/.test(text)) return undefined;
  return text
    .slice(1)
    .split('/')
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** The value at a pointer, also in arrays; undefined where there is none. */
export function valueAt(value: Json | undefined, path: Path): Json | undefined {
  let at = value;
  for (const key of path) {
    if (Array.isArray(at)) at = /^(0|[1-9]\d*)$/.test(key) ? at[Number(key)] : undefined;
    else at = isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return at;
}

/** The same object with this value there, or without it; objects on the way to it are made where they are missing. */
export function withValue(target: Json | undefined, path: Path, value: Json | undefined): Json {
  const [key, ...rest] = path;
  if (key === undefined) return value ?? {};
  const own = isObject(target) ? target : {};
  if (rest.length > 0) {
    if (value === undefined && !isObject(valueAt(own, [key]))) return own;
    return assigned(own, key, withValue(valueAt(own, [key]), rest, value));
  }
  return value === undefined ? without(own, key) : assigned(own, key, value);
}

/** Beside, so that a key `__proto__` is a key as any other. */
const assigned = (target: JsonObject, key: string, value: Json): JsonObject =>
  Object.fromEntries([...Object.entries(target).filter(([name]) => name !== key), [key, value]]);

const without = (target: JsonObject, key: string): JsonObject =>
  Object.fromEntries(Object.entries(target).filter(([name]) => name !== key));

export function equal(a: Json | undefined, b: Json | undefined): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, i) => equal(one, b[i]));
  if (isObject(a) && isObject(b)) {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]));
  }
  return a === b;
}

/** Whether what was asked for is there, with whatever was added to it; what is empty may as well be absent. */
export function covers(found: Json | undefined, asked: Json | undefined): boolean {
  if (Array.isArray(asked) && Array.isArray(found))
    return asked.length === found.length && asked.every((one, i) => covers(found[i], one));
  if (isObject(asked)) {
    const entries = Object.entries(asked);
    if (isObject(found)) return entries.every(([key, value]) => covers(valueAt(found, [key]), value));
    return found === undefined && entries.every(([, value]) => covers(undefined, value));
  }
  if (found === undefined && Array.isArray(asked)) return asked.length === 0;
  return equal(found, asked) || (found === undefined && !asked);
}

/** A JSON merge patch (RFC 7386), applied. */
export function merged(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  let result: JsonObject = isObject(target) ? target : {};
  for (const [key, value] of Object.entries(patch))
    result = value === null ? without(result, key) : assigned(result, key, merged(valueAt(result, [key]), value));
  return result;
}

/**
 * Exactly what a merge patch touches and changes: the values that it sets or removes, and an object that it makes as a
 * whole.
 *
 * @param made what came of it, which need not be what {@link merged} answers: an API adds its defaults
 */
export function touched(before: Json, patch: Json, made: Json): Touched[] {
  return paths(before, patch, []).flatMap((path) => {
    const [was, is] = [valueAt(before, path), valueAt(made, path)];
    return equal(was, is) ? [] : [{ path, before: was, after: is }];
  });
}

/** The paths of all values that a merge patch sets or removes. */
export const leavesOf = (patch: Json, path: Path = []): Path[] =>
  isObject(patch) && Object.keys(patch).length > 0
    ? Object.entries(patch).flatMap(([key, value]) => leavesOf(value, [...path, key]))
    : [path];

function paths(target: Json | undefined, patch: Json, path: Path): Path[] {
  if (!isObject(patch) || !isObject(target)) return [path];
  return Object.entries(patch).flatMap(([key, value]) => paths(valueAt(target, [key]), value, [...path, key]));
}

/**
 * Puts one touched value back. What somebody else has changed meanwhile stays; of an object that was made as a whole that is what
 * was added to it.
 */
export function putBack(target: Json, { path, before, after }: Touched): Json {
  const found = valueAt(target, path);
  if (equal(found, after)) return withValue(target, path, before);
  if (before !== undefined || !isObject(found) || !isObject(after)) return target;
  return withValue(target, path, less(found, after));
}

/** What is in the one and not, as it is there, in the other. */
function less(found: JsonObject, made: JsonObject): JsonObject | undefined {
  const left = Object.entries(found).flatMap(([key, value]): [string, Json][] => {
    const other = valueAt(made, [key]);
    if (equal(value, other)) return [];
    if (!isObject(value) || !isObject(other)) return [[key, value]];
    const rest = less(value, other);
    return rest === undefined ? [] : [[key, rest]];
  });
  return left.length > 0 ? Object.fromEntries(left) : undefined;
}

/** What makes the one out of the other, null values included, which a merge patch cannot set. */
export function difference(from: Json, to: Json, path: Path = []): Operation[] {
  if (equal(from, to)) return [];
  if (!isObject(from) || !isObject(to)) return [{ op: 'replace', path: formatPointer(path), value: to }];
  const gone = Object.keys(from).filter((key) => !Object.hasOwn(to, key));
  return [
    ...gone.map((key): Operation => ({ op: 'remove', path: formatPointer([...path, key]) })),
    ...Object.entries(to).flatMap(([key, value]): Operation[] => {
      const was = valueAt(from, [key]);
      if (was === undefined) return [{ op: 'add', path: formatPointer([...path, key]), value }];
      return difference(was, value, [...path, key]);
    }),
  ];
}

/** The same value with each text that is one of these, as a whole, in place of it. */
export function filled(value: Json, places: Readonly<Record<string, Json>>): Json {
  if (typeof value === 'string') return Object.hasOwn(places, value) ? (places[value] ?? null) : value;
  if (Array.isArray(value)) return value.map((one) => filled(one, places));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one, places)]));
}
