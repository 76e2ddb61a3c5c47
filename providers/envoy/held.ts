import type { Held, ObjectRef } from '../../model/change.ts';

type Values = Record<string, string | null>;
type HeldField = Pick<Held, 'object' | 'field' | 'before' | 'set'>;

const fieldOf = (key: string, name?: string): string => `runtime[${key}]${name === undefined ? '' : ` of ${name}`}`;
const FIELD = /^runtime\[(.*?)\](?: of (.*))?$/s;

/**
 * One for each key, as most of the Envoys have it, and one for each Envoy that has it otherwise: a fleet of hundreds must not
 * become a history of thousands.
 */
export function heldOf(
  keys: readonly string[],
  object: ObjectRef,
  all: readonly { name: string; before: Values }[],
): HeldField[] {
  return keys.flatMap((key) => {
    const counts = new Map<string | null, number>();
    for (const { before } of all) counts.set(before[key] ?? null, (counts.get(before[key] ?? null) ?? 0) + 1);
    const [[most] = [null]] = [...counts].sort(([, a], [, b]) => b - a);
    const odd = all.filter(({ before }) => (before[key] ?? null) !== most);
    return [
      { object, field: fieldOf(key), before: most ?? null, set: '0' },
      ...odd.map(({ name, before }) => ({ object, field: fieldOf(key, name), before: before[key] ?? null, set: '0' })),
    ];
  });
}

/** What one Envoy had, as these say. */
export function beforeOf(held: readonly Pick<Held, 'field' | 'before'>[], name: string): Values {
  const read = held.flatMap(({ field, before }) => {
    const [, key, of] = FIELD.exec(field) ?? [];
    return key === undefined ? [] : [{ key, of, before: before === null ? null : String(before) }];
  });
  const mine = [...read.filter(({ of }) => of === undefined), ...read.filter(({ of }) => of === name)];
  return Object.fromEntries(mine.map(({ key, before }) => [key, before]));
}
