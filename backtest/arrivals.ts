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

/** Milliseconds that may lie between a decision and the begin of what it started, and between two rules' records of one alert. */
const LATENCY = 30_000;

/** What came, in the order in which it came. */
export function arrivalsOf({ requests, labels }: Pick<Recorded, 'requests' | 'labels'>): Arrival[] {
  const arrivals: Arrival[] = [];
  const byAlert = new Map<string, Arrival[]>();
  for (const { request, at } of placed(requests).sort(byTime)) {
    const { alert, rule, droppedAt } = request;
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

interface Placed {
  request: RecordedRequest;
  at: number;
}

const startedAtOnce = ({ episode, wait }: RecordedRequest): boolean => episode !== undefined && wait === undefined;

/** Those that found room came before those that did not; what is alike stays in the order of the record. */
const byTime = (a: Placed, b: Placed): number =>
  a.at - b.at ||
  Number(startedAtOnce(b.request)) - Number(startedAtOnce(a.request)) ||
  a.request.order - b.request.order;

/**
 * What was admitted at once is on record from its begin on only, a moment after it was decided. Where another request
 * was made to wait in between, for the room or the target that this one took, this one came first.
 */
function placed(requests: readonly RecordedRequest[]): Placed[] {
  const all = requests.map((request) => ({ request, at: request.at }));
  const contests = new Map<string, Record<'waiting' | 'started', Placed[]>>();
  const contest = (key: string) => {
    const known = contests.get(key) ?? { waiting: [], started: [] };
    contests.set(key, known);
    return known;
  };
  for (const one of all) {
    const { rule, scope, target, wait } = one.request;
    if (wait?.gate === 'in-flight') contest(`room ${rule} ${scope}`).waiting.push(one);
    if (wait?.gate === 'target-busy') contest(`target ${target}`).waiting.push(one);
    if (!startedAtOnce(one.request)) continue;
    contest(`room ${rule} ${scope}`).started.push(one);
    contest(`target ${target}`).started.push(one);
  }
  for (const { waiting, started } of contests.values()) {
    waiting.sort((a, b) => a.at - b.at);
    let first = 0;
    for (const start of started.sort((a, b) => begin(a) - begin(b))) {
      while (isPast(waiting[first], begin(start))) first += 1;
      start.at = Math.min(start.at, waiting[first]?.at ?? start.at);
    }
  }
  return all;
}

const begin = ({ request }: Placed): number => request.at;

/** It did not wait any more at that time, or had come so long before that nobody can have passed it unseen. */
function isPast(waiting: Placed | undefined, at: number): boolean {
  if (!waiting || waiting.at >= at) return false;
  const { episode, refused, droppedAt } = waiting.request;
  const until = episode?.begunAt ?? refused?.at ?? droppedAt ?? Number.POSITIVE_INFINITY;
  return until <= at || at - waiting.at > LATENCY;
}
