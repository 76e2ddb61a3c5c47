import { DateTime, type IANAZone } from 'luxon';
import { InputError, shown } from './input-error.ts';
import { parseZone } from './zone.ts';

/** When something may be done. Not for workflows, whose isolate has no time zones. */
export interface Window {
  /** Days on which it begins: 1 is Monday, 7 is Sunday. */
  days: ReadonlySet<number>;
  /** Minutes of the day; `end` is after the last one, and where it is not after `start`, on the next day. */
  start: number;
  end: number;
  zone: IANAZone;
}

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const TIMES = /^([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)$/;
const EXAMPLE = 'Mon-Fri 08:00-20:00 Europe/Berlin';
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** A window of one day a week may fall into an hour that does not exist in one week, never in two. */
const AHEAD_DAYS = 15;

/**
 * Reads a window: `[DAYS] HH:MM-HH:MM [ZONE]`, such as `Mon-Fri 08:00-20:00 Europe/Berlin`, `Sat,Sun 22:00-06:00 UTC` or
 * `00:00-24:00`. Days are those on which it begins, each by default; the zone is one of the IANA database, UTC by default.
 *
 * It is open whenever a clock on the wall in its zone shows a time in it: a time that exists twice is in it twice, one
 * that does not exist is in it never.
 *
 * @throws InputError
 */
export function parseWindow(text: string): Window {
  const words = text.trim().split(/\s+/);
  const at = words.findIndex((word) => /^\d/.test(word));
  const [times = '', zone = 'UTC', ...more] = words.slice(at);
  const match = TIMES.exec(times);
  if (at < 0 || at > 1 || !match || more.length > 0)
    throw new InputError(
      `${shown(text)} is not a window: write days (or none, for every day), times and a zone (or none, for UTC), such as ${EXAMPLE}`,
    );
  const [, startHour, startMinute, endHour = '24', endMinute = '0'] = match;
  const start = Number(startHour) * 60 + Number(startMinute);
  const end = Number(endHour) * 60 + Number(endMinute);
  if (start === end) throw new InputError(`${shown(text)}: a window of no length; for the whole day write 00:00-24:00`);
  return { days: at === 0 ? daysOf('Mon-Sun', text) : daysOf(words[0] ?? '', text), start, end, zone: parseZone(zone) };
}

function daysOf(word: string, text: string): Set<number> {
  const days = new Set<number>();
  for (const part of word.split(',')) {
    const [first = -1, last = first, ...more] = part.split('-').map((name) => DAYS.indexOf(name));
    if (first < 0 || last < 0 || more.length > 0)
      throw new InputError(
        `${shown(text)}: ${shown(part)} is not a day: write ${DAYS.join(', ')}, or from one to another, such as Mon-Fri`,
      );
    // The week goes on after Sunday: Sat-Mon is three days.
    for (let day = first; ; day = (day + 1) % DAYS.length) {
      days.add(day + 1);
      if (day === last) break;
    }
  }
  return days;
}

/**
 * Whether one of the windows is open; when none is, when the first one opens. Without windows it is always open.
 *
 * @param now milliseconds since the epoch
 * @throws InputError as {@link parseWindow} does
 */
export function windowAt(windows: readonly string[], now: number): { open: true } | { open: false; opensAt?: number } {
  const parsed = windows.map(parseWindow);
  if (parsed.length === 0 || parsed.some((window) => isOpen(window, now))) return { open: true };
  const openings = parsed.flatMap((window) => nextOpening(window, now) ?? []);
  return { open: false, ...(openings.length > 0 && { opensAt: Math.min(...openings) }) };
}

function isOpen({ days, start, end, zone }: Window, at: number): boolean {
  const { weekday, hour, minute } = DateTime.fromMillis(at, { zone });
  const time = hour * 60 + minute;
  if (start < end) return days.has(weekday) && start <= time && time < end;
  const before = weekday === 1 ? 7 : weekday - 1;
  return (days.has(weekday) && start <= time) || (days.has(before) && time < end);
}

/**
 * A closed window opens when its clock reaches its start, or when the clock is changed to a time in it. One that is open
 * at a candidate, and was closed at all those before, opens then.
 */
function nextOpening(window: Window, now: number): number | undefined {
  const { start, zone } = window;
  const time = { hour: Math.floor(start / 60), minute: start % 60, second: 0, millisecond: 0 };
  for (let day = 0; day < AHEAD_DAYS; day += 1) {
    const from = now + day * DAY_MS;
    const change = clockChange(zone, from, from + DAY_MS);
    const first = DateTime.fromMillis(from, { zone });
    // 24 hours from the last minutes of a day of 23 hours end on the day after the next.
    const starts = [0, 1, 2].flatMap((days) =>
      first
        .plus({ days })
        .set(time)
        .getPossibleOffsets()
        .map((one) => one.toMillis()),
    );
    const opening = [...starts, ...(change === undefined ? [] : [change])]
      .filter((at) => at > from && at <= from + DAY_MS)
      .sort((a, b) => a - b)
      .find((at) => isOpen(window, at));
    if (opening !== undefined) return opening;
  }
  return undefined;
}

/** When in (from, to] the clocks of a zone are changed; to the minute, at which they all are. */
function clockChange(zone: IANAZone, from: number, to: number): number | undefined {
  if (zone.offset(from) === zone.offset(to)) return undefined;
  let before = Math.floor(from / MINUTE_MS);
  let after = Math.ceil(to / MINUTE_MS);
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (zone.offset(middle * MINUTE_MS) === zone.offset(from)) before = middle;
    else after = middle;
  }
  return after * MINUTE_MS;
}
