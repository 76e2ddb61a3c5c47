import type { AuditEntry } from '../model/audit.ts';
import { type DispatchRequest, type DispatchResult, MAX_STARTS, type Start } from '../model/dispatch.ts';
import { alertKey, decide, holds } from '../model/gates.ts';
import { proposalId, remediationId } from '../model/names.ts';
import { COOLS, SETTLES } from '../model/outcome.ts';
import type { EndReport } from '../model/remediation.ts';
import type { Batch, Decision, RecordedAlert, Request, RunAnswer } from '../model/request.ts';
import type { Queued, ResponderInput, ResponderState } from '../model/responder.ts';
import type { ResolvedRule } from '../model/rule.ts';
import { Memory } from './memory.ts';
import { Queue } from './queue.ts';

const MINUTE = 60_000;
/** How often open remediations are looked at, for one that was terminated by hand ends without a word. */
const CHECK_WAITED_FOR = MINUTE;
const CHECK = 10 * MINUTE;

/** Answer to `salvor run`, filled in when it is known. */
export interface Answer {
  settled?: RunAnswer;
}

type News = { batch: Batch; answer?: Answer } | { report: EndReport };
type Wait = Decision & { answer: 'wait' };
/** A request, and the delivery that brought it. */
type Delivered = Omit<Request, 'status'> & { delivery: string };

/**
 * The state of one responder and all that changes it. Knows nothing of Temporal: it is told what came and what time it
 * is (milliseconds since the epoch), and says what to ask of the server.
 */
export class Admission {
  readonly state: ResponderState;
  readonly #queue: Queue;
  readonly #memory: Memory;
  readonly #responder: string;
  readonly #scope: string;
  readonly #note: (entry: AuditEntry) => void;
  readonly #inbox: News[] = [];
  /** Admitted under the rule as it is now, and not yet asked of the server. */
  #starts: Start[] = [];
  #resolved: DispatchRequest['resolved'] = [];
  /** Who waits to be told, by episode. */
  readonly #answers = new Map<string, Answer>();
  #checked: number;
  /** Something became free since those who wait were last decided; so it is taken to be at the begin of a run. */
  #freed = true;

