import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** What goes wrong, in seconds of the simulation; README.md tells the format of the files. */
export type Fault =
  /** No sample can be read in this time. */
  | { kind: 'missing-metrics'; from: number; to: number }
  /** The counters start again at 0. */
  | { kind: 'counter-reset'; at: number }
  /** Each replica serves this share of its rate. */
  | { kind: 'service-rate'; from: number; to: number; factor: number }
  /** Of the items that come while the wait is longer than `patience`, this share comes once more, `patience` later. */
  | { kind: 'retries'; patience: number; share: number };

export interface Scenario {
  name: string;
  /** Items that come in each second. */
  arrivals: readonly number[];
  faults: readonly Fault[];
}

/** What is the same in all scenarios. */
export const WORLD = { ratePerReplica: 10, min: 2, max: 200, objective: 10, dataAge: 15, period: 15 } as const;

/** All scenarios of a folder: one for each file of traces/, and one for each of faults/, which names the trace it is about. */
export function readScenarios(folder: string): Scenario[] {
  const files = (part: string, ending: string): string[] =>
    readdirSync(join(folder, part))
      .filter((file) => file.endsWith(ending))
      .sort();
  const traces = new Map(
    files('traces', '.csv').map((file) => [
      basename(file, '.csv'),
      parseTrace(readFileSync(join(folder, 'traces', file), 'utf8'), file),
    ]),
  );
  const plain = [...traces].map(([name, arrivals]) => ({ name, arrivals, faults: [] }));
  const faulty = files('faults', '.json').map((file) => {
    const { trace, faults } = JSON.parse(readFileSync(join(folder, 'faults', file), 'utf8')) as FaultFile;
    const arrivals = traces.get(trace);
    if (!arrivals) throw new Error(`${file}: there is no trace ${trace}`);
    return { name: basename(file, '.json'), arrivals, faults };
  });
  return [...plain, ...faulty];
}

interface FaultFile {
  trace: string;
  faults: Fault[];
}

/** Items a second, for each second from 0 to before the last line: between two lines on a straight line. */
export function parseTrace(text: string, file: string): number[] {
  const [head, ...lines] = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  if (head !== 't,arrivals' || lines.length < 2)
    throw new Error(`${file}: expected the line "t,arrivals" and two more`);
  const points = lines.map((line, i) => {
    const [t = Number.NaN, rate = Number.NaN] = line.split(',').map(Number);
    const before = i === 0 ? -1 : Number(lines[i - 1]?.split(',')[0]);
    if (Number.isInteger(t) && t > before && (i > 0 || t === 0) && rate >= 0) return { t, rate };
    throw new Error(`${file}: "${line}": expected whole seconds that rise from 0, and how many items come in a second`);
  });
  return points.slice(1).flatMap((to, i) => {
    const from = points[i] ?? to;
    const each = (to.rate - from.rate) / (to.t - from.t);
    return Array.from({ length: to.t - from.t }, (_, second) => from.rate + each * second);
  });
}
