import type { ScalePoint } from '../../model/ports/scalable.ts';

const START = Date.parse('2026-03-01T02:00:00Z');

export const look = (seconds: number, rest: Partial<ScalePoint> = {}): ScalePoint => ({
  at: START + seconds * 1000,
  ...{ backlog: 0, forecast: 0, latency: null, desired: 2, ready: 2 },
  ...rest,
});

/** An hour in which a queue rises, is scaled after, drains, and capacity goes back; for some minutes there are no metrics. */
export function flood(): ScalePoint[] {
  const points: ScalePoint[] = [];
  let backlog = 40;
  let ready = 3;
  const orders: number[] = [];
  for (let at = 0; at < 3600; at += 15) {
    const arrivals = 20 + (at > 300 && at < 1500 ? 75 * Math.sin(((at - 300) / 1200) * Math.PI) : 0);
    const change = (arrivals - ready * 9 + 3 * Math.sin(at / 40)) * 15;
    backlog = Math.max(0, backlog + change);
    const forecast = Math.max(0, backlog + change * 4);
    const asked = Math.min(12, Math.ceil(arrivals / 8 + forecast / 2_000));
    const before = orders.at(-1) ?? 3;
    const desired =
      at > 2400
        ? Math.max(3, 11 - Math.floor((at - 2400) / 100))
        : Math.max(before, Math.min(asked, before + (at % 60 ? 0 : 1)));
    orders.push(desired);
    ready = Math.min(desired, orders.at(-6) ?? 3);
    const isKnown = at < 1950 || at > 2160;
    points.push(
      look(at, {
        ...{ backlog: isKnown ? Math.round(backlog) : null, forecast: isKnown ? Math.round(forecast) : null },
        ...{ latency: isKnown ? Math.round(backlog / 50) / 10 : null, desired, ready },
      }),
    );
  }
  return points;
}
