import { type Command, InvalidArgumentError, Option } from 'commander';
import type { AuditFilter } from '../audit/store.ts';
import { parseDuration } from '../model/duration.ts';
import { InputError } from '../model/input-error.ts';
import { OUTCOMES } from '../model/outcome.ts';
import { RUNBOOKS } from '../model/rule.ts';

/** What a run may have come to, as lists show it; `terminated`: it ended without a word. */
export const SHOWN_OUTCOMES = [...OUTCOMES, 'terminated', 'running', 'waiting'] as const;

/** What people have ordered, as the audit lists it. */
const ORDERED = ['paused', 'resumed'];

/** The options of a command as commander gives them. */
export interface FilterOptions extends Omit<AuditFilter, 'from' | 'to'> {
  /** ISO times. */
  since?: string;
  until?: string;
}

/** Adds the options that choose records. */
export const withFilters = (command: Command): Command =>
  command
    .option(
      '--since <time>',
      'from then on: how long ago (30d, 2h), or a time (2026-01-31, 2026-01-31T17:00:00Z)',
      pointInTime,
    )
    .option('--until <time>', 'before then, written likewise', pointInTime)
    .option('--rule <name>', 'only of this rule')
    .addOption(new Option('--runbook <name>', 'only of this runbook').choices(RUNBOOKS))
    .option('--target <key>', 'only of this target')
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices([...SHOWN_OUTCOMES, ...ORDERED]))
    .option('--by <who>', 'only what this person asked for, or alertmanager')
    .option('--reason <text>', 'only with this text in the reason');

export const filterOf = ({ since, until, ...rest }: FilterOptions): AuditFilter => ({
  ...rest,
  ...(since !== undefined && { from: since }),
  ...(until !== undefined && { to: until }),
});

const DATE = /^\d{4}-\d\d-\d\d$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?$/;

/** Reads how long ago, or a time; one without a zone is meant in that of this machine. @returns ISO time */
export function pointInTime(text: string): string {
  const at = new Date(DATE.test(text) ? `${text}T00:00` : TIME.test(text) ? text : Date.now() - longAgo(text));
  if (!Number.isNaN(at.getTime())) return at.toISOString();
  throw new InvalidArgumentError('Write how long ago, such as 30d or 2h, or a time, such as 2026-01-31T17:00:00Z.');
}

/** @returns milliseconds; NaN where it is no duration */
function longAgo(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (error instanceof InputError) return Number.NaN;
    throw error;
  }
}

export function count(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('Give a number from 1 to 99999.');
  return Number(text);
}
