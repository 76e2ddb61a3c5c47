import { z } from 'zod';
import { duration, parsed, section } from './config-fields.ts';
import { type Cron, parseCron } from './cron.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { InputError, shown } from './input-error.ts';

/** When a rule begins by itself, durations in milliseconds. One of `every` and `cron`. */
export interface Schedule {
  /** Counted from midnight of 1 January 1970, UTC: all schedules of 5m come at the same times. */
  every?: number;
  cron?: Cron;
  /** Each time is put off by a random part of that. */
  jitter: number;
  /** What becomes of a time at which the one before has not been handed over yet, for no worker runs. */
  overlap: (typeof OVERLAPS)[number];
  /** What was missed in an outage of Temporal is made up for, as long as it is not older. */
  catchUp: number;
}

export const OVERLAPS = ['skip', 'bufferOne'] as const;

const SECOND = 1_000;
const HOUR = 3_600_000;
/** Of Temporal. */
const LEAST_CATCH_UP = 10 * SECOND;

type When = Pick<Schedule, 'every' | 'cron'>;

/**
 * Reads `every 5m`, or the fields of cron, see {@link parseCron}.
 *
 * @throws InputError
 */
export function parseSchedule(text: string): When {
  const every = /^every\s+(.*)$/.exec(text.trim())?.[1];
  return every === undefined ? { cron: parseCron(text) } : { every: interval(every) };
}

function interval(text: string): number {
  const every = parseDuration(text);
  // Temporal's own grain.
  if (every < SECOND || every % SECOND !== 0)
    throw new InputError(`expected whole seconds, and at least 1s, got ${shown(text)}`);
  if (every > 365 * 24 * HOUR) throw new InputError(`${shown(text)} is longer than a year`);
  return every;
}

/**
 * One interval: of what was missed in an outage the last is made up for. With cron nobody can tell the interval.
 */
const catchUpOf = ({ every }: When): number =>
  every === undefined ? HOUR / 6 : Math.min(Math.max(every, LEAST_CATCH_UP), HOUR);

/** A tenth of the interval, which with cron is a minute at least. */
const jitterOf = ({ every = 60 * SECOND }: When): number => Math.min(Math.floor(every / 10), 30 * SECOND);

const withDefaults = (when: When, given: Partial<Schedule> = {}): Schedule => ({
  ...when,
  jitter: given.jitter ?? jitterOf(when),
  overlap: given.overlap ?? 'skip',
  catchUp: given.catchUp ?? catchUpOf(when),
});

const EXPECTED = 'a schedule such as every 5m, or 0 3 * * MON-FRI Europe/Berlin';

const words = parsed(EXPECTED, (text) => withDefaults(parseSchedule(text)));

const sections = section({
  every: parsed('a duration such as 5m', interval)
    .optional()
    .meta({ description: 'How often: whole seconds.', examples: ['5m', '1h'] }),
  cron: parsed('the five fields of cron', parseCron)
    .optional()
    .meta({
      description: 'Minute, hour, day of the month, month, day of the week, and a time zone (default: UTC).',
      examples: ['0 3 * * MON-FRI Europe/Berlin'],
    }),
  jitter: duration(
    'Each time is put off by a random part of that. Default: a tenth of the interval, at most 30s; of cron 6s.',
    { atMost: HOUR },
  ).optional(),
  overlap: z.enum(OVERLAPS).optional().meta({
    description:
      'What becomes of a time at which the one before is not handed over yet, for no worker runs: skip (default) drops it, bufferOne keeps one.',
  }),
  catchUp: duration(
    'What was missed in an outage of Temporal is made up for, as long as it is not older. Default: one interval, at least 10s and at most 1h; of cron 10m.',
    { atMost: 7 * 24 * HOUR },
  )
    .refine((ms) => ms >= LEAST_CATCH_UP, { message: 'expected at least 10s' })
    .optional(),
})
  .refine(({ every, cron }) => (every === undefined) !== (cron === undefined), {
    message: 'expected every or cron, and one of them only',
  })
  .refine(({ every, jitter }) => every === undefined || jitter === undefined || jitter <= every, {
    path: ['jitter'],
    message: 'expected no more than the interval itself',
  })
  .transform(({ every, cron, jitter, overlap, catchUp }): Schedule => {
    const when = { ...(every !== undefined && { every }), ...(cron && { cron }) };
    return withDefaults(when, {
      ...(jitter !== undefined && { jitter }),
      ...(overlap && { overlap }),
      ...(catchUp !== undefined && { catchUp }),
    });
  });

export const scheduleSchema = z.union([words, sections], { error: `expected ${EXPECTED}` }).meta({
  description:
    'When it begins by itself, without an alert: every DURATION, or five fields of cron with a time zone. Its target, and its scope, then hold no labels.',
  examples: ['every 5m', '0 3 * * MON-FRI Europe/Berlin'],
});

/** For people: `every 5m`, `0 3 * * * Europe/Berlin`. */
export const describeSchedule = ({ every, cron }: Schedule): string =>
  cron ? `${cron.expression} ${cron.zone}` : `every ${formatDuration(every ?? 0)}`;

/** Milliseconds between two of its times at most. With cron it is an upper bound: what is restricted says of what order it is. */
export function atMostEvery({ every, cron }: Schedule): number {
  if (!cron) return every ?? 0;
  const [, hour, day, month, weekday] = cron.expression.split(/\s+/).map((field) => field !== '*');
  if (month) return 366 * 24 * HOUR;
  if (day) return 62 * 24 * HOUR;
  if (weekday) return 7 * 24 * HOUR;
  return hour ? 24 * HOUR : HOUR;
}
