import type { DispatchRequest, Start, Started } from '../model/dispatch.ts';
import type { LookRequest, Evidence as Seen } from '../model/evidence.ts';
import { alertKey, holds } from '../model/gates.ts';
import { responderId } from '../model/names.ts';
import type { EndReport } from '../model/remediation.ts';
import type { Decision } from '../model/request.ts';
import { batches, type Routed } from '../model/routing.ts';
import { windowAt } from '../model/windows.ts';
import { Admission, type Answer } from '../workflows/admission.ts';
import { Agenda } from './agenda.ts';
import type { Arrival } from './arrivals.ts';
import type { Evidence, Run } from './evidence.ts';
import type { Matched } from './routes.ts';

/** What becomes of one request in the simulation. Times in milliseconds since the epoch. */
export interface Fate {
  route: Matched;
  at: number;
  decision: 'waiting' | 'admitted' | 'refused' | 'dropped' | 'coalesced';
  decidedAt: number;
  /** It waited, at first for this gate. */
  wait?: { gate: string; reason: string };
  /** Of what was refused, or said nothing new. */
  gate?: string;
  reason?: string;
  /** It rests on a remediation that nobody has seen, its own or one that it waited for. */
  assumed: boolean;
}

type Event =
  | { kind: 'end'; report: Omit<EndReport, 'outcome'> & { outcome: Run['outcome'] } }
  | { kind: 'resolved'; index: number }
  | { kind: 'arrival'; index: number }
  | { kind: 'wake'; desk: Desk };

/** The order of what happens at the same time. */
const RANK = { end: 0, resolved: 1, arrival: 2, wake: 3 } as const;

/**
 * Puts arrivals through the responders' own admission, on the clock of the record: what it starts runs as long as it is
 * on record and comes to what is on record. Nothing here reads a clock or draws lots.
 *
 * @param routes where each arrival goes, by its index
 * @returns what became of each request, by arrival, in the order of its routes
 */
export function simulate(arrivals: readonly Arrival[], routes: readonly Routed[][], evidence: Evidence): Fate[][] {
  const world = new World(arrivals, routes, evidence);
  world.run();
  return world.fates;
}

class World {
  readonly fates: Fate[][];
  readonly #arrivals: readonly Arrival[];
  readonly #routes: readonly Routed[][];
  readonly #evidence: Evidence;
  readonly #agenda = new Agenda<Event>();
  readonly #desks = new Map<string, Desk>();
  /** Open remediations by target: the server allows one, whichever rule asked for it. */
  readonly #open = new Map<string, { runId: string; rule: string }>();
  #runs = 0;

  constructor(arrivals: readonly Arrival[], routes: readonly Routed[][], evidence: Evidence) {
    this.#arrivals = arrivals;
    this.#routes = routes;
    this.#evidence = evidence;
    this.fates = arrivals.map(() => []);
    arrivals.forEach(({ at, resolvedAt }, index) => {
      this.#plan(at, { kind: 'arrival', index });
      if (resolvedAt !== undefined) this.#plan(resolvedAt, { kind: 'resolved', index });
    });
  }

  run(): void {
    for (let next = this.#agenda.next(); next; next = this.#agenda.next()) {
      const desks = new Set<Desk>();
      for (const event of next.events) for (const desk of this.#tell(event, next.at)) desks.add(desk);
      for (const desk of desks) this.#turn(desk, next.at);
    }
  }

  #plan(at: number, event: Event): void {
    this.#agenda.add(at, RANK[event.kind], event);
  }

