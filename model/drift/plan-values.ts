import { canonicalJson } from '../digest.ts';
import { isObject, type PlanJson } from './plan-json.ts';

/** One place at which two values of a resource differ. */
export interface ValueDiff {
  /** Names and indices from the resource on. */
  path: (string | number)[];
  /** undefined: absent, or null. */
  from: unknown;
  to: unknown;
  /** What it becomes the provider tells after the apply only. */
  unknown?: true;
  sensitive?: true;
}

/** What a plan says of two values beside themselves; each of them `true` for all below it, or of the same form as the value. */
export interface Marks {
  unknown?: unknown;
  fromSensitive?: unknown;
  toSensitive?: unknown;
}

/** Everything in which two values differ, in an order that does not depend on that of their keys. */
export function diffValues(from: unknown, to: unknown, marks: Marks, path: ValueDiff['path'] = []): ValueDiff[] {
  const { unknown, fromSensitive, toSensitive } = marks;
  if (unknown === true) return [leaf(path, from, undefined, { ...marks, unknown })];
  if (fromSensitive !== true && toSensitive !== true) {
    const keys = keysOf(from, to, unknown);
    if (keys)
      return keys.flatMap((key) => {
        const below = {
          unknown: at(unknown, key),
          fromSensitive: at(fromSensitive, key),
          toSensitive: at(toSensitive, key),
        };
        return diffValues(at(from, key), at(to, key), below, [...path, key]);
      });
  }
  return isSame(from, to) ? [] : [leaf(path, from, to, marks)];
}

function leaf(path: ValueDiff['path'], from: unknown, to: unknown, marks: Marks): ValueDiff {
  const isSecret = hasTrue(marks.fromSensitive) || hasTrue(marks.toSensitive);
  return {
    ...{ path, from: from ?? undefined, to: to ?? undefined },
    ...(marks.unknown === true && { unknown: true }),
    ...(isSecret && { sensitive: true }),
  };
}

/** By which to go deeper; undefined where the two are to be compared as a whole. What is absent is like what is empty. */
function keysOf(from: unknown, to: unknown, unknown: unknown): (string | number)[] | undefined {
  const all = [from, to].filter((one) => one !== undefined && one !== null);
  const some = [...all, ...(isObject(unknown) || Array.isArray(unknown) ? [unknown] : [])];
  const filled = some.filter((one) => sizeOf(one) > 0);
  // Nothing is not the same as an empty list: there is nothing to go into.
  if (filled.length === 0) return undefined;
  if (some.every(isObject)) return [...new Set(some.flatMap(Object.keys))].sort();
  if (some.every((one) => Array.isArray(one))) return [...Array(Math.max(...some.map((one) => one.length))).keys()];
  return undefined;
}

const sizeOf = (value: unknown): number =>
  Array.isArray(value) ? value.length : isObject(value) ? Object.keys(value).length : 0;

const at = (value: unknown, key: string | number): unknown =>
  // One mark for all below.
  value === true ? true : Array.isArray(value) ? value[key as number] : isObject(value) ? value[key] : undefined;

/** Whether a mark is on the value, or on anything in it. */
export const hasTrue = (mark: unknown): boolean =>
  mark === true || (Array.isArray(mark) ? mark.some(hasTrue) : isObject(mark) && Object.values(mark).some(hasTrue));

export const isSame = (a: unknown, b: unknown): boolean => canonicalJson(a ?? null) === canonicalJson(b ?? null);

/** `spec.ingress[0].port`; a name that is no word stands in brackets. */
export const pathText = (path: ValueDiff['path']): string =>
  path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    if (!/^[\w-]+$/.test(key)) return `${text}[${JSON.stringify(key)}]`;
    return text === '' ? key : `${text}.${key}`;
  }, '');

/** A short value may be a part of any word. */
const LEAST_SECRET = 4;

/** Everything in a plan that is marked as a secret, as text. */
export function secretsIn({ resource_drift: drift, resource_changes: changes }: PlanJson): string[] {
  const found = new Set<string>();
  for (const { change } of [...drift, ...changes]) {
    for (const [value, mark] of [
      [change.before, change.before_sensitive],
      [change.after, change.after_sensitive],
    ]) {
      for (const { to, sensitive } of diffValues(undefined, value, { toSensitive: mark })) {
        if (sensitive && typeof to === 'string' && to.length >= LEAST_SECRET) found.add(to);
      }
    }
  }
  return [...found];
}
