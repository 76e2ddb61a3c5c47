import { describe, expect, test } from 'vitest';
import { type Interval, intervalBetween, learnRate, NO_RATES, serviceRate } from '../../../model/scaling/rate.ts';
import type { Sample } from '../../../model/scaling/types.ts';

const a: Sample = { at: 0, backlog: 100, arrivalsTotal: 1000, servedTotal: 900, ready: 4 };
const later = (change: Partial<Sample>): Sample => ({ ...a, at: 10_000, ...change });
const without = (sample: Sample, ...names: (keyof Sample)[]): Sample =>
  Object.fromEntries(Object.entries(sample).filter(([name]) => !names.includes(name as keyof Sample))) as never;

describe('what happened between two samples', () => {
  test('by counters', () => {
    const b = later({ backlog: 200, arrivalsTotal: 1500, servedTotal: 1300 });
    expect(intervalBetween(a, b, undefined)).toEqual({
      ...{ from: 0, to: 10_000, arrivals: 50, perReplica: 10, saturated: true },
    });
  });

  test('a counter that was reset takes its interval with it, whatever the others say', () => {
    expect(intervalBetween(a, later({ arrivalsTotal: 20, servedTotal: 1300 }), 10)).toBeUndefined();
    expect(intervalBetween(a, later({ arrivalsTotal: 1500, servedTotal: 20 }), 10)).toBeUndefined();
  });

  test('arrivals by what was served and by the backlog; what was served by arrivals and the backlog', () => {
    const b = later({ backlog: 200, arrivalsTotal: 1500, servedTotal: 1300 });
    const by = (...names: (keyof Sample)[]) => intervalBetween(without(a, ...names), without(b, ...names), undefined);
    expect(by('arrivalsTotal')).toMatchObject({ arrivals: 50, perReplica: 10 });
    expect(by('servedTotal')).toMatchObject({ arrivals: 50, perReplica: 10 });
    expect(by('servedTotal', 'arrivalsTotal')).toBeUndefined();
  });

  test('by the backlog alone, if the replicas were busy and their rate is known', () => {
    const only = (sample: Sample) => without(sample, 'arrivalsTotal', 'servedTotal');
    expect(intervalBetween(only(a), only(later({ backlog: 200 })), 10)).toMatchObject({
      arrivals: 50,
      saturated: true,
    });
    expect(intervalBetween(only(a), only(later({ backlog: 0 })), 10)).toBeUndefined();
  });

  test('a rate that was read', () => {
    const read = (sample: Sample) => ({ ...without(sample, 'arrivalsTotal', 'servedTotal'), arrivalRate: 50 });
    expect(intervalBetween(read(a), read(later({ backlog: 200 })), undefined)).toMatchObject({
      ...{ arrivals: 50, perReplica: 10 },
    });
  });

  test('saturated only if more waited at both ends than there are replicas, and not over a gap', () => {
    const saturated = (from: Partial<Sample>, to: Partial<Sample>) =>
      intervalBetween({ ...a, ...from }, later({ arrivalsTotal: 1500, servedTotal: 1300, ...to }), 10)?.saturated;
    expect(saturated({ backlog: 5 }, { backlog: 5 })).toBe(true);
    expect(saturated({ backlog: 4 }, { backlog: 5 })).toBe(false);
    expect(saturated({ backlog: 5 }, { backlog: 0 })).toBe(false);
    expect(saturated({ ready: 0 }, {})).toBe(false);
    expect(saturated({}, { at: 100_000 })).toBe(false);
  });

  test('no rate of a replica while their number changes much, and nothing back in time', () => {
    const b = later({ arrivalsTotal: 1500, servedTotal: 1300, ready: 8 });
    expect(intervalBetween(a, b, undefined)).not.toHaveProperty('perReplica');
    expect(intervalBetween(b, a, undefined)).toBeUndefined();
  });
});

describe('what a replica serves', () => {
  const interval = (to: number, perReplica: number, saturated = true): Interval => ({
    ...{ from: to - 15_000, to, perReplica, saturated },
  });
  const known = (...intervals: Interval[]) => intervals.reduce(learnRate, NO_RATES);

  test('as given, until it was measured; then as measured, by the median of three', () => {
    expect(serviceRate(NO_RATES, undefined, 0)).toBeUndefined();
    expect(serviceRate(NO_RATES, 10, 0)).toEqual({ perReplica: 10, basis: 'given' });
    const rates = known(interval(15_000, 6), interval(30_000, 1), interval(45_000, 6));
    expect(serviceRate(rates, 10, 45_000)).toEqual({ perReplica: 6, basis: 'measured' });
  });

  test('what was measured long ago does not hide that it has fallen', () => {
    const rates = known(interval(15_000, 10), interval(30_000, 10), interval(600_000, 5));
    expect(serviceRate(rates, 10, 600_000)).toEqual({ perReplica: 5, basis: 'measured' });
  });

  test('with nothing waiting, a bound only', () => {
    expect(serviceRate(known(interval(15_000, 7, false)), 10, 15_000)).toEqual({ perReplica: 10, basis: 'given' });
    expect(serviceRate(known(interval(15_000, 12, false)), 10, 15_000)).toEqual({ perReplica: 12, basis: 'measured' });
    expect(serviceRate(known(interval(15_000, 7, false)), undefined, 15_000)?.perReplica).toBe(7);
    const better = known(interval(15_000, 5), interval(30_000, 8, false));
    expect(serviceRate(better, 10, 30_000)?.perReplica).toBe(8);
  });

  test('a low rate that nothing has confirmed for long comes back to the usual one, slowly', () => {
    const rates = known(interval(15_000, 5));
    const passed = (minutes: number) => serviceRate(rates, 10, 15_000 + minutes * 60_000)?.perReplica;
    expect([0, 30, 45, 60, 600].map(passed)).toEqual([5, 5, 7.5, 10, 10]);
    expect(serviceRate(rates, 4, 6_000_000)?.perReplica).toBe(5);
  });
});
