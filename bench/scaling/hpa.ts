import type { Controller, Question, Reading } from './simulation.ts';

/**
 * HorizontalPodAutoscaler, autoscaling/v2, as documented in "Horizontal Pod Autoscaling" (kubernetes.io/docs) with its
 * default behaviour: a sync every 15 s; desired = ceil(current × value / target); nothing within a tolerance of 10%; replicas
 * without a metric count as 0% for more and as the target for less; of several metrics the most, and never less while one is
 * missing; up by at most 4 pods or 100% in 15 s, whichever is more; down to the most that was asked for in 300 s.
 */
export type Metric = (reading: Reading, before: Reading | undefined, current: number) => Proposal | undefined;

/** What one metric asks for. */
export type Proposal = number;

const TOLERANCE = 0.1;
const DOWN_WINDOW = 300;

/** A metric of each pod: the mean of `value` over those that have one should be `target`. */
export const podMetric =
  (target: number, value: (reading: Reading) => number): Metric =>
  (reading, _before, current) => {
    const known = Math.min(reading.ready, current);
    if (known === 0) return undefined;
    const ratio = value(reading) / target;
    if (Math.abs(ratio - 1) <= TOLERANCE) return current;
    const missing = current - known;
    if (missing === 0) return Math.ceil(known * ratio);
    const mean = ratio > 1 ? (value(reading) * known) / current : (value(reading) * known + target * missing) / current;
    const dampened = mean / target;
    if (Math.abs(dampened - 1) <= TOLERANCE || dampened > 1 !== ratio > 1) return current;
    return Math.ceil(current * dampened);
  };

/** An external metric with an AverageValue: `value` divided by all replicas should be `target`. */
export const externalMetric =
  (target: number, value: (reading: Reading, before: Reading | undefined) => number | undefined): Metric =>
  (reading, before, current) => {
    const total = value(reading, before);
    if (total === undefined) return undefined;
    return current > 0 && Math.abs(total / (target * current) - 1) <= TOLERANCE ? current : Math.ceil(total / target);
  };

/** Items a second over the last two samples, as `irate()` gives it: after a reset of the counter, what it has counted since. */
export function arrivalRate(reading: Reading, before: Reading | undefined): number | undefined {
  if (!before || reading.t <= before.t) return undefined;
  const [from, to] = [before.arrivals_total, reading.arrivals_total];
  return (to < from ? to : to - from) / (reading.t - before.t);
}

export const hpa =
  (metrics: (question: Question) => Metric[]): Controller =>
  () => {
    const samples: Reading[] = [];
    const asked: { t: number; n: number }[] = [];
    const ups: { t: number; n: number }[] = [];
    return (question) => {
      const { t, sample, min, max } = question;
      const current = question.ready + question.starting;
      if (sample && sample.t !== samples.at(-1)?.t) samples.push(sample);
      // A metric as old as this is not served any more.
      const fresh = sample !== null && sample.t >= t - 30;
      const proposals = metrics(question).map((metric) =>
        fresh ? metric(sample, samples.at(-2), current) : undefined,
      );
      const known = proposals.filter((one) => one !== undefined);
      const most = known.length === 0 ? current : Math.max(...known);
      const proposal = known.length < proposals.length ? Math.max(most, current) : most;
      asked.push({ t, n: Math.min(max, Math.max(min, proposal)) });
      const stable = Math.max(...asked.filter((one) => one.t > t - DOWN_WINDOW).map((one) => one.n));
      if (proposal <= current) return Math.min(current, stable);
      const before = current - ups.filter((one) => one.t > t - 15).reduce((sum, one) => sum + one.n, 0);
      const desired = Math.min(max, proposal, Math.max(before + 4, before * 2));
      if (desired > current) ups.push({ t, n: desired - current });
      return desired;
    };
  };