  /** Hands an event to the responders that it concerns. */
  #tell(event: Event, now: number): Desk[] {
    switch (event.kind) {
      case 'wake':
        return event.desk.due === now ? [event.desk] : [];
      case 'arrival':
        return this.#arrive(event.index, now);
      case 'resolved':
        return this.#routed(event.index).flatMap((route) => {
          const desk = this.#desks.get(deskId(route));
          desk?.resolve(route);
          return desk ? [desk] : [];
        });
      case 'end': {
        const { report } = event;
        const { outcome, target, runId } = report;
        if (this.#open.get(target)?.runId === runId) this.#open.delete(target);
        // Ended without a word: the responder finds out when it looks.
        if (outcome === 'terminated') return [];
        const desk = this.#deskOf(report.rule.name, report.scope, now);
        desk.admission.end({ ...report, outcome });
        return [desk];
      }
    }
  }

  #routed(index: number): Matched[] {
    return (this.#routes[index] ?? []).filter((route) => route.kind === 'matched');
  }

  #arrive(index: number, now: number): Desk[] {
    return this.#routed(index).map((route) => {
      const desk = this.#deskOf(route.rule.name, route.scope, now);
      const fate: Fate = { route, at: now, decision: 'waiting', decidedAt: now, assumed: false };
      this.fates[index]?.push(fate);
      desk.ask({ fate, index });
      return desk;
    });
  }

  #deskOf(rule: string, scope: string, now: number): Desk {
    const id = responderId(rule, scope);
    const desk = this.#desks.get(id) ?? new Desk(id, rule, scope, now);
    this.#desks.set(id, desk);
    return desk;
  }

  /** As the responder's loop: decides until there is nothing more to ask of the server. */
  #turn(desk: Desk, now: number): void {
    const { admission } = desk;
    desk.now = now;
    for (;;) {
      const question = admission.hear(now);
      const work = admission.decide(now, question && seen(question, now));
      if (!question && !work) break;
      if (!work) continue;
      const starts = work.starts.map((start) => this.#start(desk, work, start, now));
      const ended = work.check.filter(
        ({ target, runId, proposal }) => !proposal && this.#open.get(target)?.runId !== runId,
      );
      admission.dispatched(work, { starts, ended }, now);
    }
    desk.answered();
    // The workflow ends, and the next signal starts it anew.
    if (admission.idle) this.#desks.delete(desk.id);
    desk.due = Math.max(now + 1, admission.nextDue(now));
    if (Number.isFinite(desk.due)) this.#plan(desk.due, { kind: 'wake', desk });
  }

  /** As the server: one open remediation per target, and any number of proposals. */
  #start(desk: Desk, { rule, ruleDigest, scope }: DispatchRequest, { episode, request }: Start, now: number): Started {
    const { fingerprint, startsAt, target } = request;
    const asked = desk.askedFor(request);
    const arrival = asked && this.#arrivals[asked.index];
    if (!arrival) throw new Error(`started without having been asked for: ${episode}`);
    const { fate } = asked;
    const acts = holds(rule, request);
    const holder = acts ? this.#open.get(target) : undefined;
    if (holder) return { busy: holder.runId, by: holder.rule };
    const runId = `run-${++this.#runs}`;
    // It may have waited since before the rule was changed.
    fate.route = { ...fate.route, rule, ruleDigest };
    const report = { episode, target, runId, reason: '', alert: { fingerprint, startsAt }, rule, ruleDigest, scope };
    if (!acts) {
      desk.admitted(fate);
      // It waits for a person no longer than it is on record; and of what nobody has seen it is taken to be over at once.
      const over = rule.mode === 'propose' && this.#evidence.proposal(arrival, fate.route);
      if (over) this.#end(now + over.duration, { ...report, outcome: over.outcome });
      return { started: runId };
    }
    const { duration, outcome, assumed } = this.#evidence.of(arrival, fate.route);
    desk.admitted(fate, assumed ? now + duration + rule.gates.cooldown : undefined);
    this.#open.set(target, { runId, rule: rule.name });
    this.#end(now + duration, { ...report, outcome });
    return { started: runId };
  }

  #end(at: number, report: Omit<EndReport, 'outcome' | 'at'> & { outcome: Run['outcome'] }): void {
    this.#plan(at, { kind: 'end', report: { ...report, at: new Date(at).toISOString() } });
  }
}

/**
 * What the responder would have seen, as far as it is known now: the time, and with it its windows. Nobody knows what was
 * paused, excluded, held, unhealthy or granted then, so nothing was: what such a thing decided is not compared.
 */
