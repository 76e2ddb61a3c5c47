import { expect, it } from 'vitest';
import type { WaitingMemo } from '../../model/standing.ts';
import { isStale } from '../../workflows/waiting.ts';

const of = (count: number, seconds = 0): WaitingMemo => ({
  count,
  oldest: new Date(Date.parse('2026-01-01T00:00:00Z') + seconds * 1_000).toISOString(),
});

it.each<[string, WaitingMemo | undefined, WaitingMemo | undefined, boolean]>([
  ['the first waits', undefined, of(1), true],
  ['none waits any more', of(1), undefined, true],
  ['none waits, as before', undefined, undefined, false],
  ['as many wait', of(10), of(10), false],
  ['nearly twice as many', of(10), of(19), false],
  ['twice as many', of(10), of(20), true],
  ['half as many', of(10), of(5), true],
  ['the oldest is another one of the same minute', of(10), of(9, 60), false],
  ['the oldest is a younger one', of(10), of(9, 61), true],
])('is told, or not, where %s', (_, told, now, stale) => {
  expect(isStale(told, now)).toBe(stale);
});
