import { arrivalRate, externalMetric, hpa, podMetric } from './hpa.ts';
import type { Controller, Question } from './simulation.ts';
import { targetTracking } from './target-tracking.ts';

/** A replica is to be busy for this share of its time. */
const UTILIZATION = 0.7;

const cpu = () => podMetric(UTILIZATION, (reading) => reading.cpu);
const queue = ({ mu_nominal, objective_s }: Question) => externalMetric(mu_nominal * objective_s, (r) => r.backlog);
const arrivals = ({ mu_nominal }: Question) => externalMetric(UTILIZATION * mu_nominal, arrivalRate);

/** Each from its documentation; the letters are those of the aims in README.md. */
export const RIVALS: Record<string, Controller> = {
  'a: HPA, CPU': hpa(() => [cpu()]),
  'b: KEDA, queue': hpa((question) => [queue(question)]),
  'c: AWS, backlog per instance': targetTracking,
  'd: HPA, queue and arrivals': hpa((question) => [queue(question), arrivals(question)]),
  'e: HPA, CPU, queue, arrivals': hpa((question) => [cpu(), queue(question), arrivals(question)]),
};
