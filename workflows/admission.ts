import { type DispatchRequest, type DispatchResult, MAX_STARTS } from '../model/dispatch.ts';
import { alertKey, decide } from '../model/gates.ts';
import { proposalId, remediationId } from '../model/names.ts';
import { COOLS, SETTLES } from '../model/outcome.ts';
import type { EndReport } from '../model/remediation.ts';
import type { Batch, Decision, Request, RunAnswer } from '../model/request.ts';
import type { Queued, ResponderInput, ResponderState } from '../model/responder.ts';
import type { ResolvedRule } from '../model/rule.ts';

const MINUTE = 60_000;
/** How long a settled alert that keeps firing is remembered; after that it is looked at afresh. */
const REMEMBER = 24 * 60 * MINUTE;
const MAX_SETTLED = 1_000;
/** Carried state; the server's limit for one payload is 2 MiB. */
const MAX_CARRIED = 512 * 1024;
/** Of which what waits takes at most this, whatever `maxQueue` allows. */
const MAX_QUEUED = 320 * 1024;
/** How often open remediations are looked at, for one that was terminated by hand ends without a word. */
const CHECK_WAITED_FOR = MINUTE;
const CHECK = 10 * MINUTE;

/** Answer to `salvor run`, filled in when it is known. */
interface Answer {
  settled?: RunAnswer;
}

type News = { batch: Batch; answer?: Answer } | { report: EndReport };

/**
 * The state of one responder and all that changes it. Knows nothing of Temporal: it is told what came and what time it
 * is, and says what to ask of the server.
 */
export class Admission {
  readonly state: ResponderState;
  readonly #responder: string;
  readonly #scope: string;
  readonly #run: string;
  readonly #inbox: News[] = [];
  #starts: DispatchRequest['starts'] = [];
  #resolved: DispatchRequest['resolved'] = [];
  readonly #answers = new Map<string, Answer>();
  #checked: number;
  /** A slot or a target became free since those who wait were last decided. */
  #freed = false;
  readonly #waiting = { count: 0, bytes: 0 };

  constructor(input: ResponderInput, info: { workflowId: string; firstExecutionRunId: string; startTime: Date }) {
    this.#responder = info.workflowId;
    this.#scope = input.scope;
    this.#run = info.firstExecutionRunId;
    this.#checked = info.startTime.getTime();
    this.state = input.state ?? {
      open: {},
      queue: {},
      settled: {},
      cooling: {},
      attempts: {},
      counter: 0,
      tally: { admit: 0, wait: 0, refuse: 0, coalesce: 0 },
    };
    for (const queued of Object.values(this.state.queue)) {
      this.#waiting.count += 1;
      this.#waiting.bytes += sizeOf(queued);
    }
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

  /** Nothing is open, queued, cooling or counted: the workflow may end. */
  get idle(): boolean {
    const { open, queue, settled, cooling, attempts } = this.state;
    return [open, queue, settled, cooling, attempts].every((kept) => Object.keys(kept).length === 0);
  }

  /** Handles all news and decides anew what waits; answers what to ask of the server, if anything. */
  decide(now: number): DispatchRequest | undefined {
    for (let news = this.#inbox.shift(); news; news = this.#inbox.shift()) {
      if ('report' in news) this.#settle(news.report, now);
      else this.#receive(news.batch, news.answer, now);
    }
    this.#forget(now);
    this.#decideWaiting(now);
    return this.#work(now);
  }

  /** Takes in what the server said to `work`. */
  dispatched(work: DispatchRequest, result: DispatchResult, now: number): void {
    const observes = work.rule.mode === 'observe';
    work.starts.forEach(({ episode, request }, at) => {
      const said = result.starts[at];
      if (!said) return;
      const { target } = request;
      const workflowId = observes ? proposalId(work.rule.name, target) : remediationId(target);
      const open = this.state.open[target];
      const mine = open?.episode === episode ? open : undefined;
      // A proposal of the rule that is under way already proposes what this one would.
      if ('started' in said || observes) {
        const runId = 'started' in said ? said.started : said.busy;
        if (mine) mine.runId = runId;
        this.#tell(episode, { decision: { answer: 'admit' }, remediation: { workflowId, runId } });
        return;
      }
      if (mine) delete this.state.open[target];
      const reason = `rule ${said.by ?? 'unknown'} has an open remediation of the target`;
      const busy = { answer: 'wait', gate: 'target-busy', reason } as const;
      const decision = this.#keep(request, busy, now, now + CHECK_WAITED_FOR);
      this.#tell(episode, { decision, remediation: { workflowId, runId: said.busy } });
    });
    for (const target of result.ended) {
      this.#freed = true;
      delete this.state.open[target];
      // Its report, if there is one, may still be on its way; whoever terminated it wants the target left alone.
      this.state.cooling[target] = now + this.#rule.gates.cooldown;
    }
  }

  /** Milliseconds since the epoch at which something is due without news; infinity for never. */
  nextDue(now: number): number {
    const { open, queue, settled, cooling, attempts, rule } = this.state;
    if (!rule || this.idle) return Number.POSITIVE_INFINITY;
    const due = Object.values(queue).flatMap((queued) => [
      queued.since + rule.gates.waitAtMost,
      queued.notBefore ?? cooling[queued.target] ?? Number.POSITIVE_INFINITY,
    ]);
    if (Object.keys(open).length > 0) due.push(this.#nextCheck);
    if (due.length === 0) {
      // Nothing waits: wake once, when the last memory may be forgotten, and end.
      const last = Object.values(attempts).flatMap((at) => at.map((time) => time + rule.gates.retries.per));
      due.push(Math.max(...last, ...Object.values(cooling), ...Object.values(settled).map(({ until }) => until)));
    }
    return Math.max(now, Math.min(...due));
  }

  /** The state for the next run, small enough to be carried. */
  carry(): ResponderState {
    const settled = Object.keys(this.state.settled);
    while (settled.length > 0 && JSON.stringify(this.state).length > MAX_CARRIED)
      for (const key of settled.splice(0, 100)) delete this.state.settled[key];
    return this.state;
  }

  get #nextCheck(): number {
    return this.#checked + (this.#waiting.count > 0 ? CHECK_WAITED_FOR : CHECK);
  }

  get #rule(): ResolvedRule {
    // Set by the first news, and nothing is decided before it.
    return this.state.rule as ResolvedRule;
  }