const seen = ({ rule, targets, leases }: LookRequest, now: number): Seen => ({
  at: now,
  targets: Object.fromEntries(targets.map((target) => [target, {}])),
  workloads: {},
  pauses: [],
  window: windowAt(rule.gates.windows, now),
  leases: Object.fromEntries(Object.entries(leases).map(([key, { want }]) => [key, { granted: want }])),
});

const deskId = ({ rule, scope }: Matched): string => responderId(rule.name, scope);

interface Asked {
  fate: Fate;
  /** Of its arrival. */
  index: number;
}

/** One responder: its admission, and who waits for a decision of it. */
class Desk {
  readonly id: string;
  readonly admission: Admission;
  now: number;
  /** When it wakes without news. */
  due = Number.POSITIVE_INFINITY;
  /** Undecided, by alert. */
  readonly #asked = new Map<string, Asked>();
  /** Asked since the last turn. */
  #fresh: { fate: Fate; answer: Answer }[] = [];
  /** Until when a remediation that nobody has seen makes others wait. */
  #assumedUntil = Number.NEGATIVE_INFINITY;

  constructor(id: string, rule: string, scope: string, now: number) {
    this.id = id;
    this.now = now;
    const info = { workflowId: id, runId: id, firstExecutionRunId: id, startTime: new Date(now) };
    this.admission = new Admission({ rule, scope }, info, (entry) => {
      if (entry.kind === 'decision') this.#decided(alertKey(entry.alert), entry.decision);
      if (entry.kind === 'dropped') this.#close(this.#asked.get(alertKey(entry.alert))?.fate, 'dropped');
    });
  }

  ask({ fate, index }: Asked): void {
    const { route } = fate;
    const [batch] = batches([route], `arrival-${index}`);
    if (!batch) return;
    const key = alertKey(route.request);
    // A repeat of what waits already is coalesced, and closes nothing.
    if (!this.#asked.has(key)) this.#asked.set(key, { fate, index });
    this.#fresh.push({ fate, answer: this.admission.ask(batch) });
  }

  resolve({ rule, ruleDigest, scope, request }: Matched): void {
    const { state } = this.admission;
    // The newest rule rules, and this is none.
    const newest = { rule: state.rule ?? rule, ruleDigest: state.ruleDigest ?? ruleDigest };
    this.admission.take({ delivery: 'resolved', ...newest, scope, requests: [{ ...request, status: 'resolved' }] });
  }

  askedFor(alert: { fingerprint: string; startsAt: string }): Asked | undefined {
    return this.#asked.get(alertKey(alert));
  }

  /** @param assumedUntil until when it keeps others waiting, where nobody has seen how long it takes */
  admitted(fate: Fate, assumedUntil?: number): void {
    this.#close(fate, 'admitted');
    if (assumedUntil === undefined) return;
    fate.assumed = true;
    this.#assumedUntil = Math.max(this.#assumedUntil, assumedUntil);
  }

  /** What was asked has its answer; what said nothing new is not noted otherwise. */
  answered(): void {
    for (const { fate, answer } of this.#fresh.splice(0)) {
      const decision = answer.settled?.decision;
      if (fate.decision !== 'waiting' || decision?.answer !== 'coalesce') continue;
      fate.gate = decision.gate;
      fate.reason = decision.reason;
      this.#close(fate, 'coalesced');
    }
  }

  #decided(key: string, decision: Decision & { answer: 'wait' | 'refuse' }): void {
    const fate = this.#asked.get(key)?.fate;
    if (!fate) return;
    const { gate, reason } = decision;
    if (decision.answer === 'wait') fate.wait ??= { gate, reason };
    else {
      fate.gate = gate;
      fate.reason = reason;
      this.#close(fate, 'refused');
    }
  }

  #close(fate: Fate | undefined, decision: Fate['decision']): void {
    if (!fate) return;
    fate.decision = decision;
    fate.decidedAt = this.now;
    if (fate.wait && this.#assumedUntil >= fate.at) fate.assumed = true;
    const key = alertKey(fate.route.request);
    if (this.#asked.get(key)?.fate === fate) this.#asked.delete(key);
  }
}
