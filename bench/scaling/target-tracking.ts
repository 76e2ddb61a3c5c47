import type { Controller } from './simulation.ts';

/**
 * AWS EC2 Auto Scaling, "Scaling policy based on Amazon SQS", with target tracking on the backlog per instance. The acceptable
 * backlog per instance is the latency that is acceptable over the time that one item takes. From the documentation of target
 * tracking: the policy makes two alarms on one-minute data, high after 3 of 3 points above the target and low after 15 of 15
 * below 90% of it; it scales out in proportion to the metric and in more slowly; instances that still warm up are not part of
 * the metric, count as capacity, and put off scaling in; missing data is no reason to do anything.
 */
const MINUTE = 60;
const HIGH = 3;
const LOW = 15;

export const targetTracking: Controller = () => {
  let points: number[] = [];
  return ({ t, sample, ready, starting, min, max, mu_nominal, objective_s }) => {
    const current = ready + starting;
    if (t % MINUTE !== 0) return current;
    if (!sample || sample.t < t - MINUTE) {
      points = [];
      return current;
    }
    const target = objective_s * mu_nominal;
    points.push(sample.backlog / Math.max(1, sample.ready));
    points = points.slice(-LOW);
    const last = points.at(-1) ?? 0;
    if (points.length >= HIGH && points.slice(-HIGH).every((point) => point > target))
      return Math.min(max, Math.max(current, Math.ceil((Math.max(1, ready) * last) / target)));
    if (starting > 0 || points.length < LOW || points.some((point) => point >= 0.9 * target)) return current;
    // In proportion, but never by more than a tenth at once: "more slowly" is all that is documented.
    return Math.max(min, Math.floor(current * Math.max(0.9, last / target)));
  };
};
