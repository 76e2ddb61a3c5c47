import type { ResponderState } from '../model/responder.ts';
import type { WaitingMemo } from '../model/standing.ts';
import { isTick } from '../model/tick.ts';

const MINUTE = 60_000;

/**
 * How many wait, and since when; undefined where none does. What a schedule asks for is not counted: outside its windows one of its
 * times always waits, and nobody with it.
 */
export function waitingOf({ queue }: ResponderState): WaitingMemo | undefined {
  const since = Object.values(queue).flatMap((queued) => (isTick(queued) ? [] : [queued.since]));
  // Not by spreading: thousands may wait.
  const oldest = since.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  return since.length === 0 ? undefined : { count: since.length, oldest: new Date(oldest).toISOString() };
}

/** Whether it is worth an event of the history to tell what waits now: a scrape needs no exact number. */
export function isStale(told: WaitingMemo | undefined, now: WaitingMemo | undefined): boolean {
  if (!told || !now) return told !== now;
  const [less, more] = [Math.min(told.count, now.count), Math.max(told.count, now.count)];
  return more >= 2 * less || Math.abs(Date.parse(told.oldest) - Date.parse(now.oldest)) > MINUTE;
}
