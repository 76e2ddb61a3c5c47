import { Counter, Histogram, Registry } from 'prom-client';

/**
 * What the gateway counts. Labels hold status codes, rule names of the configuration and words of this file: never a
 * label value of an alert.
 */
export class GatewayMetrics {
  readonly registry = new Registry();

  readonly requests = new Counter({
    name: 'salvor_gateway_requests_total',
    help: 'Webhook requests by status code of the answer.',
    labelNames: ['code'] as const,
    registers: [this.registry],
  });

  /** An alert that two rules match counts for both. `rule` is empty where none matched, or before one could. */
  readonly alerts = new Counter({
    name: 'salvor_gateway_alerts_total',
    help: 'Alerts by rule and result: accepted, bad, own, unmatched, undelivered.',
    labelNames: ['rule', 'result'] as const,
    registers: [this.registry],
  });

  /** The alerts counted as bad, by why. */
  readonly problems = new Counter({
    name: 'salvor_gateway_problems_total',
    help: 'Alerts of which no target could be made, by rule and reason.',
    labelNames: ['rule', 'reason'] as const,
    registers: [this.registry],
  });

  readonly orders = new Counter({
    name: 'salvor_gateway_orders_total',
    help: 'Orders of people (pause, resume, approve, deny, pauses) by status code of the answer.',
    labelNames: ['order', 'code'] as const,
    registers: [this.registry],
  });

  readonly truncated = new Counter({
    name: 'salvor_gateway_truncated_alerts_total',
    help: 'Alerts that Alertmanager left out of a webhook because of max_alerts.',
    registers: [this.registry],
  });

  readonly batches = new Counter({
    name: 'salvor_gateway_batches_total',
    help: 'Batches that Temporal took, one signal each.',
    labelNames: ['rule'] as const,
    registers: [this.registry],
  });

  readonly signalSeconds = new Histogram({
    name: 'salvor_gateway_signal_duration_seconds',
    help: 'Time in which Temporal took or refused a batch.',
    buckets: [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [this.registry],
  });

  readonly temporalErrors = new Counter({
    name: 'salvor_gateway_temporal_errors_total',
    help: 'Batches that Temporal did not take, by gRPC status.',
    labelNames: ['status'] as const,
    registers: [this.registry],
  });

  readonly rejections = new Counter({
    name: 'salvor_gateway_rejections_total',
    help: 'Requests refused before any alert was looked at, by reason.',
    labelNames: ['reason'] as const,
    registers: [this.registry],
  });

  /**
   * @param rules names of the configured rules: what an alert rule looks for is 0 from the start, for `increase()` does
   *   not see a series begin
   */
  constructor(rules: readonly string[] = []) {
    for (const rule of ['', ...rules]) this.alerts.inc({ rule, result: 'bad' }, 0);
    for (const status of ['UNAVAILABLE', 'DEADLINE_EXCEEDED']) this.temporalErrors.inc({ status }, 0);
    this.rejections.inc({ reason: 'unauthenticated' }, 0);
    this.truncated.inc(0);
  }
}
