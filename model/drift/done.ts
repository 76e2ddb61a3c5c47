import type { Change } from '../change.ts';
import type { Difference } from './difference.ts';

/**
 * Of what was to be reverted, what was written, whatever became of the rest. Where no change tells which it is about, it may be
 * any of them.
 */
export function written(reviewed: readonly Difference[], changes: readonly Pick<Change, 'object'>[]): Difference[] {
  if (changes.length === 0) return [];
  const objects = new Set(changes.flatMap(({ object }) => [object.key, object.uid]));
  const found = reviewed.filter(({ address }) => objects.has(address));
  return found.length > 0 ? found : [...reviewed];
}

/** What was done by now, each address once. */
export function withMore(done: readonly Difference[], more: readonly Difference[]): Difference[] {
  const addresses = new Set(more.map(({ address }) => address));
  return [...done.filter(({ address }) => !addresses.has(address)), ...more];
}
