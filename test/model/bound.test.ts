import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allowance, formatBound } from '../../model/bound.ts';

describe('how much a bound allows', () => {
  it('rounds shares down, but never below 1 where there are 2 or more', () => {
    const quarter = (total: number): number => allowance({ percent: 25 }, total);
    expect([0, 1, 2, 3, 4, 7, 8, 100].map(quarter)).toEqual([0, 0, 1, 1, 1, 1, 2, 25]);
  });

  it('lets a single one be touched by an explicit number only', () => {
    expect(allowance({ percent: 99 }, 1)).toBe(0);
    expect(allowance({ percent: 100 }, 1)).toBe(1);
    expect(allowance({ count: 1 }, 1)).toBe(1);
  });

  it('takes 0 at its word only as a number', () => {
    expect(allowance({ count: 0 }, 10)).toBe(0);
    expect(allowance({ percent: 0 }, 10)).toBe(1);
  });

  it('never allows more than all by a share, nor less for more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.nat(10_000), (percent, total) => {
        const allowed = allowance({ percent }, total);
        expect(allowed).toBeLessThanOrEqual(total);
        expect(allowance({ percent }, total + 1)).toBeGreaterThanOrEqual(allowed);
      }),
    );
  });
});

it('is written as in the configuration', () => {
  expect([formatBound({ percent: 25 }), formatBound({ count: 2 })]).toEqual(['25%', '2']);
});
