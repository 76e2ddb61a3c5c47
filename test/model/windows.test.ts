import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InputError } from '../../model/input-error.ts';
import { parseWindow, windowAt } from '../../model/windows.ts';

const ms = (iso: string): number => Date.parse(iso);
const opensAt = (window: string | string[], at: string): string | undefined => {
  const found = windowAt([window].flat(), ms(at));
  if (found.open) return 'open';
  return found.opensAt === undefined ? undefined : new Date(found.opensAt).toISOString().replace(':00.000Z', 'Z');
};

describe('reading', () => {
  test('days, times and zone; every day and UTC by default', () => {
    expect(parseWindow('Mon-Fri 08:00-20:00 Europe/Berlin')).toMatchObject({
      days: new Set([1, 2, 3, 4, 5]),
      ...{ start: 480, end: 1200, zone: { name: 'Europe/Berlin' } },
    });
    expect(parseWindow(' 00:00-24:00 ')).toMatchObject({
      days: new Set([1, 2, 3, 4, 5, 6, 7]),
      ...{ start: 0, end: 1440, zone: { name: 'UTC' } },
    });
    expect(parseWindow('Sat-Mon,Wed 22:00-06:00').days).toEqual(new Set([6, 7, 1, 3]));
    expect(parseWindow('Tue 22:00-00:00 UTC')).toMatchObject({ start: 1320, end: 0 });
  });

  test.each([
    ['', /write days .* such as Mon-Fri 08:00-20:00 Europe\/Berlin/],
    ['Mon-Fri', /is not a window/],
    ['08:00', /is not a window/],
    ['8:00-20:00', /is not a window/],
    ['08:00-25:00', /is not a window/],
    ['24:00-08:00', /is not a window/],
    ['08:00-20:00 Europe/Berlin x', /is not a window/],
    ['Mon - Fri 08:00-20:00', /is not a window/],
    ['08:00-08:00', /no length; for the whole day write 00:00-24:00/],
    ['Mo-Fr 08:00-20:00', /"Mo-Fr" is not a day: write Mon, Tue/],
    ['Mon-Tue-Wed 08:00-20:00', /is not a day/],
    ['Mon, 08:00-20:00', /"" is not a day/],
    ['08:00-20:00 Europe/Berln', /"Europe\/Berln" is not a time zone \(did you mean Europe\/Berlin\?\)/],
    ['08:00-20:00 local', /is not a time zone/],
  ])('%j is refused, with what would be right', (text, words) => {
    expect(() => parseWindow(text)).toThrow(InputError);
    expect(() => parseWindow(text)).toThrow(words);
    expect(() => windowAt([text], 0)).toThrow(InputError);
  });
});

describe('open or not', () => {
  test('without windows: always', () => {
    expect(windowAt([], 0)).toEqual({ open: true });
  });

  test('from the first minute to the last, and over the weekend', () => {
    const office = 'Mon-Fri 08:00-20:00 Europe/Berlin';
    expect(opensAt(office, '2025-01-06T06:59:59Z')).toBe('2025-01-06T07:00Z'); // a Monday, in winter
    expect(opensAt(office, '2025-01-06T07:00:00Z')).toBe('open');
    expect(opensAt(office, '2025-01-06T18:59:59.999Z')).toBe('open');
    expect(opensAt(office, '2025-01-06T19:00:00Z')).toBe('2025-01-07T07:00Z');
    expect(opensAt(office, '2025-01-10T19:00:00Z')).toBe('2025-01-13T07:00Z');
    expect(opensAt(office, '2025-07-12T12:00:00Z')).toBe('2025-07-14T06:00Z'); // in summer
  });

  test('across midnight it belongs to the day on which it begins', () => {
    const night = 'Sat,Sun 22:00-06:00 UTC';
    expect(opensAt(night, '2025-01-04T05:00:00Z')).toBe('2025-01-04T22:00Z'); // Saturday morning: Friday's
    expect(opensAt(night, '2025-01-05T05:59:00Z')).toBe('open');
    expect(opensAt(night, '2025-01-05T06:00:00Z')).toBe('2025-01-05T22:00Z');
    expect(opensAt(night, '2025-01-06T05:59:00Z')).toBe('open'); // Monday morning: Sunday's
    expect(opensAt(night, '2025-01-06T23:00:00Z')).toBe('2025-01-11T22:00Z');
  });

  test('of several the one that opens first', () => {
    const both = ['Fri 10:00-11:00', 'Wed 10:00-11:00 America/New_York'];
    expect(opensAt(both, '2025-01-06T00:00:00Z')).toBe('2025-01-08T15:00Z');
    expect(opensAt(both, '2025-01-08T16:00:00Z')).toBe('2025-01-10T10:00Z');
    expect(opensAt(both, '2025-01-10T10:30:00Z')).toBe('open');
  });
});

