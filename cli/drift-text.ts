import type { FieldValue } from '../model/change.ts';
import { countsOf, type Difference, DRIFT_CLASSES, type FieldDrift, isDrift } from '../model/drift/difference.ts';
import type { Comparison } from '../model/ports/desired-state.ts';
import { shownValue } from './audit-text.ts';
import { paint } from './output.ts';
import { printable } from './report/text.ts';
import { dateAndTime } from './times.ts';

export type Compared = Extract<Comparison, { verdict: 'same' | 'differs' }>;

/** What reverting does to it. */
const SIGNS = { create: '+', update: '~', replace: '±', delete: '-' } as const;
const COLOURS = { create: 'green', update: 'yellow', replace: 'red', delete: 'red' } as const;

/**
 * What differs, for people: drift with its fields, as they are and as the source has them; what is none on one dim line each.
 *
 * @param all the fields of what is no drift too
 */
export function describeDrift(stack: string, compared: Compared, all: boolean): string[] {
  const drift = compared.differences.filter(isDrift);
  const others = compared.differences.filter((one) => !isDrift(one));
  return [
    ...drift.flatMap((one) => [...describe(one), '']),
    ...others.flatMap((one) => (all ? [...describe(one), ''] : [paint('dim', inOneLine(one))])),
    ...(others.length > 0 && !all ? [''] : []),
    ...(compared.more ? [paint('dim', `… and ${compared.more} more`), ''] : []),
    summary(stack, compared),
  ];
}

/** `net differs from its source: 2 reversible, 1 unapplied (compared with 1a2b3c4d)` */
export function summary(stack: string, { differences, more, revision, why }: Compared): string {
  const counts = countsOf(differences);
  const said = DRIFT_CLASSES.toReversed().flatMap((one) => (counts[one] > 0 ? [`${counts[one]} ${one}`] : []));
  const found = [...said, ...(more ? [`${more} more`] : [])].join(', ');
  const against = revision === undefined ? '' : ` (compared with ${printable(revision)})`;
  if (differences.some(isDrift)) return `${paint('red', `${stack} has drifted`)}: ${found}${against}`;
  const none = paint('green', `${stack} has not drifted`);
  return found === '' ? `${none}: ${printable(why)}${against}` : `${none}: ${found}${against}`;
}

function describe(one: Difference): string[] {
  const { action, fields, more, who } = one;
  const head = paint(isDrift(one) ? COLOURS[action] : 'dim', `${SIGNS[action]} ${printable(one.address)}`);
  return [
    `${head} ${printable(one.kind)}`,
    `    ${paint('bold', one.class)}: ${printable(one.why)}`,
    ...fields.map((field) => `    ${fieldLine(field)}`),
    ...(more ? [paint('dim', `    … and ${more} more fields`)] : []),
    ...(who
      ? [`    changed by ${printable(who.by)}${who.at === undefined ? '' : ` at ${dateAndTime(who.at)}`} (${who.told})`]
      : []),
  ];
}

const fieldLine = ({ path, live, source, sensitive }: FieldDrift): string =>
  `${printable(path)}: ${paint('red', shownSide(live, sensitive))} → ${paint('green', shownSide(source, sensitive))}`;

/** What stands for a secret is no text of the object's. */
const shownSide = (value: FieldValue, sensitive: true | undefined): string =>
  printable(sensitive && typeof value === 'string' ? value : shownValue(value));

const inOneLine = ({ action, address, class: one, why }: Difference): string =>
  `${SIGNS[action]} ${printable(address)} ${one}: ${printable(why)}`;
