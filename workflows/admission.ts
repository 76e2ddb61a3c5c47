import type { AuditEntry } from '../model/audit.ts';
import type { DispatchRequest, DispatchResult, Start } from '../model/dispatch.ts';
import type { Evidence, LookRequest } from '../model/evidence.ts';
import { alertKey, decide, duplicate, holds } from '../model/gates.ts';
import { limitsKey } from '../model/limits.ts';
import { proposalId, remediationId } from '../model/names.ts';
import type { EndReport } from '../model/remediation.ts';
import type { Batch, Decision } from '../model/request.ts';
import type { LookAgain, ResponderInput, ResponderState } from '../model/responder.ts';
import { isTick } from '../model/tick.ts';
import { type Answer, Answers } from './answers.ts';
import { Arrivals, type Asked } from './arrivals.ts';
import { deliveredOf, drop, expire, goOnWaiting, keep, refuse, shelve } from './decisions.ts';
import { type Delivered, Desk, type Execution, type Wait } from './desk.ts';
import { free, settle } from './ends.ts';
import { lookAgain, questionOf, weigh } from './looking.ts';
import { TOLD_TWICE } from './memory.ts';
import { completed } from './older.ts';

/** When it is tried again to start what another rule keeps from its target (milliseconds): nobody tells of its end. */
const BUSY_ELSEWHERE = 60_000;
/** Requests that are decided with one look. */
const MOST_LOOKED_AT = 200;

export type { Answer } from './answers.ts';

type News = { batch: Batch; answer?: Answer } | { report: EndReport } | { again: LookAgain };

/**
 * The state of one responder and all that changes it. Knows nothing of Temporal: it is told what came and what time it
 * is (milliseconds since the epoch), and says what to look at and what to ask of the server. A turn is {@link hear},
 * {@link decide} with what was seen, {@link dispatched} with what the server said; what comes meanwhile is heard in the
 * next one.
 */
export class Admission {
  readonly state: ResponderState;
  readonly #desk: Desk;
  readonly #inbox: News[] = [];
  readonly #fresh = new Arrivals();
  /** Is decided with what is looked at now. */
  #hand: Asked[] = [];
  /** The question that is being answered. */
  #asked: LookRequest | undefined;
  #questions = 0;
  /** Keys of the limits of which slots were asked for with it. */
  #leased: ReadonlySet<string> = new Set();
  readonly #answers = new Answers();

  constructor(input: ResponderInput, execution: Execution, note: (entry: AuditEntry) => void = () => undefined) {
    this.#desk = new Desk(input, execution, note);
    this.state = this.#desk.state;
  }

  take(batch: Batch): void {
    this.#inbox.push({ batch });
  }

  ask(batch: Batch): Answer {
    const answer: Answer = {};
    this.#inbox.push({ batch, answer });
    return answer;
  }

  end(report: EndReport): void {
    this.#inbox.push({ report });
  }

  look(again: LookAgain): void {
    this.#inbox.push({ again });
  }

  get hasNews(): boolean {
    return this.#inbox.length > 0;
  }

  /** There is something to decide at once. */
  get pressing(): boolean {
    return this.hasNews || this.#fresh.size > 0 || this.#hand.length > 0 || this.#desk.queue.isWoken;
  }