  constructor(
    input: ResponderInput,
    info: { workflowId: string; startTime: Date },
    note: (entry: AuditEntry) => void = () => undefined,
  ) {
    this.#responder = info.workflowId;
    this.#scope = input.scope;
    this.#checked = info.startTime.getTime();
    this.state = input.state ?? {
      open: {},
      queue: {},
      settled: {},
      cooling: {},
      attempts: {},
      tally: { admit: 0, wait: 0, refuse: 0, coalesce: 0 },
    };
    this.#queue = new Queue(this.state);
    this.#memory = new Memory(this.state);
    this.#note = note;
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

  get hasNews(): boolean {
    return this.#inbox.length > 0;
  }

  /** There is something to decide at once. */
  get pressing(): boolean {
    return this.hasNews || (this.#freed && this.#queue.length > 0);
  }

  /** Nothing is open, queued, cooling or counted: the workflow may end. */
  get idle(): boolean {
    const { open, queue, settled, cooling, attempts } = this.state;
    return [open, queue, settled, cooling, attempts].every((kept) => Object.keys(kept).length === 0);
  }

  /**
   * Handles all news and decides anew what waits; answers what to ask of the server, if anything.
   *
   * @param closing the run is about to continue as new: what would be admitted waits for the next run
   */
  decide(now: number, closing = false): DispatchRequest | undefined {
    for (let news = this.#inbox.shift(); news; news = this.#inbox.shift()) {
      if ('report' in news) this.#settle(news.report, now);
      else this.#receive(news.batch, news.answer, now, closing);
    }
    if (this.state.rule) this.#memory.forget(now, this.state.rule.gates.retries.per);
    if (!closing) this.#decideWaiting(now);
    return this.#work(now);
  }

  /** Takes in what the server said to `work`. */
  dispatched(work: DispatchRequest, result: DispatchResult, now: number): void {
    const observes = work.rule.mode === 'observe';
    work.starts.forEach((start, at) => {
      const said = result.starts[at];
      if (!said) return;
      const { episode, request } = start;
      const workflowId = observes ? proposalId(work.rule.name, request.target) : remediationId(request.target);
      // A proposal of the rule that is under way already proposes what this one would.
      if ('started' in said || observes) {
        const runId = 'started' in said ? said.started : said.busy;
        const open = this.state.open[request.target];
        if (open?.episode === episode) open.runId = runId;
        this.state.tally.admit += 1;
        this.#tell(episode, { decision: { answer: 'admit' }, remediation: { workflowId, runId } });
        return;
      }
      this.#takeBack(start);
      const reason = `rule ${said.by ?? 'unknown'} has an open remediation of the target`;
      const busy: Wait = { answer: 'wait', gate: 'target-busy', reason };
      const decision = this.#keep(request, busy, { since: start.since, notBefore: now + CHECK_WAITED_FOR, now });
      this.state.tally[decision.answer] += 1;
      this.#tell(episode, { decision, remediation: { workflowId, runId: said.busy } });
    });
    for (const over of result.ended) this.#free(over, now);
  }

  /** When something is due without news; infinity for never. */
  nextDue(now: number): number {
    const { open, rule } = this.state;
    if (!rule || this.idle) return Number.POSITIVE_INFINITY;
    const due = [this.#queue.due];
    if (Object.keys(open).length > 0) due.push(this.#nextCheck);
    // Where nothing waits: wake once, when the last memory may be forgotten, and end.
    else if (this.#queue.length === 0) due.push(this.#memory.last(rule.gates.retries.per));
    return Math.max(now, Math.min(...due));
  }

  /** The state for the next run, small enough to be carried. */
  carry(): ResponderState {
    this.#memory.fit();
    return this.state;
  }

  get #nextCheck(): number {
    return this.#checked + (this.#queue.length > 0 ? CHECK_WAITED_FOR : CHECK);
  }

  get #rule(): ResolvedRule {
    // Set by the first news, and nothing is decided before it.
    return this.state.rule as ResolvedRule;
  }

  #receive(batch: Batch, answer: Answer | undefined, now: number, closing: boolean): void {
    this.#obey(batch, now);
    // Those who wait are older than what came now: what became free is theirs.
    if (this.#freed && !closing) this.#decideWaiting(now);
    for (const { status, ...alert } of batch.requests) {
      const request = { ...alert, delivery: batch.delivery };
      if (status === 'resolved') {
        this.#resolve(request, now);
        continue;
      }
      let decision = decide({ request, rule: batch.rule, state: this.state, now });
      if (closing && decision.answer === 'admit')
        decision = { answer: 'wait', gate: 'in-flight', reason: 'the responder is about to continue as new' };
      decision = this.#carryOut(request, decision, { since: now, now, answer });
      if (answer && decision.answer !== 'admit') answer.settled = { decision, ...this.#openOf(request.target) };
    }
  }

  /** The newest rule rules: what was admitted under another one, and is not yet asked of the server, is decided anew. */
  #obey(batch: Batch, now: number): void {
    const { state } = this;
    const changed = state.ruleDigest !== undefined && state.ruleDigest !== batch.ruleDigest;
    const pending = changed ? this.#starts.splice(0) : [];
    for (const start of pending) this.#takeBack(start);
    state.rule = batch.rule;
    state.ruleDigest = batch.ruleDigest;
    this.#freed ||= changed;
    this.#queue.waitAtMost = batch.rule.gates.waitAtMost;
    for (const { request, since, episode } of pending) {
      const answer = this.#answers.get(episode);
      this.#answers.delete(episode);
      const decision = decide({ request, rule: batch.rule, state, now });
      const came = this.#carryOut(request, decision, { since, now, answer });
      if (answer && came.answer !== 'admit') answer.settled = { decision: came, ...this.#openOf(request.target) };
    }
  }

  #openOf(target: string): Pick<RunAnswer, 'remediation'> {
    const open = this.state.open[target];
    return open?.runId ? { remediation: { workflowId: remediationId(target), runId: open.runId } } : {};
  }

  /** Does what was decided; answers the decision that came of it (a full queue turns waiting into refusal). */
  #carryOut(
    request: Delivered,
    decision: Decision,
    { since, now, answer }: { since: number; now: number; answer?: Answer | undefined },
  ): Decision {
    const { tally } = this.state;
    if (decision.answer === 'wait') {
      const came = this.#keep(request, decision, { since, now });
      tally[came.answer] += 1;
      return came;
    }
    if (decision.answer === 'admit') {
      const { episode } = this.#admit(request, since, now);
      if (answer) this.#answers.set(episode, answer);
      return decision;
    }
    if (decision.answer === 'refuse') {
      this.#memory.refuse(request, decision.reason, now);
      this.#decided(request, decision, since);
    }
    tally[decision.answer] += 1;
    return decision;
  }

  #admit(request: Delivered, since: number, now: number): Start {
    const { state } = this;
    const { fingerprint, startsAt, target } = request;
    const observes = this.#rule.mode === 'observe';
    // Of what came only, and of nothing that depends on what else had come when this was decided: see Batch.delivery.
    const alert = alertKey(request);
    const episode = observes ? alert : `${this.#rule.name}/${request.delivery}/${alert}`;
    const start: Start = { episode, request, since };
    this.#starts.push(start);
    // A proposal holds neither target nor slot, and reports to nobody: it is settled as soon as it is asked for.
    if (observes) this.#memory.settle(request, 'observed', now);
    else state.open[target] = { episode, runId: '', fingerprint, startsAt, since: now };
    return start;
  }

  /** As if it had never been admitted. */
  #takeBack({ episode, request }: Start): void {
    const { open, settled } = this.state;
    if (open[request.target]?.episode === episode) delete open[request.target];
    if (settled[alertKey(request)]?.outcome === 'observed') delete settled[alertKey(request)];
  }