  #receive(batch: Batch, answer: Answer | undefined, now: number): void {
    this.state.rule = batch.rule;
    this.state.ruleDigest = batch.ruleDigest;
    // Those who wait are older than what came now: what became free is theirs.
    if (this.#freed) this.#decideWaiting(now);
    for (const request of batch.requests) {
      if (request.status === 'resolved') {
        this.#resolve(request, now);
        continue;
      }
      const decision = this.#admit(request, decide({ request, rule: batch.rule, state: this.state, now }), now, answer);
      this.state.tally[decision.answer] += 1;
      if (answer && decision.answer !== 'admit') answer.settled = { decision, ...this.#openOf(request.target) };
    }
  }

  #openOf(target: string): Pick<RunAnswer, 'remediation'> {
    const open = this.state.open[target];
    return open?.runId ? { remediation: { workflowId: remediationId(target), runId: open.runId } } : {};
  }

  /** Carries a decision out; answers the one that came of it (a full queue turns waiting into refusal). */
  #admit(request: Omit<Request, 'status'>, decision: Decision, now: number, answer?: Answer): Decision {
    if (decision.answer === 'coalesce') return decision;
    if (decision.answer === 'refuse') {
      this.#remember(request, 'refused', decision.reason, now + REMEMBER);
      return decision;
    }
    if (decision.answer === 'wait') return this.#keep(request, decision, now);
    this.state.counter += 1;
    const episode = `${this.#run}/${this.state.counter}`;
    const { fingerprint, startsAt, target, alertname, digest, by } = request;
    this.#starts.push({ episode, request: { fingerprint, startsAt, target, alertname, digest, by } });
    if (answer) this.#answers.set(episode, answer);
    // A proposal holds neither target nor slot, and reports to nobody: it is settled as soon as it is asked for.
    if (this.#rule.mode === 'observe') this.#remember(request, 'observed', 'the rule only observes', now + REMEMBER);
    else this.state.open[target] = { episode, runId: '', fingerprint, startsAt, since: now };
    return decision;
  }