  /** Nothing is open, queued, proposed, held, leased, cooling or counted: the workflow may end. */
  get idle(): boolean {
    const { open, queue, settled, cooling, attempts, proposed = {}, slots = {}, memory = {}, storm } = this.state;
    if (storm || this.#fresh.size + this.#hand.length > 0) return false;
    return [open, queue, settled, cooling, attempts, proposed, slots, memory].every(
      (kept) => Object.keys(kept).length === 0,
    );
  }

  /**
   * Hears all news, and sorts out what needs no look. Answers what to look at before the rest is decided, if anything.
   *
   * @param closing the run is about to continue as new: what is undecided waits for the next run
   */
  hear(now: number, closing = false): LookRequest | undefined {
    this.#takeUp();
    for (let news = this.#inbox.shift(); news; news = this.#inbox.shift()) {
      if ('report' in news) this.#settle(news.report, now);
      else if ('again' in news) lookAgain(this.#desk, news.again);
      else this.#receive(news.batch, news.answer, now);
    }
    const { rule, storm } = this.state;
    if (!rule) return undefined;
    this.#desk.memory.forget(now, rule.gates.retries.per);
    expire(this.#desk, now);
    if (closing) {
      this.#shelve();
      return undefined;
    }
    if (storm) {
      this.#hold(now);
      return this.#desk.storm.due <= now ? this.#question(now) : undefined;
    }
    this.#hand = this.#nextHand(now);
    return this.#hand.length > 0 ? this.#question(now) : undefined;
  }

  /**
   * Decides what was looked at; answers what to ask of the server, if anything.
   *
   * @param evidence the answer to what {@link hear} asked; without it the gates that need it have nothing to say
   */
  decide(now: number, evidence?: Evidence): DispatchRequest | undefined {
    const asked = this.#asked;
    this.#asked = undefined;
    if (asked && evidence) {
      this.#desk.slots.take(asked.leases, evidence.leases);
      weigh(this.#desk, evidence, asked.suspects, now);
    }
    const leases = Object.entries(asked?.leases ?? {}).filter(([, { want }]) => want > 0);
    this.#leased = new Set(leases.map(([key]) => key));
    for (const undecided of this.#rename(this.#hand.splice(0), evidence)) this.#decide(undecided, now, evidence);
    this.#desk.queue.reckon();
    return this.#desk.work(now);
  }

  /** Takes in what the server said to `work`. */
  dispatched(work: DispatchRequest, result: DispatchResult, now: number): void {
    const { running, queue } = this.#desk;
    work.starts.forEach((start, at) => {
      const said = result.starts[at];
      if (!said) return;
      const { episode, request, since } = start;
      const { target } = request;
      const acts = holds(work.rule, request);
      const workflowId = acts ? remediationId(target) : proposalId(work.rule.name, target);
      const runId = 'started' in said ? said.started : said.busy;
      const queued = this.#answers.hadWaited(episode);
      // A proposal of the rule that is under way already proposes what this one would.
      if ('started' in said || !acts) {
        running.started(start, runId);
        this.state.tally.admit += 1;
        this.#answers.tell(episode, { decision: { answer: 'admit' }, remediation: { workflowId, runId } });
        return;
      }
      this.#takeBack(start);
      const reason = `rule ${said.by ?? 'unknown'} has an open remediation of the target`;
      const busy: Wait = { answer: 'wait', gate: 'target-busy', reason };
      const notBefore = now + BUSY_ELSEWHERE;
      if (queued) queue.add({ ...queued, gate: busy.gate, reason, notBefore });
      const decision = queued ? busy : keep(this.#desk, request, busy, { since, now, notBefore });
      this.#answers.tell(episode, { decision, remediation: { workflowId, runId } });
    });
    for (const over of result.ended) {
      const { episode } = (over.proposal ? this.state.proposed?.[over.target] : this.state.open[over.target]) ?? {};
      // Its word is on its way, and will be heard next.
      if (this.#inbox.some((news) => 'report' in news && news.report.episode === episode)) continue;
      free(this.#desk, over, now);
    }
    queue.reckon();
  }

  /** When something is due without news; infinity for never. */
  nextDue(now: number): number {
    const { queue, storm, running, memory } = this.#desk;
    const { open, proposed = {}, rule } = this.state;
    if (!rule || this.idle) return Number.POSITIVE_INFINITY;
    const due = [queue.due, storm.due, running.due(queue.length > 0)];
    // Where nothing waits: wake once, when the last memory may be forgotten, and end.
    if (queue.length + Object.keys(open).length + Object.keys(proposed).length === 0 && !this.state.storm)
      due.push(memory.last(rule.gates.retries.per));
    return Math.max(now, Math.min(...due));
  }

  /** The state for the next run, small enough to be carried. */
  carry(): ResponderState {
    const { memory, queue } = this.#desk;
    queue.settle();
    if (memory.isTooLarge) queue.forgetLabels();
    memory.fit();
    return this.state;
  }

  /** What was in hand when the look was cut short. */
  #takeUp(): void {
    this.#asked = undefined;
    const hand = this.#hand.splice(0);
    for (const { queued } of hand) if (queued) this.#desk.queue.again(queued);
    this.#fresh.putFirst(hand.filter(({ queued }) => !queued));
  }

  #receive(batch: Batch, answer: Answer | undefined, now: number): void {
    this.#obey(batch);
    const { state, rule, running } = this.#desk;
    for (const { status, ...alert } of batch.requests) {
      const request = { ...alert, target: running.nameOf(alert), delivery: batch.delivery };
      if (status === 'resolved') {
        this.#resolve(request, now);
        continue;
      }
      const repeat =
        this.#adopt(request) ??
        (this.#fresh.has(request)
          ? ({ answer: 'coalesce', gate: 'duplicate', reason: 'it is being decided' } as const)
          : duplicate({ request, rule, state, now }));
      if (repeat) this.#conclude({ request, since: now, answer }, repeat, now);
      else this.#fresh.add({ request, since: now, answer });
    }
  }

  /** What a person has approved waits already, or is being decided, as an alert that came again: it is that, approved. */
  #adopt(request: Delivered): Decision | undefined {
    const { approval } = request;
    const { queue, state } = this.#desk;
    const queued = state.queue[alertKey(request)];
    if (!approval || !(this.#fresh.has(request) || queued)) return undefined;
    this.#fresh.approve(request, approval);
    if (queued && !queued.approval) {
      queue.remove(queued);
      queue.add({ ...queued, approval });
      queue.wake('all');
    }
    return { answer: 'coalesce', gate: 'duplicate', reason: 'it waits already, and is approved now' };
  }

  /** The newest rule rules: what was admitted under another one, and is not yet asked of the server, is decided anew. */
  #obey({ rule, ruleDigest, requests }: Batch): void {
    const { state, queue, running } = this.#desk;
    // A remediation says that its alert is resolved, or its plan approved, and its rule may be an older one.
    const isAside = requests.length > 0 && requests.every(({ status, approval }) => status === 'resolved' || approval);
    if (state.rule && isAside) return;
    const changed = state.ruleDigest !== undefined && state.ruleDigest !== ruleDigest;
    state.rule = completed(rule);
    state.ruleDigest = ruleDigest;
    queue.waitAtMost = rule.gates.waitAtMost;
    if (!changed) return;
    queue.wake('all');
    const pending = [...running.starts];
    for (const start of pending) this.#takeBack(start);
    const undecided = pending.flatMap(({ request, since, episode }) => {
      const queued = this.#answers.hadWaited(episode);
      if (queued) queue.add(queued);
      return queued ? [] : [{ request, since, answer: this.#answers.askedBy(episode) }];
    });
    this.#fresh.putFirst(undecided);
  }

  #shelve(): void {
    for (const undecided of this.#fresh.take()) {
      const decision = shelve(this.#desk, undecided);
      if (undecided.answer) undecided.answer.settled = { decision };
    }
  }

  /** In a storm no evidence is read for each: all of them are held anyhow. */
  #hold(now: number): void {
    const { queue } = this.#desk;
    for (let more = true; more; ) {
      const next = queue.next(now, MOST_LOOKED_AT, () => true);
      for (const queued of next.chunk) this.#decide({ request: queued, since: queued.since, queued }, now);
      more = next.more;
    }
    for (const undecided of this.#fresh.take()) this.#decide(undecided, now);
  }

  /** Those who wait and whose turn it is, and behind them those who came. */
  #nextHand(now: number): Asked[] {
    const { queue, room, rule } = this.#desk;
    const { chunk, more } = queue.next(now, room, (queued) => room > 0 || !holds(rule, queued));
    const waiting = chunk.map((queued) => ({ request: queued, since: queued.since, queued }));
    return more ? waiting : [...waiting, ...this.#fresh.take(MOST_LOOKED_AT - waiting.length)];
  }

  /** What to look at: for those in hand, or, where none is, whether the storm is over. */
  #question(now: number): LookRequest {
    const fresh = this.#fresh.requests;
    this.#questions += 1;
    this.#asked = questionOf(this.#desk, { hand: this.#hand, fresh, now, number: this.#questions });
    return this.#asked;
  }

  /** What turned out to be the other name of something is decided with the next look, by its true one. @returns the rest */
  #rename(hand: Asked[], evidence: Evidence | undefined): Asked[] {
    const nameOf = ({ request: { target } }: Asked): string => evidence?.targets[target]?.canonical ?? target;
    const others = hand.filter((undecided) => nameOf(undecided) !== undecided.request.target);
    if (others.length === 0) return hand;
    for (const undecided of others) {
      const { queued } = undecided;
      if (!queued) continue;
      this.#desk.queue.rename(queued, nameOf(undecided));
      this.#desk.queue.again(queued);
    }
    const fresh = others.filter(({ queued }) => !queued);
    this.#fresh.putFirst(fresh.map((one) => ({ ...one, request: { ...one.request, target: nameOf(one) } })));
    return hand.filter((undecided) => !others.includes(undecided));
  }

  #decide(undecided: Asked, now: number, evidence?: Evidence): void {
    const { request, queued } = undecided;
    const { rule, state } = this.#desk;
    const decision = decide({ request, rule, state, now, evidence, waiting: queued !== undefined });
    this.#conclude(undecided, decision, now, evidence);
  }

  /** Does what was decided. */
  #conclude(undecided: Asked, decision: Decision, now: number, evidence?: Evidence): void {
    const { request, since, queued, answer } = undecided;
    const isElsewhere =
      decision.answer === 'wait' && decision.gate === 'target-busy' && !this.state.open[request.target];
    const notBefore = isElsewhere ? now + BUSY_ELSEWHERE : undefined;
    if (queued && decision.answer === 'wait') {
      goOnWaiting(this.#desk, queued, decision, now);
      queued.notBefore = notBefore ?? queued.notBefore;
      // Nothing else is in its way any more: it asks for a slot at once.
      if (decision.gate === 'limits' && !this.#leased.has(limitsKey(request.target))) queued.notBefore = now;
      return;
    }
    if (queued) this.#desk.queue.remove(queued);
    let came = decision;
    if (decision.answer === 'admit') this.#admit(undecided, now, evidence);
    else if (decision.answer === 'wait') came = keep(this.#desk, request, decision, { since, now, notBefore });
    else if (decision.answer === 'refuse') refuse(this.#desk, request, decision, since, now);
    else this.state.tally.coalesce += 1;
    if (answer && came.answer !== 'admit')
      answer.settled = { decision: came, ...this.#desk.running.standing(request.target, this.state.rule) };
  }

  #admit({ request, since, queued, answer }: Asked, now: number, evidence: Evidence | undefined): void {
    const { memory, rule, running, slots } = this.#desk;
    const workload = evidence?.targets[request.target]?.workload;
    const tries = queued?.after === undefined ? undefined : (queued.tries ?? 0) + 1;
    const about = { since, after: queued?.after, ...(workload !== undefined && { workload }), ...(tries && { tries }) };
    const start = running.start(queued ? deliveredOf(queued) : request, rule, about, now);
    if (holds(rule, request)) slots.use(request.target);
    // Nobody waits to hear of the end of what only observes: it is settled as soon as it is asked for.
    else if (rule.mode === 'observe') memory.settle(request, 'observed', now, isTick(request) ? TOLD_TWICE : undefined);
    this.#answers.keep(start.episode, { answer, queued });
  }

  /** As if it had never been admitted. */
  #takeBack(start: Start): void {
    const { running, slots } = this.#desk;
    const { settled } = this.state;
    const { request } = start;
    if (running.takeBack(start)) slots.spare(request.target);
    else if (settled[alertKey(request)]?.outcome === 'observed') delete settled[alertKey(request)];
  }

  /** Resolved: what waits is dropped, what runs is told, and what is settled may be forgotten after the cooldown. */
  #resolve(request: Delivered, now: number): void {
    const { queue, rule, running, state } = this.#desk;
    // A late word of the end of an earlier firing says nothing of a newer one.
    const isOver = ({ startsAt }: { startsAt: string }): boolean => startsAt <= request.startsAt;
    const isIt = (other: Delivered): boolean => other.fingerprint === request.fingerprint && isOver(other);
    for (const queued of queue.drop(request.fingerprint, isOver))
      drop(this.#desk, queued, 'its alert was resolved while it waited');
    const settled = state.settled[alertKey(request)];
    if (settled) settled.until = Math.min(settled.until, now + rule.gates.cooldown);
    // Admitted, but not yet asked of the server, or not even decided: it is as if it had never come.
    const pending = running.resolve(request, isOver);
    for (const start of pending) {
      this.#takeBack(start);
      this.#answers.hadWaited(start.episode);
    }
    if (pending.length > 0) queue.wake('end');
    const undecided = this.#fresh.drop(isIt);
    const answers = [
      ...pending.map(({ episode }) => this.#answers.askedBy(episode)),
      ...undecided.map(({ answer }) => answer),
    ];
    state.tally.coalesce += answers.length;
    const reason = 'the alert was resolved before it started';
    for (const answer of answers)
      if (answer) answer.settled = { decision: { answer: 'coalesce', gate: 'duplicate', reason } };
  }

  #settle(report: EndReport, now: number): void {
    this.state.rule ??= completed(report.rule);
    this.state.ruleDigest ??= report.ruleDigest;
    settle(this.#desk, report, now);
  }
}
