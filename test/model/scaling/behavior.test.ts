import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allowed, type Dated, type Direction, rememberLeast, rememberMost } from '../../../model/scaling/behavior.ts';

const direction = (policies: Direction['policies'], select: Direction['select'] = 'Max'): Direction => ({
  ...{ stabilization: 0, select, policies },
});
const pods = (value: number) => ({ type: 'Pods', value, period: 60_000 }) as const;
const percent = (value: number) => ({ type: 'Percent', value, period: 60_000 }) as const;

describe('policies', () => {
  test('none: as far as is asked for; Disabled: not at all', () => {
    expect(allowed(10, 'up', direction([]), [], 0)).toBe(Number.POSITIVE_INFINITY);
    expect(allowed(10, 'down', direction([]), [], 0)).toBe(0);
    expect(allowed(10, 'up', direction([pods(4)], 'Disabled'), [], 0)).toBe(10);
  });

  test('Max takes the one that allows most, Min the one that allows least, in both directions', () => {
    const both = [pods(4), percent(100)];
    expect(allowed(10, 'up', direction(both), [], 0)).toBe(20);
    expect(allowed(10, 'up', direction(both, 'Min'), [], 0)).toBe(14);
    expect(allowed(3, 'up', direction(both), [], 0)).toBe(7);
    expect(allowed(10, 'down', direction([pods(4), percent(10)]), [], 0)).toBe(6);
    expect(allowed(10, 'down', direction([pods(4), percent(10)], 'Min'), [], 0)).toBe(9);
  });

  test('what has changed within the period counts, what came before it does not', () => {
    const changes: Dated[] = [
      { at: 0, n: 50 },
      { at: 100_000, n: 3 },
    ];
    expect(allowed(13, 'up', direction([pods(4)]), changes, 120_000)).toBe(14);
    expect(allowed(15, 'up', direction([pods(4)]), [{ at: 100_000, n: 5 }], 120_000)).toBe(15);
    expect(allowed(7, 'down', direction([pods(4)]), [{ at: 100_000, n: -3 }], 120_000)).toBe(6);
  });

  test('a percentage of none allows one', () => {
    expect(allowed(0, 'up', direction([percent(100)]), [], 0)).toBeGreaterThan(0);
  });
});

describe('memory of a window', () => {
  const asked = fc.array(fc.record({ wait: fc.integer({ min: 1, max: 40 }), n: fc.integer({ min: 0, max: 50 }) }), {
    ...{ minLength: 1, maxLength: 300 },
  });

  test('it keeps the extreme of the window, whatever was asked for', () => {
    fc.assert(
      fc.property(asked, fc.integer({ min: 1, max: 600 }), (list, length) => {
        let [most, least, at]: [Dated[], Dated[], number] = [[], [], 0];
        const all: Dated[] = [];
        for (const { wait, n } of list) {
          at += wait;
          all.push({ at, n });
          most = rememberMost(most, { at, n }, length);
          least = rememberLeast(least, { at, n }, length);
          const inside = all.filter((one) => one.at > at - length).map((one) => one.n);
          expect(most[0]?.n).toBe(Math.max(...inside));
          expect(least[0]?.n).toBe(Math.min(...inside));
        }
      }),
    );
  });

  test('it is bounded, and rather keeps too long than too short', () => {
    let memory: Dated[] = [];
    for (let at = 0; at < 5000; at++) memory = rememberMost(memory, { at, n: 10_000 - at }, 1_000_000);
    expect(memory.length).toBeLessThanOrEqual(120);
    expect(memory[0]?.n).toBe(10_000);
  });
});