  #keep(
    request: Omit<Request, 'status'>,
    decision: Decision & { answer: 'wait' },
    now: number,
    notBefore?: number,
  ): Decision {
    const { maxQueue } = this.#rule.gates;
    if (this.#waiting.count >= maxQueue || this.#waiting.bytes >= MAX_QUEUED) {
      const reason = `${this.#waiting.count} requests wait already (${decision.reason})`;
      this.#remember(request, 'refused', reason, now + REMEMBER);
      return { answer: 'refuse', gate: 'queue-full', reason };
    }
    const { fingerprint, startsAt, target, alertname, digest, by } = request;
    const { gate, reason } = decision;
    const queued = { fingerprint, startsAt, target, alertname, digest, by, since: now, gate, reason, notBefore };
    this.#enqueue(queued);
    return decision;
  }

  /** Resolved: what waits is dropped, what is open is told, and what is settled may be forgotten after the cooldown. */
  #resolve(request: Request, now: number): void {
    const { state } = this;
    for (const [key, { fingerprint }] of Object.entries(state.queue))
      if (fingerprint === request.fingerprint) this.#dequeue(key);
    const settled = state.settled[alertKey(request)];
    if (settled) settled.until = Math.min(settled.until, now + this.#rule.gates.cooldown);
    const open = state.open[request.target];
    if (open?.fingerprint !== request.fingerprint) return;
    open.resolved = true;
    if (open.runId) {
      this.#resolved.push({ target: request.target, runId: open.runId });
      return;
    }
    // Admitted, but not yet asked of the server: it is as if it had never come.
    const start = this.#starts.find(({ episode }) => episode === open.episode);
    if (!start) return;
    this.#starts = this.#starts.filter((other) => other !== start);
    delete state.open[request.target];
    this.#tell(open.episode, {
      decision: { answer: 'coalesce', gate: 'duplicate', reason: 'the alert was resolved before it started' },
    });
  }

  /** Applying the same report twice changes nothing more. */
  #settle(report: EndReport, now: number): void {
    const { state } = this;
    const { target, outcome } = report;
    this.#freed = true;
    state.rule ??= report.rule;
    state.ruleDigest ??= report.ruleDigest;
    const open = state.open[target]?.episode === report.episode ? state.open[target] : undefined;
    if (open) delete state.open[target];
    const at = Date.parse(report.at);
    if (COOLS.has(outcome)) state.cooling[target] = at + this.#rule.gates.cooldown;
    const remember = open?.resolved ? this.#rule.gates.cooldown : REMEMBER;
    if (SETTLES.has(outcome) && !state.settled[alertKey(report.alert)])
      this.#remember(report.alert, outcome, report.reason, now + remember);
    if (outcome !== 'failed') return;
    const attempts = state.attempts[target] ?? [];
    if (!attempts.includes(at)) state.attempts[target] = [...attempts, at];
  }

  #remember(alert: { fingerprint: string; startsAt: string }, outcome: string, reason: string, until: number): void {
    const { settled } = this.state;
    settled[alertKey(alert)] = { outcome, reason: reason.slice(0, 200), until };
  }

  #forget(now: number): void {
    const { cooling, settled, attempts, rule } = this.state;
    if (!rule) return;
    for (const [target, until] of Object.entries(cooling)) if (until <= now) delete cooling[target];
    for (const [key, { until }] of Object.entries(settled)) if (until <= now) delete settled[key];
    const oldest = Object.keys(settled).slice(0, -MAX_SETTLED);
    for (const key of oldest) delete settled[key];
    for (const [target, times] of Object.entries(attempts)) {
      const counted = times.filter((at) => at > now - rule.gates.retries.per);
      if (counted.length > 0) attempts[target] = counted;
      else delete attempts[target];
    }
  }

  /** Oldest first: each is decided as if those behind it had not come. */
  #decideWaiting(now: number): void {
    const { state } = this;
    this.#freed = false;
    const waiting = Object.entries(state.queue);
    if (waiting.length === 0) return;
    const rule = this.#rule;
    // Each is taken out before it is decided, or it would be its own duplicate; those that stay keep their order.
    for (const [key, queued] of waiting) {
      this.#dequeue(key);
      if (queued.since + rule.gates.waitAtMost <= now) {
        this.#remember(queued, 'refused', `waited too long: ${queued.reason}`, now + REMEMBER);
        state.tally.refuse += 1;
      } else if ((queued.notBefore ?? 0) > now) this.#enqueue(queued);
      else this.#decideQueued(queued, now);
    }
  }

  #decideQueued(queued: Queued, now: number): void {
    const decision = decide({ request: queued, rule: this.#rule, state: this.state, now });
    if (decision.answer === 'wait') {
      const { gate, reason } = decision;
      this.#enqueue({ ...queued, gate, reason, notBefore: undefined });
      return;
    }
    this.#admit(queued, decision, now);
    this.state.tally[decision.answer] += 1;
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

  #enqueue(queued: Queued): void {
    this.state.queue[alertKey(queued)] = queued;
    this.#waiting.count += 1;
    this.#waiting.bytes += sizeOf(queued);
  }

  #dequeue(key: string): void {
    const queued = this.state.queue[key];
    if (!queued) return;
    delete this.state.queue[key];
    this.#waiting.count -= 1;
    this.#waiting.bytes -= sizeOf(queued);
  }

  #tell(episode: string, answer: RunAnswer): void {
    const asked = this.#answers.get(episode);
    if (asked) asked.settled = answer;
    this.#answers.delete(episode);
  }
}

/** About as many bytes as a request takes in carried state: names differ in length, the rest hardly does. */
const sizeOf = ({ target }: Queued): number => target.length + 300;
