import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CourseOptions, courseOf, untold } from '../../../model/drift/course.ts';
import { countsOf, type Difference, isDrift } from '../../../model/drift/difference.ts';
import {
  alertsOver,
  type DriftMemory,
  keyOf,
  reverted,
  sightingOf,
  sightings,
  UNFIT,
} from '../../../model/drift/memory.ts';
import { described, named } from '../../../model/drift/words.ts';
import type { Remembered } from '../../../model/remediation.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const T0 = Date.parse('2026-01-01T00:00:00Z');
const per = HOUR;

const one = (address: string, more: Partial<Difference> = {}): Difference => ({
  ...{ address, kind: 'NetworkPolicy', class: 'reversible', why: 'changed', action: 'update', fields: [] },
  digest: 'd1',
  ...more,
});

/** As a run keeps it. */
const merged = (memory: DriftMemory, news: Record<string, Remembered | null>): DriftMemory =>
  Object.fromEntries(Object.entries({ ...memory, ...news }).flatMap(([key, kept]) => (kept ? [[key, kept]] : [])));
const seen = (memory: DriftMemory, differences: Difference[], now: number): DriftMemory =>
  merged(memory, sightings(memory, differences, { now, per }));

/** People are told of the address by the run `r`. */
const tell = (memory: DriftMemory, address: string, told: number): DriftMemory => {
  const known = sightingOf(memory, address);
  return { ...memory, [keyOf(address)]: { until: told + DAY, value: { reverts: [], ...known, told, alert: 'r' } } };
};

const options = (memory: DriftMemory, now: number, more: Partial<CourseOptions> = {}): CourseOptions => ({
  ...{ memory, now, minAge: 5 * MINUTE, urgent: [], retries: { max: 3, per } },
  ...more,
});

describe('drift', () => {
  it('is young until it has looked the same for minAge', () => {
    const drift = [one('a')];
    const memory = seen({}, drift, T0);
    expect(courseOf(drift, options(memory, T0))).toMatchObject({
      reversible: [],
      young: drift,
      oldAt: T0 + 5 * MINUTE,
    });
    const later = seen(memory, drift, T0 + 5 * MINUTE);
    expect(courseOf(drift, options(later, T0 + 5 * MINUTE))).toMatchObject({ reversible: drift, young: [] });
    const changed = [one('a', { digest: 'd2' })];
    const again = seen(memory, changed, T0 + 4 * MINUTE);
    expect(courseOf(changed, options(again, T0 + 5 * MINUTE)).young).toEqual(changed);
    expect(sightingOf(again, 'a')).toMatchObject({ since: T0, unchanged: T0 + 4 * MINUTE });
  });

  it('of an urgent kind is never young', () => {
    const memory = seen({}, [one('a')], T0);
    expect(courseOf([one('a')], options(memory, T0, { urgent: ['NetworkPolicy'] })).reversible).toEqual([one('a')]);
  });

  it('that was reverted as often as it may be is contested, until a person had the time for it, and then once more', () => {
    let memory: DriftMemory = {};
    for (const at of [T0, T0 + MINUTE, T0 + 2 * MINUTE]) {
      memory = seen(memory, [one('a')], at);
      expect(courseOf([one('a')], options(memory, at, { minAge: 0 })).contested).toEqual([]);
      memory = merged(memory, reverted(memory, [one('a')], { now: at, per }));
    }
    const told = T0 + 3 * MINUTE;
    memory = seen(memory, [one('a')], told);
    expect(sightingOf(memory, 'a')).toMatchObject({ since: T0, unchanged: told });
    const now = options(memory, told, { minAge: 0 });
    expect(courseOf([one('a')], now)).toMatchObject({ reversible: [], contested: [one('a')] });
    expect(untold([one('a')], now)).toEqual([one('a')]);
    memory = tell(memory, 'a', told);
    const at = (time: number) => options(seen(memory, [one('a')], time), time, { minAge: 0 });
    expect(untold([one('a')], at(told + 1))).toEqual([]);
    expect(courseOf([one('a')], at(told + HOUR - 1)).contested).toEqual([one('a')]);
    expect(courseOf([one('a')], at(told + HOUR))).toMatchObject({ reversible: [one('a')], contested: [] });
    memory = merged(at(told + HOUR).memory, reverted(memory, [one('a')], { now: told + HOUR, per }));
    expect(courseOf([one('a')], at(told + HOUR + 1)).contested).toEqual([one('a')]);
    // Nobody has mended it: the alert of the fight goes on.
    expect(alertsOver(memory, seen(memory, [], told + HOUR))).toEqual([]);
  });

  it('that is gone is forgotten, but for its reverts until they were seen to last', () => {
    const memory = seen({}, [one('a'), one('b')], T0);
    const after = merged(memory, reverted(memory, [one('b')], { now: T0, per }));
    const gone = seen(after, [], T0 + MINUTE);
    expect(Object.keys(gone)).toEqual([keyOf('b')]);
    expect(sightingOf(gone, 'b')).toEqual({ since: T0, reverts: [T0], right: T0 + MINUTE });
    expect(sightingOf(seen(gone, [], T0 + HOUR), 'b')).toBeDefined();
    expect(seen(gone, [], T0 + HOUR + MINUTE)).toEqual({});
    // Whoever has not looked meanwhile does not know.
    expect(sightingOf(seen(gone, [one('b')], T0 + DAY), 'b')).toMatchObject({ since: T0, reverts: [T0] });
  });

  it('that could be compared again is told of again, should it not be', () => {
    const unfit = { [UNFIT]: { until: T0 + DAY, value: { why: 'empty', alert: 'r' } } };
    expect(seen(unfit, [], T0)).toEqual({});
    expect(alertsOver(unfit, seen(unfit, [], T0))).toEqual(['r']);
  });
});

