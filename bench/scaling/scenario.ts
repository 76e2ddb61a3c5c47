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

/** Items a second, for each second from 0 to the last line: between two lines on a straight line. */
export function parseTrace(text: string, file: string): number[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  const points = lines.slice(1).map((line) => line.split(',').map(Number));
  const arrivals: number[] = [];
  points.forEach(([from = Number.NaN, rate = Number.NaN], i) => {
    const [to, next] = points[i + 1] ?? [from, rate];
    if (
      lines[0] !== 't,arrivals' ||
      !(rate >= 0) ||
      (i === 0 && from !== 0) ||
      (i + 1 < points.length && !((to ?? 0) > from))
    )
      throw new Error(`${file}: line ${i + 2}: expected "t,arrivals" in seconds that rise from 0 and items a second`);
    for (let t = from; t < (to ?? from); t++)
      arrivals.push(rate + (((next ?? rate) - rate) * (t - from)) / ((to ?? from) - from));
  });
  return arrivals;
}
