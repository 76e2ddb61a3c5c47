import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { normal, random } from './random.ts';

/** Writes the traces, always the same: run it only to change them. Each has a line every 15 s. */
const HOUR = 3600;
const STEP = 15;

const ease = (x: number): number => Math.min(1, Math.max(0, x));

const SHAPES: Record<string, { hours: number; noise: number; rate: (t: number) => number }> = {
  steady: { hours: 1, noise: 0.05, rate: () => 200 },
  // From a tenth of the load to all of it in a quarter of an hour, and back.
  ramp: { hours: 1.5, noise: 0.04, rate: (t) => 60 + 440 * (ease((t - 900) / 900) - ease((t - 3600) / 900)) },
  step: { hours: 1, noise: 0.04, rate: (t) => (t >= 900 && t < 2700 ? 360 : 120) },
  // A minute of five times as much, and ten seconds of the same later: the second is over before anybody can answer.
  spike: {
    hours: 1,
    noise: 0.04,
    rate: (t) => 100 + (t >= 1200 && t < 1260 ? 400 : 0) + (t >= 2400 && t < 2415 ? 400 : 0),
  },
  // A day, six times as fast as the sun.
  wave: { hours: 4, noise: 0.12, rate: (t) => 220 - 170 * Math.cos((2 * Math.PI * t) / (4 * HOUR)) },
  // Twelve times as much within four minutes; half of them leave in the next half hour.
  'flash-crowd': {
    hours: 1.5,
    noise: 0.05,
    rate: (t) => 50 + 550 * ease((t - 1200) / 240) * (t < 1800 ? 1 : Math.exp(-(t - 1800) / 1200)),
  },
};

Object.entries(SHAPES).forEach(([name, { hours, noise, rate }], seed) => {
  const draw = random(seed + 1);
  const lines = Array.from({ length: (hours * HOUR) / STEP + 1 }, (_, i) => {
    const noisy = Math.max(0, rate(i * STEP) * (1 + noise * normal(draw)));
    return `${i * STEP},${noisy.toFixed(1)}`;
  });
  writeFileSync(join(import.meta.dirname, 'traces', `${name}.csv`), `t,arrivals\n${lines.join('\n')}\n`);
});
