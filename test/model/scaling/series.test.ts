import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { increase, measured, median, theilSen, withoutSpikes } from '../../../model/scaling/series.ts';

const line = (ys: number[]) => theilSen(ys.map((y, x) => ({ x, y })))!;

test('nothing that is missing, NaN, infinite or negative is a measured value', () => {
  expect([undefined, Number.NaN, Number.POSITIVE_INFINITY, -1].map(measured)).toEqual(Array(4).fill(undefined));
  expect([0, 2.5].map(measured)).toEqual([0, 2.5]);
});

test('a counter that was reset tells nothing of its interval', () => {
  expect(increase(10, 25)).toBe(15);
  expect(increase(10, 10)).toBe(0);
  expect(increase(10, 4)).toBeUndefined();
  expect(increase(undefined, 4)).toBeUndefined();
  expect(increase(4, Number.NaN)).toBeUndefined();
});

test('the median of few and of none', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1])).toBe(2.5);
  expect(median([])).toBeUndefined();
});

describe('spikes', () => {
  test('a single one goes, up or down; the last value and steps stay', () => {
    expect(withoutSpikes([5, 90, 6, 5, 0, 6, 80])).toEqual([5, 6, 6, 5, 5, 6, 80]);
    expect(withoutSpikes([5, 5, 50, 50, 50])).toEqual([5, 5, 50, 50, 50]);
    expect(withoutSpikes([1, 2, 3])).toEqual([1, 2, 3]);
    expect(withoutSpikes([])).toEqual([]);
  });
});

describe('the slope of Theil and Sen', () => {
  test('of a straight line: exact, with no noise', () => {
    expect(line([10, 12, 14, 16, 18])).toEqual({ slope: 2, level: 18, low: 2, high: 2, noise: 0 });
  });

  test('one wrong point of seven hardly moves it', () => {
    expect(line([10, 12, 14, 900, 18, 20, 22]).slope).toBeCloseTo(2, 0);
  });

  test('three points are never sure, nor is what goes up and down', () => {
    expect(line([1, 2, 3]).low).toBe(Number.NEGATIVE_INFINITY);
    expect(line([10, 14, 9, 13, 10, 12, 9]).low).toBeLessThan(0);
    expect(line([10, 14, 9, 13, 10, 12, 9]).high).toBeGreaterThan(0);
  });

  test('fewer than two times have no slope', () => {
    expect(theilSen([])).toBeUndefined();
    expect(theilSen([{ x: 1, y: 2 }])).toBeUndefined();
    const same = [
      { x: 1, y: 2 },
      { x: 1, y: 3 },
    ];
    expect(theilSen(same)).toBeUndefined();
  });

  test('it lies within its interval, and moves with scale and shift', () => {
    const values = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 4, maxLength: 20 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 99 }), (ys, scale, shift) => {
        const plain = line(ys);
        expect(plain.low).toBeLessThanOrEqual(plain.slope);
        expect(plain.high).toBeGreaterThanOrEqual(plain.slope);
        const moved = line(ys.map((y) => y * scale + shift));
        expect(moved.slope).toBeCloseTo(plain.slope * scale, 6);
        expect(moved.level).toBeCloseTo(plain.level * scale + shift, 6);
      }),
    );
  });
});
