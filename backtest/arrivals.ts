import { alertKey } from '../model/gates.ts';
import type { RecordedAlert } from '../model/request.ts';
import type { Recorded, RecordedRequest } from './record.ts';

/** One alert that came once: what all rules were asked about it then. */
export interface Arrival {
  /** Milliseconds since the epoch. */
  at: number;
  /** With labels and annotations wherever they are on record. */
  alert: RecordedAlert;
  /** One for each rule that took it; one of which nothing is on record said nothing new. */
  requests: RecordedRequest[];
  /** Its alert was resolved then, as far as it is known (milliseconds since the epoch). */
  resolvedAt?: number;
}

/** Milliseconds that may lie between two rules' records of one alert. */
const LATENCY = 30_000;

/** What came, in the order in which it came. */
export function arrivalsOf({ requests, labels }: Pick<Recorded, 'requests' | 'labels'>): Arrival[] {
  const arrivals: Arrival[] = [];
  const byAlert = new Map<string, Arrival[]>();
  for (const request of [...requests].sort(byTime)) {
    const { at, alert, rule, droppedAt } = request;
    const earlier = byAlert.get(alertKey(alert)) ?? [];
    byAlert.set(alertKey(alert), earlier);
    // The record of another rule that took the same alert at the same time.
    let arrival = earlier.findLast(
      (other) => at - other.at <= LATENCY && other.requests.every((taken) => taken.rule !== rule),
    );
    if (!arrival) {
      arrival = { at, alert: { ...alert, ...labels.get(alert.fingerprint) }, requests: [] };
      arrivals.push(arrival);
      earlier.push(arrival);
    }
    arrival.requests.push(request);
    if (droppedAt !== undefined) arrival.resolvedAt = Math.min(arrival.resolvedAt ?? droppedAt, droppedAt);
  }
  for (const same of byAlert.values()) addSilent(same);
  return arrivals;
}

/** A firing goes to the same rules each time, whether they say something or not. */
function addSilent(arrivals: readonly Arrival[]): void {
  const rules = new Map(arrivals.flatMap(({ requests }) => requests).map((request) => [request.rule, request]));
  if (rules.size === 1) return;
  for (const { at, requests } of arrivals) {
    const taken = new Set(requests.map(({ rule }) => rule));
    for (const { rule, ruleDigest, mode, scope, target, alert, order } of rules.values())
      if (!taken.has(rule)) requests.push({ rule, ruleDigest, mode, scope, target, alert, order, at });
  }
}

const startedAtOnce = ({ episode, wait }: RecordedRequest): boolean => episode !== undefined && wait === undefined;

/** Those that found room came before those that did not; what is alike stays in the order of the record. */
const byTime = (a: RecordedRequest, b: RecordedRequest): number =>
  a.at - b.at || Number(startedAtOnce(b)) - Number(startedAtOnce(a)) || a.order - b.order;