describe('when the clocks change', () => {
  test('a time that does not exist: it opens with the first that does, or a week later', () => {
    expect(opensAt('Sun 02:30-04:00 Europe/Berlin', '2025-03-30T00:59:00Z')).toBe('2025-03-30T01:00Z');
    expect(opensAt('Sun 02:10-02:50 Europe/Berlin', '2025-03-30T00:59:00Z')).toBe('2025-04-06T00:10Z');
    expect(opensAt('Sun 02:15-03:00 Australia/Lord_Howe', '2025-10-04T15:29:00Z')).toBe('2025-10-04T15:30Z');
    expect(opensAt('Fri 00:00-00:30 Africa/Cairo', '2025-04-24T21:30:00Z')).toBe('2025-05-01T21:00Z');
  });

  test('a time that exists twice is in it twice', () => {
    const short = 'Sun 02:30-02:45 Europe/Berlin';
    expect(opensAt(short, '2025-10-26T00:00:00Z')).toBe('2025-10-26T00:30Z');
    expect(opensAt(short, '2025-10-26T00:44:00Z')).toBe('open');
    expect(opensAt(short, '2025-10-26T00:45:00Z')).toBe('2025-10-26T01:30Z');
    expect(opensAt(short, '2025-10-26T01:44:00Z')).toBe('open');
    expect(opensAt('Sun 01:00-01:30 America/New_York', '2025-11-02T05:30:00Z')).toBe('2025-11-02T06:00Z');
  });

  test('a night is open as a whole, an hour shorter or longer', () => {
    const night = 'Sat 22:00-06:00 Europe/Berlin';
    for (const [from, to] of [
      ['2025-03-29T21:00Z', '2025-03-30T04:00Z'],
      ['2025-10-25T20:00Z', '2025-10-26T05:00Z'],
    ] as const) {
      for (let at = ms(from); at < ms(to); at += 60_000) expect(windowAt([night], at)).toEqual({ open: true });
      expect(windowAt([night], ms(from) - 1)).toEqual({ open: false, opensAt: ms(from) });
      expect(windowAt([night], ms(to)).open).toBe(false);
    }
  });
});

/** What the clocks on the wall show, minute by minute: the minute of the week, Monday 00:00 being 0. */
function readings(zone: string, from: number, minutes: number): Uint16Array {
  const format = new Intl.DateTimeFormat('en-GB', {
    ...{ timeZone: zone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  });
  return Uint16Array.from({ length: minutes }, (_, i) => {
    const [, day = '', hour, minute] = /(\w{3}).*(\d\d):(\d\d)/.exec(format.format(from + i * 60_000)) ?? [];
    return DAYS.indexOf(day) * 1440 + Number(hour) * 60 + Number(minute);
  });
}

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const WEEK = 7 * 1440;
/** Minutes from the beginning of an era to the day on which its clocks change, in UTC. */
const CHANGE = 3 * 1440;
/** Days on which clocks change, and one on which none does; each with three weeks around it. */
const ERAS = (
  [
    ['Europe/Berlin', '2025-03-30'],
    ['Europe/Berlin', '2025-10-26'],
    ['America/New_York', '2025-03-09'],
    ['America/New_York', '2025-11-02'],
    ['Australia/Lord_Howe', '2025-04-06'],
    ['Australia/Lord_Howe', '2025-10-05'],
    ['Africa/Cairo', '2025-04-25'],
    ['Africa/Cairo', '2025-10-31'],
    ['UTC', '2025-06-01'],
  ] as const
).map(([zone, day]) => {
  const from = ms(`${day}T00:00Z`) - CHANGE * 60_000;
  return { zone, from, shown: readings(zone, from, 3 * WEEK) };
});

const two = (n: number): string => String(n).padStart(2, '0');
const clock = (minutes: number): string => `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;

/** Times near those at which clocks change are drawn as often as all others. */
const minuteOfDay = fc.oneof(fc.integer({ min: 0, max: 239 }), fc.integer({ min: 0, max: 1439 }));
const windows = fc
  .record({
    days: fc.uniqueArray(fc.integer({ min: 0, max: 6 }), { minLength: 1 }),
    start: minuteOfDay,
    end: fc.oneof(minuteOfDay, fc.constant(1440)),
  })
  .filter(({ start, end }) => start !== end);

test('what the clock on the wall shows, minute by minute, decides', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...ERAS),
      fc.array(windows, { minLength: 1, maxLength: 2 }),
      fc.oneof(fc.integer({ min: 0, max: WEEK - 1 }), fc.integer({ min: CHANGE - 300, max: CHANGE + 300 })),
      fc.integer({ min: 0, max: 59_999 }),
      ({ zone, from, shown }, wanted, minute, within) => {
        const open = new Set(
          wanted.flatMap(({ days, start, end }) =>
            days.flatMap((day) => {
              const length = end > start ? end - start : end + 1440 - start;
              return Array.from({ length }, (_, i) => (day * 1440 + start + i) % WEEK);
            }),
          ),
        );
        const texts = wanted.map(
          ({ days, start, end }) => `${days.map((day) => DAYS[day]).join(',')} ${clock(start)}-${clock(end)} ${zone}`,
        );
        const next = shown.findIndex((reading, i) => i >= minute && open.has(reading));
        expect(windowAt(texts, from + minute * 60_000 + within), texts.join('; ')).toEqual(
          next === minute ? { open: true } : { open: false, opensAt: from + next * 60_000 },
        );
      },
    ),
    { numRuns: 1_000 },
  );
});
