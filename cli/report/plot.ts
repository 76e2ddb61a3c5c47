import type { ScalePoint } from '../../model/ports/scalable.ts';

/** What the picture of a terminal and that of a page have in common: scales, gaps, numbers, words. */

const WORDS = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** `0`, `3.5`, `1.2K`, `3.4M`, `1.0e+21`; `?` where it is not known. */
export function short(value: number | null): string {
  if (!isKnown(value)) return '?';
  return Math.abs(value) >= 1e15 ? value.toExponential(1) : WORDS.format(value);
}

export type SeriesName = 'backlog' | 'forecast' | 'latency' | 'desired' | 'ready';

export interface Drawn {
  title: string;
  unit: string;
  /** What there is. */
  area: SeriesName;
  /** What is expected, or asked for. */
  line?: SeriesName;
  /** Whether the line holds its value up to the next look. */
  steps: boolean;
}

const REPLICAS: Drawn = { title: 'Replicas', unit: '', area: 'ready', line: 'desired', steps: true };

/** Signal and replicas; where no backlog is asked for, the latency is the signal. */
export function drawnOf(points: readonly ScalePoint[]): [Drawn, Drawn] {
  const isQueue = points.some(({ backlog, latency }) => backlog !== null || latency === null);
  return isQueue
    ? [{ title: 'Backlog', unit: 'items', area: 'backlog', line: 'forecast', steps: false }, REPLICAS]
    : [{ title: 'Latency', unit: 'seconds', area: 'latency', steps: false }, REPLICAS];
}

/** The top of the scale of both of its series. */
export const scaleOf = (points: readonly ScalePoint[], { area, line }: Drawn): number =>
  topOf(peakOf(points, line ? [area, line] : [area]));

export const isKnown = (value: number | null): value is number => value !== null && Number.isFinite(value);

/** The highest value that is known. */
export function peakOf(points: readonly ScalePoint[], of: readonly SeriesName[]): number {
  let peak = 0;
  for (const point of points) for (const name of of) if (isKnown(point[name])) peak = Math.max(peak, point[name]);
  return peak;
}

/** The top of a scale: a round number, not below the value. */
export function topOf(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8].find((one) => one * power >= value) ?? 10;
  return Math.min(Number.MAX_VALUE, Math.ceil(step * power));
}

/** Milliseconds without a look from which on nothing is known: some looks may fail, and a picture may be thinned. */
export function gapOf(points: readonly ScalePoint[]): number {
  const steps = points.slice(1).map(({ at }, i) => at - (points[i]?.at ?? at));
  const middle = steps.toSorted((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
  return middle * 4;
}

/** The longest runs of looks between which none is missing for long. */
export function stretches(points: readonly ScalePoint[]): ScalePoint[][] {
  const gap = gapOf(points);
  const all: ScalePoint[][] = [];
  for (const point of points) {
    const current = all.at(-1);
    const before = current?.at(-1);
    if (current && before && point.at - before.at <= gap) current.push(point);
    else all.push([point]);
  }
  return all;
}

/** One look, in words. */
export const wordsOfPoint = ({ backlog, forecast, desired, ready, latency }: ScalePoint): string =>
  `backlog ${short(backlog)}, forecast ${short(forecast)}, desired ${short(desired)}, ready ${short(ready)}${latency === null ? '' : `, latency ${short(latency)}s`}`;

/** What it shows, in one sentence: for who cannot see it, and where there is no room for it. */
export function summaryOf(points: readonly ScalePoint[]): string {
  const last = points.at(-1);
  if (!last) return '';
  return `${points.length === 1 ? '1 look' : `${points.length} looks`}; at the last one ${wordsOfPoint(last)}; at most backlog ${short(peakOf(points, ['backlog']))}, desired ${short(peakOf(points, ['desired']))}, ready ${short(peakOf(points, ['ready']))}`;
}
