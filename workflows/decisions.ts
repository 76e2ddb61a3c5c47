import type { RecordedAlert } from '../model/request.ts';
import type { Queued } from '../model/responder.ts';
import { isTick } from '../model/tick.ts';
import type { Delivered, Desk, Refusal, Undecided, Wait } from './desk.ts';
import { TOLD_TWICE } from './memory.ts';
import { nextTry } from './queue.ts';

/** What is done with a request that is not started now: it waits, or is refused, and that is on record. */

/** @param since milliseconds since the epoch at which it was asked for */
export function refuse(desk: Desk, request: Delivered | Queued, refusal: Refusal, since: number, now: number): void {
  const { memory, state, rule, escalations } = desk;
  // What could not be read may be readable when the alert is repeated; a time of a schedule comes once.
  const remember = refusal.gate === 'evidence' ? rule.gates.cooldown : isTick(request) ? TOLD_TWICE : undefined;
  memory.refuse(request, refusal.reason, now, remember);
  state.tally.refuse += 1;
  record(desk, request, refusal, since);
  if (refusal.gate === 'retry-budget') escalations.budgetSpent(request.target, recorded(request), refusal.reason, now);
}

/** Puts it into the queue; where that is full, waiting turns into refusal. */
export function keep(
  desk: Desk,
  request: Delivered,
  { gate, reason, ...wait }: Wait,
  { since, now, ...about }: Pick<Queued, 'since' | 'notBefore' | 'tries' | 'after' | 'putOff'> & { now: number },
): Wait | Refusal {
  const full = fullFor(desk, request, reason, since, now);
  if (full) return full;
  const notBefore = about.notBefore ?? nextTry(gate, wait.until, 0, now);
  desk.queue.add({ ...queueable(request), since, gate, reason, ...about, notBefore });
  desk.state.tally.wait += 1;
  record(desk, request, { ...wait, gate, reason }, since);
  return { ...wait, gate, reason };
}

/** What waits and is decided anew to go on waiting says nothing new, unless it was never decided before. */
export function goOnWaiting(desk: Desk, queued: Queued, decision: Wait, now: number): void {
  const { gate, reason, until } = decision;
  queued.tries = gate === queued.gate ? (queued.tries ?? 0) + 1 : 0;
  queued.putOff = undefined;
  queued.gate = gate;
  queued.reason = reason;
  queued.notBefore = nextTry(gate, until, queued.tries, now);
  if (!queued.undecided) return;
  queued.undecided = undefined;
  desk.state.tally.wait += 1;
  record(desk, queued, decision, queued.since);
}

/** Keeps what came too late for this run: it is decided by the next one, and on record then. */
export function shelve(desk: Desk, { request, since }: Undecided): Wait | Refusal {
  const reason = 'the responder is about to continue as new';
  const full = fullFor(desk, request, reason, since, since);
  if (full) return full;
  desk.queue.add({ ...queueable(request), since, gate: 'in-flight', reason, undecided: true });
  return { answer: 'wait', gate: 'in-flight', reason };
}

/** Refuses those who have waited for as long as they may. */
export function expire(desk: Desk, now: number): void {
  const expired = desk.queue.expire(now);
  for (const queued of expired) {
    const { since, gate, reason } = queued;
    refuse(desk, queued, { answer: 'refuse', gate, reason: `waited too long: ${reason}` }, since, now);
  }
  // The next time of a schedule is another chance, and tells more than that this one had none.
  const missed = expired.filter((queued) => !isTick(queued));
  desk.escalations.waited(missed, recorded, now);
}

/** What waited, or was about to, and whose alert was resolved meanwhile. */
export function drop({ note, rule }: Desk, request: Delivered | Queued, why: string): void {
  note({ kind: 'dropped', target: request.target, rule: rule.name, alert: recorded(request), why });
}

function fullFor(desk: Desk, request: Delivered, reason: string, since: number, now: number): Refusal | undefined {
  const { queue, memory, state, rule } = desk;
  if (!queue.isFull(rule.gates.maxQueue)) return undefined;
  memory.settle(request, 'refused', now);
  state.tally.refuse += 1;
  const why = `${queue.length} requests wait already (${reason})`;
  const refusal: Refusal = { answer: 'refuse', gate: 'queue-full', reason: why };
  record(desk, request, refusal, since);
  return refusal;
}

/** On record, once. */
function record(desk: Desk, request: Delivered | Queued, decision: Wait | Refusal, since: number): void {
  const { name, mode } = desk.rule;
  const { target } = request;
  const about = { scope: desk.scope, rule: name, ruleDigest: desk.state.ruleDigest ?? '', mode, target };
  desk.note({ kind: 'decision', ...about, alert: recorded(request), decision, since: new Date(since).toISOString() });
}

/** What of a request is kept while it waits. */
function queueable(request: Delivered): Omit<Queued, 'since' | 'gate' | 'reason'> {
  const { delivery, fingerprint, startsAt, target, alertname, digest, by, approval, labels } = request;
  const about = { delivery, fingerprint, startsAt, target, alertname, digest, by };
  return { ...about, ...(approval && { approval }), ...(labels && { labels }) };
}

/** What waited, as it is started. */
export const deliveredOf = (queued: Queued): Delivered => ({
  ...recorded(queued),
  target: queued.target,
  delivery: queued.delivery,
});

function recorded(request: Delivered | Queued): RecordedAlert {
  const { fingerprint, startsAt, alertname, digest, by, approval, labels } = request;
  const { annotations } = request as Delivered;
  return {
    fingerprint,
    startsAt,
    alertname,
    digest,
    by,
    ...(approval && { approval }),
    ...(labels && { labels }),
    ...(annotations && { annotations }),
  };
}
