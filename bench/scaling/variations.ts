import { normal, poisson, random } from './random.ts';
import type { Scenario } from './scenario.ts';

const SEED = 7;

/**
 * Other worlds than the one in which the controller was made, to see whether it is good there too. Always the same: each has a seed.
 */
export function variations(scenarios: readonly Scenario[]): Record<string, Scenario[]> {
  const arrivals = (change: (rate: number) => number): Scenario[] =>
    scenarios.map((one) => ({ ...one, arrivals: one.arrivals.map(change) }));
  const served = (factor: number): Scenario[] =>
    scenarios.map((one) => ({
      ...one,
      faults: [...one.faults, { kind: 'service-rate', from: 0, to: Number.POSITIVE_INFINITY, factor }],
    }));
  const draw = random(SEED);
  return {
    'whole items at random (Poisson)': arrivals((rate) => poisson(rate, draw)),
    'a tenth of the load, Poisson': arrivals((rate) => poisson(rate / 10, draw)),
    'three times the load': arrivals((rate) => rate * 3),
    'a replica serves 0.6 of what is said': served(0.6),
    'a replica serves 1.5 of what is said': served(1.5),
    'random steps, ramps and short bursts': Array.from({ length: 12 }, (_, i) => wild(i)),
  };
}

/** An hour and a half of ramps, steps, and bursts of 45 s, each at random. */
function wild(number: number): Scenario {
  const draw = random(SEED + number);
  const arrivals: number[] = [];
  let level = 50 + 200 * draw();
  while (arrivals.length < 5400) {
    const [kind, length, next] = [draw(), 60 + Math.floor(900 * draw()), 30 + 400 * draw() ** 2];
    for (let t = 0; t < length; t++) {
      if (kind < 0.5) arrivals.push(level + (next - level) * Math.min(1, (1.5 * t) / length));
      else if (kind < 0.75) arrivals.push(next);
      else arrivals.push(level + (t < 45 ? 200 : 0));
    }
    if (kind < 0.75) level = next;
  }
  const noisy = arrivals.slice(0, 5400).map((rate) => Math.max(0, rate * (1 + 0.05 * normal(draw))));
  return { name: `random ${number + 1}`, arrivals: noisy, faults: [] };
}
