import { parsePayload } from '../model/alertmanager.ts';
import type { Config } from '../model/config.ts';
import type { Batch } from '../model/request.ts';
import { batches, type Routed, route } from '../model/routing.ts';
import type { GatewayMetrics } from './metrics.ts';
import { Rejection } from './reject.ts';
import { deliveryName } from './trace.ts';

/**
 * One webhook, sorted: what goes to the responders, and what becomes of the rest. An alert that two rules match counts
 * for both.
 */
export interface Sorted {
  batches: Batch[];
  receiver: string;
  /** Alerts in the body. */
  alerts: number;
  /** Alerts that Alertmanager left out of it (`max_alerts`): the group is not complete. */
  truncated: number;
  /** Salvor's own alerts, dropped. */
  dropped: number;
  unmatched: number;
  problems: Problem[];
}

/** Why nothing is started for an alert. */
export interface Problem {
  /** Place in the body's `alerts`, counted from 0. */
  index: number;
  fingerprint?: string;
  /** The rule that matched it, where the alert could be read at all. */
  rule?: string;
  reason: string;
  problem: string;
}

/** @throws Rejection 400 where the body as a whole is no payload of version 4 */
export function sort(body: unknown, config: Config, metrics: GatewayMetrics): Sorted {
  const parsed = parsePayload(body);
  if ('problem' in parsed)
    throw new Rejection(`The body is ${parsed.problem}.`, { status: 400, reason: 'not-a-webhook' });
  const { payload, alerts } = parsed;
  const problems: Problem[] = [];
  const routed: Routed[] = [];
  let [dropped, unmatched] = [0, 0];
  for (const [index, one] of alerts.entries()) {
    if (!one.ok) {
      problems.push({ index, reason: 'malformed', problem: one.problem });
      continue;
    }
    const ways = route(one.alert, config);
    if (ways.length === 0) unmatched++;
    for (const way of ways) {
      if (way.kind === 'own') dropped++;
      if (way.kind === 'problem') {
        const { rule, reason, problem } = way;
        problems.push({ index, fingerprint: one.alert.fingerprint, rule, reason, problem });
      }
    }
    routed.push(...ways);
  }
  count(metrics, { dropped, unmatched, problems, truncated: payload.truncatedAlerts });
  return {
    batches: batches(routed, deliveryName()),
    receiver: payload.receiver,
    alerts: alerts.length,
    truncated: payload.truncatedAlerts,
    dropped,
    unmatched,
    problems,
  };
}

function count(
  metrics: GatewayMetrics,
  sorted: Pick<Sorted, 'dropped' | 'unmatched' | 'problems' | 'truncated'>,
): void {
  metrics.truncated.inc(sorted.truncated);
  metrics.alerts.inc({ rule: '', result: 'own' }, sorted.dropped);
  metrics.alerts.inc({ rule: '', result: 'unmatched' }, sorted.unmatched);
  for (const { rule = '', reason } of sorted.problems) {
    metrics.alerts.inc({ rule, result: 'bad' });
    metrics.problems.inc({ rule, reason });
  }
}
