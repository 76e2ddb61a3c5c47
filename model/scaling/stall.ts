import { formatDuration } from '../duration.ts';
import type { Sample, Stalled } from './types.ts';

/** Where replicas were added to drain a backlog, or against a latency: since then it should fall. */
export interface StallMark {
  at: number;
  /** Of the backlog in items, or the latency. */
  level: number;
  /** Replicas that served before. */
  before: number;
  /** Items a second that they served together, if that was known. */
  throughput?: number;
}

/** By this share it must fall to have fallen. */
const FALL = 0.1;
/** Of what more replicas should serve more, at least this share must be seen for them to be of use. */
const USE = 0.5;

/** One sample, as it is judged for a mark. */
interface Judged {
  /** Undefined: not known of this sample. */
  level: number | undefined;
  /** Nothing is wrong any more. */
  isOver: boolean;
  /** Something is, but no more than the rule allows. */
  isBorne?: boolean;
  /** Items a second that one replica serves. */
  perReplica: number | undefined;
}

/** The mark after one more sample. Each time it has fallen, the time begins anew; when nothing is wrong any more, it ends. */
export function markOf(
  mark: StallMark | undefined,
  before: Sample | undefined,
  { at, ready = 0 }: Sample,
  { level, isOver, isBorne = false, perReplica }: Judged,
): StallMark | undefined {
  if (level === undefined) return mark;
  if (isOver) return undefined;
  if (mark) return isBorne || level < mark.level * (1 - FALL) ? { ...mark, at, level } : mark;
  const had = before?.ready ?? ready;
  if (ready <= had) return undefined;
  return { at, level, before: had, ...(perReplica !== undefined && { throughput: perReplica * had }) };
}

/**
 * A backlog of no more than one item for each replica may be in work. One that is served within `drainWithin` milliseconds, as items
 * are served now (`served` a second), is what the rule asks for, also where what counts as waiting is partly in work.
 */
export const judgedBacklog = (
  { backlog, ready = 0 }: Sample,
  served: number | undefined,
  perReplica: number | undefined,
  drainWithin: number,
): Judged => ({
  level: backlog,
  isOver: backlog !== undefined && backlog <= ready,
  isBorne: backlog !== undefined && served !== undefined && backlog <= (served * drainWithin) / 1000,
  perReplica,
});

/** What is within the tolerance asks for nothing more. */
export const judgedLatency = (
  { latency }: Sample,
  objective: number,
  tolerance: number,
  perReplica: number | undefined,
): Judged => ({
  level: latency,
  isOver: latency !== undefined && latency <= objective * (1 + tolerance),
  perReplica,
});

/** What is known when it is asked whether more replicas help. */
interface Known {
  last: Sample | undefined;
  /** Items a second that are served, where it is known. */
  throughput: number | undefined;
  stalledAfter: number;
  /** No more replicas may be had. */
  exhausted: boolean;
}

/**
 * Replicas were added and serve, and the backlog, or the latency, has not fallen for `stalledAfter` milliseconds. Where it is known
 * what is served, they must also serve hardly more than before: else more comes than they can serve, and more of them do help, as
 * long as more may be had.
 */
export function stalledSince(
  mark: StallMark | undefined,
  of: 'backlog' | 'latency',
  { last, throughput, stalledAfter, exhausted }: Known,
): Stalled | undefined {
  const level = last?.[of];
  // Of what is not known nobody can say that it has not fallen.
  if (!mark || !last || level === undefined || last.at - mark.at < stalledAfter) return undefined;
  const { ready = 0 } = last;
  if (ready <= mark.before) return undefined;
  const expected = (mark.throughput ?? 0) * (1 + (USE * (ready - mark.before)) / mark.before);
  if (throughput !== undefined && mark.throughput !== undefined && throughput > expected && !exhausted)
    return undefined;
  const time = formatDuration(Math.round((last.at - mark.at) / 1000) * 1000);
  return {
    since: mark.at,
    at: last.at,
    ready: { before: mark.before, now: ready },
    of,
    level: { before: mark.level, now: level },
    reason: `${ready} replicas serve instead of ${mark.before}, and the ${of} has not fallen for ${time} (${FROM_TO[of](mark.level, level)}): more of the same will not help`,
  };
}

const items = (n: number): string => Math.round(n).toLocaleString('en-US');
const digits = (n: number): string => n.toLocaleString('en-US', { maximumSignificantDigits: 3 });

const FROM_TO = {
  backlog: (from: number, to: number): string => `from ${items(from)} to ${items(to)} items`,
  latency: (from: number, to: number): string => `from ${digits(from)} to ${digits(to)}`,
};
