import { formatDuration } from '../duration.ts';
import type { Sample, Stalled } from './types.ts';

/** Where replicas were added to drain a backlog: since then it should fall. */
export interface StallMark {
  at: number;
  backlog: number;
  /** Replicas that served before. */
  before: number;
  /** Items a second that they served together, if that was known. */
  throughput?: number;
}

/** By this share a backlog must fall to have fallen. */
const FALL = 0.1;
/** Of what more replicas should serve more, at least this share must be seen for them to be of use. */
const USE = 0.5;

/** The mark after one more sample. Each time the backlog has fallen, the time begins anew; when nothing waits any more, it ends. */
export function markOf(
  mark: StallMark | undefined,
  before: Sample | undefined,
  now: Sample,
  perReplica: number | undefined,
): StallMark | undefined {
  const { at, backlog, ready = 0 } = now;
  if (backlog === undefined) return mark;
  if (backlog <= ready) return undefined;
  if (mark) return backlog < mark.backlog * (1 - FALL) ? { ...mark, at, backlog } : mark;
  const had = before?.ready ?? ready;
  if (ready <= had) return undefined;
  return { at, backlog, before: had, ...(perReplica !== undefined && { throughput: perReplica * had }) };
}

/**
 * Replicas were added and serve, and the backlog has not fallen for `stalledAfter` milliseconds. Where it is known what is served
 * (`throughput`, items a second), they must also serve hardly more than before: else more comes than they can serve, and more of them
 * do help, as long as more may be had (`exhausted`: they may not).
 */
export function stalledSince(
  mark: StallMark | undefined,
  last: Sample | undefined,
  throughput: number | undefined,
  stalledAfter: number,
  exhausted: boolean,
): Stalled | undefined {
  if (!mark || !last || last.at - mark.at < stalledAfter) return undefined;
  const { ready = 0, backlog = mark.backlog } = last;
  if (ready <= mark.before) return undefined;
  const expected = (mark.throughput ?? 0) * (1 + (USE * (ready - mark.before)) / mark.before);
  if (throughput !== undefined && mark.throughput !== undefined && throughput > expected && !exhausted)
    return undefined;
  const items = (n: number): string => Math.round(n).toLocaleString('en-US');
  return {
    since: mark.at,
    at: last.at,
    ready: { before: mark.before, now: ready },
    backlog: { before: mark.backlog, now: backlog },
    reason: `${ready} replicas serve instead of ${mark.before}, and the backlog has not fallen for ${formatDuration(Math.round((last.at - mark.at) / 1000) * 1000)} (from ${items(mark.backlog)} to ${items(backlog)} items): more of the same will not help`,
  };
}