  #keep(
    request: Delivered,
    { gate, reason, ...wait }: Wait,
    { since, notBefore, now }: { since: number; notBefore?: number; now: number },
  ): Wait | (Decision & { answer: 'refuse' }) {
    if (this.#queue.isFull(this.#rule.gates.maxQueue)) {
      this.#memory.settle(request, 'refused', now);
      const full: Decision & { answer: 'refuse' } = {
        answer: 'refuse',
        gate: 'queue-full',
        reason: `${this.#queue.length} requests wait already (${reason})`,
      };
      this.#decided(request, full, since);
      return full;
    }
    const { delivery, fingerprint, startsAt, target, alertname, digest, by } = request;
    const alert = { fingerprint, startsAt, target, alertname, digest, by };
    this.#queue.add({ ...alert, delivery, since, gate, reason, notBefore });
    this.#decided(request, { ...wait, gate, reason }, since);
    return { ...wait, gate, reason };
  }

  /** On record, once: what waits and is decided anew to go on waiting says nothing new. */
  #decided(request: Delivered | Queued, decision: Wait | (Decision & { answer: 'refuse' }), since: number): void {
    const { name: rule, mode } = this.#rule;
    const ruleDigest = this.state.ruleDigest ?? '';
    const about = { scope: this.#scope, rule, ruleDigest, mode, target: request.target, alert: recorded(request) };
    this.#note({ kind: 'decision', ...about, decision, since: new Date(since).toISOString() });
  }

  /** Resolved: what waits is dropped, what is open is told, and what is settled may be forgotten after the cooldown. */
  #resolve(request: Delivered, now: number): void {
    const { state } = this;
    // A late word of the end of an earlier firing says nothing of a newer one.
    const isOver = ({ startsAt }: { startsAt: string }): boolean => startsAt <= request.startsAt;
    for (const queued of this.#queue.drop(request.fingerprint, isOver)) {
      const why = 'its alert was resolved while it waited';
      this.#note({ kind: 'dropped', target: queued.target, rule: this.#rule.name, alert: recorded(queued), why });
    }
    const forgetAt = now + this.#rule.gates.cooldown;
    const settled = state.settled[alertKey(request)];
    if (settled) settled.until = Math.min(settled.until, forgetAt);
    const open = state.open[request.target];
    if (open?.fingerprint !== request.fingerprint || !isOver(open)) return;
    open.resolved = true;
    const start = this.#starts.find(({ episode }) => episode === open.episode);
    if (open.runId) this.#resolved.push({ target: request.target, runId: open.runId });
    if (!start) return;
    // Admitted, but not yet asked of the server: it is as if it had never come.
    this.#starts = this.#starts.filter((other) => other !== start);
    this.#takeBack(start);
    this.#freed = true;
    state.tally.coalesce += 1;
    const reason = 'the alert was resolved before it started';
    this.#tell(open.episode, { decision: { answer: 'coalesce', gate: 'duplicate', reason } });
  }

  /** Applying the same report twice changes nothing more. */
  #settle(report: EndReport, now: number): void {
    const { state } = this;
    const { target, outcome, episode, alert } = report;
    this.#freed = true;
    state.rule ??= report.rule;
    state.ruleDigest ??= report.ruleDigest;
    const open = state.open[target]?.episode === episode ? state.open[target] : undefined;
    if (open) delete state.open[target];
    const at = Date.parse(report.at);
    const { cooldown } = this.#rule.gates;
    if (COOLS.has(outcome)) state.cooling[target] = at + cooldown;
    if (SETTLES.has(outcome) && !state.settled[alertKey(alert)])
      this.#memory.settle(alert, outcome, now, open?.resolved && cooldown);
    const attempts = state.attempts[target] ?? [];
    if (outcome === 'failed' && !attempts.some((attempt) => attempt.episode === episode))
      state.attempts[target] = [...attempts, { episode, at }];
  }

  /** A remediation that ended without a word. */
  #free({ target, runId }: { target: string; runId: string }, now: number): void {
    const open = this.state.open[target];
    if (open?.runId !== runId) return;
    // Its word is on its way, and will be heard next.
    if (this.#inbox.some((news) => 'report' in news && news.report.episode === open.episode)) return;
    this.#freed = true;
    delete this.state.open[target];
    // Whoever terminated it wants the target left alone.
    this.state.cooling[target] = now + this.#rule.gates.cooldown;
  }

  /** Oldest first: each is decided as if those behind it had not come. */
  #decideWaiting(now: number): void {
    if (!this.#freed && now < this.#queue.due) return;
    this.#freed = false;
    const { state } = this;
    const rule = this.#rule;
    const due = this.#queue.due <= now;
    for (const queued of this.#queue.all()) {
      // The rest can only go on waiting.
      if (!due && holds(rule) && Object.keys(state.open).length >= rule.gates.maxInFlight) break;
      if (queued.since + rule.gates.waitAtMost <= now) {
        this.#queue.remove(queued);
        const refused = { answer: 'refuse', gate: queued.gate, reason: `waited too long: ${queued.reason}` } as const;
        this.#carryOut(queued, refused, { since: queued.since, now });
      } else if ((queued.notBefore ?? 0) <= now) {
        const decision = decide({ request: queued, rule, state, now, waiting: true });
        queued.notBefore = undefined;
        if (decision.answer === 'wait') {
          queued.gate = decision.gate;
          queued.reason = decision.reason;
        } else {
          this.#queue.remove(queued);
          this.#carryOut(queued, decision, { since: queued.since, now });
        }
      }
    }
    this.#queue.reckon();
  }

  #work(now: number): DispatchRequest | undefined {
    const { open, rule, ruleDigest } = this.state;
    const due = Object.keys(open).length > 0 && this.#nextCheck <= now;
    if (!rule || !ruleDigest || (this.#starts.length === 0 && this.#resolved.length === 0 && !due)) return undefined;
    if (due) this.#checked = now;
    const check = due ? Object.entries(open).map(([target, { runId }]) => ({ target, runId })) : [];
    return {
      responder: this.#responder,
      scope: this.#scope,
      rule,
      ruleDigest,
      starts: this.#starts.splice(0, MAX_STARTS),
      resolved: this.#resolved.splice(0),
      check: check.filter(({ runId }) => runId !== ''),
    };
  }

  #tell(episode: string, answer: RunAnswer): void {
    const asked = this.#answers.get(episode);
    if (asked) asked.settled = answer;
    this.#answers.delete(episode);
  }
}

const recorded = (request: Delivered | Queued): RecordedAlert => {
  const { fingerprint, startsAt, alertname, digest, by } = request;
  const { labels, annotations } = request as Delivered;
  return {
    fingerprint,
    startsAt,
    alertname,
    digest,
    by,
    ...(labels && { labels }),
    ...(annotations && { annotations }),
  };
};
