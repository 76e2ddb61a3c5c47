import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DURATION_PATTERN, formatDuration, parseDuration } from '../../model/duration.ts';
import { InputError } from '../../model/input-error.ts';

it.each([
  ['0', 0],
  ['0s', 0],
  ['500ms', 500],
  ['30s', 30_000],
  ['5m', 300_000],
  ['1h30m', 5_400_000],
  ['1d', 86_400_000],
  ['2w', 1_209_600_000],
  ['1w2d3h4m5s6ms', 788_645_006],
  ['90m', 5_400_000],
])('reads %s', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

it.each([
  '',
  '5',
  'm',
  '5 m',
  ' 5m',
  '5m\n',
  '-5m',
  '1.5h',
  '30m1h',
  '1m1m',
  '5min',
  '5M',
  '1y',
  'PT5M',
  '1h30',
  `${'9'.repeat(20)}w`,
])('refuses %j', (text) => {
  expect(() => parseDuration(text)).toThrow(InputError);
});

it.each([
  [0, '0s'],
  [1, '1ms'],
  [90_000, '1m30s'],
  [1_209_600_000, '14d'],
  [5_400_001, '1h30m1ms'],
])('writes %d', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

it('reads every duration that it writes', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
      expect(formatDuration(ms)).toMatch(new RegExp(DURATION_PATTERN));
    }),
  );
});
