import type { ScalePoint } from '../ports/scalable.ts';

/** Points of a picture: what a terminal can draw, and a few dozen kilobytes at most. */
export const MOST_POINTS = 240;

/** The points in order, of too many every second one; the first, the last and the highest backlog stay. */
export function thinned(points: readonly ScalePoint[], most = MOST_POINTS): ScalePoint[] {
  let kept = [...points];
  while (kept.length > most) {
    const peak = kept.reduce((high, one, i) => ((one.backlog ?? -1) > (kept[high]?.backlog ?? -1) ? i : high), 0);
    const { length } = kept;
    kept = kept.filter((_, i) => i % 2 === 0 || i === peak || i === length - 1);
  }
  return kept;
}
