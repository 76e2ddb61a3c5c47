import type { Backtest } from '../backtest/backtest.ts';
import type { Difference, Way } from '../backtest/compare.ts';
import { formatDuration } from '../model/duration.ts';
import { paint, table } from './output.ts';
import { printable } from './report/text.ts';
import { dateAndTime, localized, zone } from './times.ts';

/** The result of a backtest, for people. */
export function describe(result: Backtest): string[] {
  const { compared, differences, totals, first, last } = result;
  const period = first && last ? `asked for from ${dateAndTime(first)} to ${dateAndTime(last)} (${zone()})` : '';
  const unknown = ['', paint('dim', `Not known: ${unknownOf(result).join('; ')}.`)];
  if (differences.length === 0)
    return [`${paint('green', 'no decision would differ')}: ${compared} compared, ${period}`, ...unknown];
  const sums = [
    ['RULE', 'CHANGE', 'DECISIONS'],
    ...totals.map(({ rule, change, count }) => [rule, change, String(count)]),
  ];
  return [
    ...groups(differences),
    '',
    ...table(sums, (text, _, row) => (row === 0 ? paint('bold', text) : text)),
    '',
    `${paint('bold', `${differences.length} of ${compared} decisions would differ`)}, ${period}`,
    ...(differences.some(({ assumed }) => assumed) ? [paint('dim', ASSUMED)] : []),
    ...unknown,
  ];
}

const ASSUMED =
  '* rests on a remediation that nobody has seen: assumed to end remediated, after the median time of its rule';

/** One table, so that the columns of all groups are aligned; before each group its rule and kind. */
function groups(differences: readonly Difference[]): string[] {
  const head = [`TIME (${zone()})`, 'ALERT', 'TARGET', 'BEFORE', '', 'AFTER', 'WHY'];
  const rows = differences.map(({ at, alertname, target, before, after, why, assumed }) => [
    dateAndTime(at),
    printable(alertname),
    target,
    wordsOf(before, after),
    '→',
    `${wordsOf(after, before)}${assumed ? ' *' : ''}`,
    localized(printable(why)),
  ]);
  const [title = '', ...lines] = table([head, ...rows], (text, column, row) =>
    row === 0 ? paint('bold', text) : column === 0 ? paint('dim', text) : text,
  );
  const grouped = differences.flatMap(({ rule, change }, i) => {
    const previous = differences[i - 1];
    const line = lines[i] ?? '';
    return previous?.rule === rule && previous.change === change
      ? [line]
      : ['', paint('bold', `${rule}: ${change}`), line];
  });
  return [title, ...grouped];
}

/** A way in words; rule, target and scope only where the other way has another. */
function wordsOf(way: Way, other: Way): string {
  const differs = (key: 'rule' | 'target' | 'scope'): boolean =>
    way[key] !== undefined && other[key] !== undefined && way[key] !== other[key];
  return [
    ...(differs('rule') ? [`${way.rule}:`] : []),
    decisionOf(way),
    ...(differs('target') ? [`on ${way.target}`] : []),
    ...(differs('scope') ? [`in ${printable(way.scope ?? '')}`] : []),
  ].join(' ');
}

function decisionOf({ decision, mode, waited, gate }: Way): string {
  const after = waited ? ` after ${formatDuration(waited * 1000)}` : '';
  const by = gate ? ` (${gate})` : '';
  switch (decision) {
    case 'unmatched':
      return 'no rule';
    case 'aimless':
      return 'no target';
    case 'coalesced':
      return 'nothing new';
    case 'admitted':
      return `${DOES[mode ?? 'observe']}${after ? `${after}${by}` : ' at once'}`;
    case 'refused':
    case 'dropped':
      return `${decision}${after}${by}`;
  }
}

const DOES = { observe: 'observes', propose: 'proposes', act: 'acts' } as const;

/** What could not be known, each as a part of one sentence. */
export function unknownOf({ unknown }: Pick<Backtest, 'unknown'>): string[] {
  const { unreproduced, withoutLabels, leftOut, ofTheMoment, lost, changedOptions, changedGates } = unknown;
  return [
    'alerts that no rule had taken, and repeats that said nothing new, are not on record',
    ...(unreproduced > 0
      ? [`${unreproduced} decisions on record are not what the simulation of the recorded rules comes to`]
      : []),
    ...(withoutLabels > 0
      ? [`${withoutLabels} alerts keep their rule, for not all of their labels are on record`]
      : []),
    ...(leftOut > 0 ? [`${leftOut} alerts are left out, for the settings of their rule are not on record`] : []),
    ...(ofTheMoment > 0
      ? [
          `${ofTheMoment} alerts are left out, for what decided about them is in no configuration (a pause, what was excluded, held or unhealthy then, what the limits had left)`,
        ]
      : []),
    ...(lost > 0 ? [`${lost} notes never reached the audit store`] : []),
    ...(changedOptions.length > 0
      ? [`how remediations of ${changedOptions.join(', ')} would go with other options (with:)`]
      : []),
    ...(changedGates.length > 0
      ? [`what other settings of ${changedGates.join(', ')} would decide, for what was unhealthy then is not on record`]
      : []),
  ];
}