describe('a controller that always sets it back', () => {
  /** A day of a stack, in which an address is changed again right after each revert. */
  function day({ every, minAge, cooldown, max }: { every: number; minAge: number; cooldown: number; max: number }) {
    let memory: DriftMemory = {};
    let [reverts, tells, cool] = [0, 0, 0];
    const drift = [one('a')];
    for (let now = T0; now < T0 + DAY; now += every) {
      if (now < cool) continue;
      memory = seen(memory, drift, now);
      let course = courseOf(drift, options(memory, now, { minAge, retries: { max, per } }));
      let at = now;
      if (course.young.length > 0) {
        at = course.oldAt;
        memory = seen(memory, drift, at);
        course = courseOf(drift, options(memory, at, { minAge, retries: { max, per } }));
      }
      if (course.reversible.length > 0) {
        reverts += 1;
        memory = seen(merged(memory, reverted(memory, drift, { now: at, per })), [], at);
        cool = at + cooldown;
      }
      if (untold(course.contested, { memory }).length > 0) {
        if (sightingOf(memory, 'a')?.alert === undefined) tells += 1;
        memory = tell(memory, 'a', at);
      }
    }
    return { reverts, tells };
  }

  it.each([
    { every: 5, minAge: 5, cooldown: 10, max: 3 },
    { every: 5, minAge: 15, cooldown: 10, max: 3 },
    { every: 30, minAge: 5, cooldown: 10, max: 3 },
    { every: 20, minAge: 0, cooldown: 10, max: 3 },
    { every: 5, minAge: 10, cooldown: 15, max: 3 },
    { every: 5, minAge: 5, cooldown: 10, max: 5 },
    { every: 90, minAge: 0, cooldown: 10, max: 3 },
  ])('is not fought, and told of once: %o (minutes)', ({ every, minAge, cooldown, max }) => {
    const inMs = { every: every * MINUTE, minAge: minAge * MINUTE, cooldown: cooldown * MINUTE };
    const { reverts, tells } = day({ ...inMs, max });
    expect(tells).toBe(1);
    // After that once in an hour at the most.
    expect(reverts).toBeLessThanOrEqual(max + 23);
    expect(reverts).toBeGreaterThan(max);
  });
});

describe('an alert about what somebody keeps changing', () => {
  it('is over when nothing of what it told of is drifted any more', () => {
    const value = { since: T0, digest: 'd1', unchanged: T0, reverts: [], told: T0, alert: 'r' };
    const memory = { [keyOf('a')]: { until: T0 + DAY, value }, [keyOf('b')]: { until: T0 + DAY, value } };
    const less = seen(memory, [one('a')], T0);
    expect(alertsOver(memory, less)).toEqual([]);
    expect(alertsOver(less, seen(less, [], T0))).toEqual(['r']);
  });
});

describe('a course', () => {
  const any = fc.array(
    fc.record({
      address: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      class: fc.constantFrom('ignored', 'mixed', 'extra', 'unapplied', 'reversible', 'destructive') as fc.Arbitrary<
        Difference['class']
      >,
      kind: fc.constantFrom('X', 'Y'),
      reverts: fc.array(fc.integer({ min: 0, max: 2 * HOUR }), { maxLength: 5 }),
      age: fc.integer({ min: 0, max: 10 * MINUTE }),
    }),
  );

  it('has everything that can be reverted in one place, and nothing else', () => {
    fc.assert(
      fc.property(any, (all) => {
        const differences = all.map(({ address, class: its, kind }, at) =>
          one(`${address}${at}`, { class: its, kind }),
        );
        const memory = Object.fromEntries(
          all.map(({ address, reverts, age }, at) => {
            const value = {
              since: T0 - age,
              unchanged: T0 - age,
              digest: 'd1',
              reverts: reverts.map((ago) => T0 - ago),
            };
            return [keyOf(`${address}${at}`), { until: T0 + DAY, value }];
          }),
        );
        const course = courseOf(differences, options(memory, T0, { urgent: ['Y'] }));
        const sorted = [...course.reversible, ...course.destructive, ...course.young, ...course.contested];
        expect(sorted.map(({ address }) => address).sort()).toEqual(
          differences
            .filter(({ class: its }) => its === 'reversible' || its === 'destructive')
            .map(({ address }) => address)
            .sort(),
        );
        for (const { class: its } of course.reversible) expect(its).toBe('reversible');
        for (const { kind } of course.young) expect(kind).toBe('X');
        expect(course.oldAt > T0).toBe(true);
      }),
    );
  });
});

describe('for people', () => {
  it('differences are named with who has made them', () => {
    const who = { by: 'kubectl-edit', at: '2026-01-01T00:00:00Z', told: 'managedFields' } as const;
    expect(named([one('a', { who }), one('b')])).toBe('a (changed by kubectl-edit at 2026-01-01T00:00:00Z), b');
    expect(named(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((address) => one(address)))).toMatch(/e and 2 more$/);
  });

  it('counts say what is drift and what is not', () => {
    expect(described(countsOf([]))).toBe('nothing differs');
    expect(described(countsOf([one('a', { class: 'unapplied' })]))).toContain('that is not drift');
    expect([one('a', { class: 'unapplied' }), one('a', { class: 'held' })].some(isDrift)).toBe(false);
  });
});
