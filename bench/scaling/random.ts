/** Answers numbers from 0 to below 1, the same for the same seed on every machine (Mulberry32). */
export function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Of the normal distribution with mean 0 and deviation 1 (Box and Muller). */
export const normal = (draw: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());

/** Of the Poisson distribution; for large means by the normal one. */
export function poisson(mean: number, draw: () => number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(draw)));
  let [count, share] = [0, Math.exp(-mean)];
  for (let left = draw() - share; left > 0 && count < 1000; left -= share) {
    count++;
    share *= mean / count;
  }
  return count;
}
