import type { Serving } from './forecast.ts';
import { median } from './series.ts';

/** A raise of the target: at `at` to `upTo` replicas, not all of which serve yet. */
export interface Order {
  at: number;
  upTo: number;
}

/** How long an order took: longer than `low`, for it was not done at the observation before, and at most `high`; milliseconds. */
export interface Took {
  low: number;
  high: number;
}

/** So many orders that were done are remembered, and so many that are not. */
const DONE = 5;
const OPEN = 24;

/** What is known of orders. */
export interface Orders {
  open: Order[];
  took: Took[];
}

export const NO_ORDERS: Orders = { open: [], took: [] };

/** What one observation says of orders: `before` is the one before it. */
export function followOrders(
  { open, took }: Orders,
  before: { at: number; desired: number } | undefined,
  now: { at: number; desired: number; ready: number; starting: number },
): Orders {
  const done = open.filter(({ upTo }) => upTo <= now.ready);
  const left = open.filter(({ upTo }) => upTo > now.ready && upTo <= now.desired);
  const raised = before !== undefined && now.desired > before.desired && now.desired > now.ready;
  // The first observation may find orders of somebody else.
  const found = before === undefined && now.starting > 0;
  if (raised || found) left.push({ at: before?.at ?? now.at, upTo: raised ? now.desired : now.ready + now.starting });
  const seen = done.map(({ at }) => ({ low: Math.max(0, (before?.at ?? at) - at), high: now.at - at }));
  return { open: left.slice(-OPEN), took: [...took, ...seen].slice(-DONE) };
}

/** No order is waited for as if it would take longer than so many times what was said. */
const MOST = 10;

/**
 * The time from an order to replicas that serve, in milliseconds: the estimate, as far as the last orders do not contradict it,
 * and never less than the oldest open order has taken so far.
 */
export function startUpOf({ open, took }: Orders, estimate: number, at: number): number {
  const low = median(took.map((one) => one.low)) ?? 0;
  const high = median(took.map((one) => one.high)) ?? Number.POSITIVE_INFINITY;
  const waited = Math.max(0, ...open.map((order) => at - order.at));
  return Math.max(Math.min(high, Math.max(low, estimate)), Math.min(waited, MOST * estimate));
}

/** Who serves until when: those that did at each time, and those that are ordered, from the time at which they should. */
export function servingOf(
  history: readonly Serving[],
  orders: Orders,
  ready: number,
  starting: number,
  at: number,
  startUp: number,
): Serving[] {
  let replicas = ready;
  const serving: Serving[] = [...history, { from: at, replicas }];
  for (const order of orders.open) {
    replicas = Math.min(order.upTo, ready + starting);
    // What is late comes soon: when, nobody knows, and it is not ordered twice.
    serving.push({ from: Math.max(serving.at(-1)?.from ?? at, at + 1000, order.at + startUp), replicas });
  }
  if (replicas < ready + starting) serving.push({ from: at + startUp, replicas: ready + starting });
  return serving;
}
