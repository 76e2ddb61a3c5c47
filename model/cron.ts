import { InputError, shown } from './input-error.ts';
import { parseZone } from './zone.ts';

/** When something is done by the clock on the wall of a time zone. */
export interface Cron {
  /** Five fields, as Temporal takes them. */
  expression: string;
  /** Of the IANA database. */
  zone: string;
}

interface Field {
  what: string;
  min: number;
  max: number;
  /** Names of its values, from `min` on. */
  names?: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const FIELDS: readonly Field[] = [
  { what: 'minute', min: 0, max: 59 },
  { what: 'hour', min: 0, max: 23 },
  { what: 'day of the month', min: 1, max: 31 },
  { what: 'month', min: 1, max: 12, names: MONTHS },
  // Sunday is 0 and 7.
  { what: 'day of the week', min: 0, max: 7, names: DAYS },
];

const LONGEST_MONTHS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const EXAMPLE = '0 3 * * MON-FRI Europe/Berlin';

/**
 * Reads `[CRON_TZ=ZONE ]MINUTE HOUR DAY MONTH WEEKDAY[ ZONE]`: only what Temporal takes too, for it would say what is wrong when a
 * worker starts, and not when the configuration is checked. As with Temporal, a day must meet both of its fields.
 *
 * @throws InputError
 */
export function parseCron(text: string): Cron {
  const words = text.trim().split(/\s+/);
  const before = /^(?:CRON_)?TZ=(.*)$/.exec(words[0] ?? '')?.[1];
  if (before !== undefined) words.shift();
  const [after, ...more] = words.slice(FIELDS.length);
  if (words.length < FIELDS.length || more.length > 0 || (before !== undefined && after !== undefined)) {
    throw new InputError(
      `${shown(text)} is not a schedule: write every DURATION, or the five fields minute, hour, day of the month, month and day of the week, and a time zone (or none, for UTC), such as every 5m or ${EXAMPLE}`,
    );
  }
  const [, , days = new Set<number>(), months = new Set<number>()] = FIELDS.map((field, i) =>
    valuesOf(words[i] ?? '', field, text),
  );
  if (![...months].some((month) => [...days].some((day) => day <= (LONGEST_MONTHS[month - 1] ?? 0))))
    throw new InputError(`${shown(text)} never comes: none of its months has such a day`);
  const zone = before ?? after ?? 'UTC';
  parseZone(zone);
  return { expression: words.slice(0, FIELDS.length).join(' '), zone };
}

/** `*`, `5`, `1-5`, with a step of `/2`, and lists of them. */
function valuesOf(word: string, field: Field, text: string): Set<number> {
  const values = new Set<number>();
  for (const part of word.split(',')) {
    const [, range = '', step] = /^([^/]+)(?:\/(\d{1,4}))?$/.exec(part) ?? [];
    const [first, last, ...more] = range === '*' ? [field.min, field.max] : range.split('-').map(numberIn(field));
    // With a step and one value only it goes on to the end.
    const end = last ?? (step === undefined ? first : field.max);
    const by = Number(step ?? 1);
    if (first === undefined || end === undefined || Number.isNaN(first) || !(first <= end) || by < 1 || more.length > 0)
      throw new InputError(
        `${shown(text)}: ${shown(part)} is no ${field.what}: write *, a number from ${field.min} to ${field.max}${field.names ? `, or a name such as ${field.names[1]?.toUpperCase()}` : ''}, from one to another (${field.min}-${field.min + 1}), with a step (*/2), or several of them with commas`,
      );
    for (let value = first; value <= end; value += by) values.add(value);
  }
  return values;
}

const numberIn =
  ({ min, max, names = [] }: Field) =>
  (text: string): number => {
    const named = names.indexOf(text.toLowerCase());
    if (named >= 0) return named + min;
    const value = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
    return min <= value && value <= max ? value : Number.NaN;
  };
