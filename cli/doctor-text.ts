import type { Finding, Severity } from '../model/doctor/findings.ts';
import type { Diagnosis } from '../model/doctor.ts';
import { paint, table } from './output.ts';
import { printable } from './report/text.ts';

const COLOUR = { problem: 'red', advice: 'yellow' } as const;

/** A diagnosis for people: each workload with what was found, and last, where a terminal shows it, the sum. */
export function describe({ workloads, findings }: Diagnosis): string[] {
  const sick = [...Map.groupBy(findings, ({ workload }) => workload)];
  const problems = findings.filter(({ severity }) => severity === 'problem').length;
  const looked = `${counted(workloads.length, 'workload')} looked at`;
  if (findings.length === 0) return [`${paint('green', 'nothing found')}: ${looked}`];
  const counts = [counted(problems, 'problem'), `${counted(findings.length - problems, 'piece')} of advice`];
  return [
    ...sick.flatMap(([workload, found]) => [paint('bold', printable(workload)), ...found.flatMap(describeOne)]),
    ...overview(sick),
    '',
    `${paint('bold', counts.join(' and '))}, in ${sick.length} of ${looked}`,
  ];
}

function describeOne({ id, severity, seen, why, mend }: Finding): string[] {
  return [
    `  ${paint(COLOUR[severity], severity.padEnd(7))}  ${paint('bold', id)}  ${printable(seen)}`,
    `           ${paint('dim', why)}`,
    ...mend
      .trimEnd()
      .split('\n')
      .map((line) => `           ${paint(line.startsWith('#') ? 'dim' : 'cyan', printable(line))}`),
    '',
  ];
}

function overview(sick: [string, Finding[]][]): string[] {
  const severities = new Map(sick.flatMap(([, found]) => found.map(({ id, severity }) => [id as string, severity])));
  const count = (found: Finding[], wanted: Severity): string =>
    String(found.filter(({ severity }) => severity === wanted).length);
  const rows = sick.map(([workload, found]) => [
    printable(workload),
    count(found, 'problem'),
    count(found, 'advice'),
    [...new Set(found.map(({ id }) => id))].join(' '),
  ]);
  const coloured = (id: string): string => paint(COLOUR[severities.get(id) ?? 'advice'], id);
  return table([['WORKLOAD', 'PROBLEMS', 'ADVICE', 'FINDINGS'], ...rows], (text, column, row) => {
    if (row === 0) return paint('bold', text);
    return column === 3 ? text.split(' ').map(coloured).join(' ') : text;
  });
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
