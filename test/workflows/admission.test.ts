import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AuditEntry } from '../../model/audit.ts';
import type { DispatchRequest, DispatchResult, Running } from '../../model/dispatch.ts';
import type { Evidence, LookRequest } from '../../model/evidence.ts';
import type { Outcome } from '../../model/outcome.ts';
import type { EndReport } from '../../model/remediation.ts';
import type { ResponderState } from '../../model/responder.ts';
import type { ResolvedGates, ResolvedRule } from '../../model/rule.ts';
import { Admission } from '../../workflows/admission.ts';
import { waitingOf } from '../../workflows/waiting.ts';
import { allIsWell } from '../support/evidence.ts';
import { batch, pod, request, rule } from '../support/workflows.ts';

const T0 = Date.parse('2026-01-01T00:00:00Z');
const MINUTE = 60_000;

/** An admission whose server starts whatever it is asked to, and whose clock the test moves. */
class Desk {
  now = T0;
  readonly rule;
  readonly admission: Admission;
  readonly started: { target: string; episode: string; runId: string }[] = [];
  /** Targets that somebody else holds. */
  readonly busy = new Set<string>();
  readonly work: DispatchRequest[] = [];
  readonly looks: LookRequest[] = [];
  readonly notes: AuditEntry[] = [];
  /** What the world says otherwise than that all is well. */
  world: (question: LookRequest) => Partial<Evidence> = () => ({});

  constructor(
    gates: Partial<ResolvedGates> = {},
    state?: ResponderState,
    more: Partial<ResolvedRule<'drain-instance'>> = {},
  ) {
    this.rule = { ...rule('r', gates), ...more };
    this.admission = new Admission(
      { rule: 'r', scope: 'shop', state },
      { workflowId: 'responder/r/shop', runId: 'run-1', firstExecutionRunId: 'run-1', startTime: new Date(T0) },
      (entry) => this.notes.push(entry),
    );
  }

  get state() {
    return this.admission.state;
  }

  deliver(...requests: ReturnType<typeof request>[]): void {
    this.admission.take(batch(this.rule, requests));
    this.turn();
  }

  /** What it asks for before anything is dispatched. */
  decide(closing = false): DispatchRequest | undefined {
    const question = this.admission.hear(this.now, closing);
    return this.admission.decide(this.now, question && this.see(question));
  }

  see(question: LookRequest): Evidence {
    this.looks.push(question);
    return { ...allIsWell(question, this.now), ...this.world(question) };
  }

  turn(ended: Running[] = []): void {
    for (;;) {
      const question = this.admission.hear(this.now);
      const work = this.admission.decide(this.now, question && this.see(question));
      if (!question && !work) return;
      if (!work) continue;
      this.work.push(work);
      const starts: DispatchResult['starts'] = work.starts.map(({ episode, request: { target } }) => {
        if (this.busy.has(target)) return { busy: 'their-run', by: 'their-rule' };
        const runId = `run-of-${episode}`;
        this.started.push({ target, episode, runId });
        return { started: runId };
      });
      this.admission.dispatched(work, { starts, ended: work.check.length > 0 ? ended : [] }, this.now);
    }
  }

  report(name: string, outcome: Outcome): EndReport {
    const open = this.state.open[pod(name)];
    if (!open) throw new Error(`${name} is not open`);
    return {
      episode: open.episode,
      target: pod(name),
      runId: open.runId,
      outcome,
      reason: 'so it ended',
      at: new Date(this.now).toISOString(),
      alert: { fingerprint: open.fingerprint, startsAt: open.startsAt },
      rule: this.rule,
      ruleDigest: '',
      scope: 'shop',
    };
  }

  end(name: string, outcome: Outcome): void {
    this.admission.end(this.report(name, outcome));
    this.turn();
  }

  /** Lets time pass as the workflow does: waking whenever something is due. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (let due = this.admission.nextDue(this.now + 1); due <= until; due = this.admission.nextDue(this.now + 1)) {
      this.now = due;
      this.turn();
    }
    this.now = until;
    this.turn();
  }

  get queue() {
    return Object.values(this.state.queue);
  }
}

describe('waiting', () => {
  it('ends in refusal after waitAtMost, which is final for this firing', () => {
    const desk = new Desk({ waitAtMost: 30 * MINUTE });
    desk.deliver(request('a'), request('b'));
    desk.pass(29 * MINUTE);
    expect(desk.queue).toMatchObject([{ target: pod('b'), gate: 'in-flight' }]);
    desk.pass(MINUTE);
    expect(desk.queue).toEqual([]);
    desk.deliver(request('b'));
    expect(desk.state.tally).toEqual({ admit: 1, wait: 1, refuse: 1, coalesce: 1 });
    expect(Object.values(desk.state.settled)[0]).toMatchObject({ outcome: 'refused' });
  });

  it('is bounded: beyond maxQueue a request is refused', () => {
    const desk = new Desk({ maxQueue: 2 });
    desk.deliver(...['a', 'b', 'c', 'd'].map((name) => request(name)));
    expect(desk.state.tally).toEqual({ admit: 1, wait: 2, refuse: 1, coalesce: 0 });
    expect(desk.queue.map(({ target }) => target)).toEqual([pod('b'), pod('c')]);
  });

  it('is first come, first served: what became free goes to those who wait, not to those who come', () => {
    const desk = new Desk();
    desk.deliver(request('a'), request('b'));
    desk.admission.end(desk.report('a', 'remediated'));
    desk.deliver(request('c'));
    expect(desk.started.map(({ target }) => target)).toEqual([pod('a'), pod('b')]);
    desk.end('b', 'remediated');
    expect(desk.started.at(-1)?.target).toBe(pod('c'));
  });

  it('for a target that somebody else holds is decided anew after a minute', () => {
    const desk = new Desk();
    desk.busy.add(pod('a'));
    desk.deliver(request('a'));
    expect(desk.queue).toMatchObject([{ gate: 'target-busy', reason: expect.stringContaining('their-rule') }]);
    expect(desk.state.open).toEqual({});
    desk.pass(MINUTE - 1);
    desk.busy.clear();
    desk.turn();
    expect(desk.started).toEqual([]);
    desk.pass(1);
    expect(desk.started.map(({ target }) => target)).toEqual([pod('a')]);
  });
});

describe('a remediation that ends before it acted', () => {
  const again = (desk: Desk, name: string, gate: string): void => {
    const report = desk.report(name, 'refused');
    const asked = request(name, { labels: { pod: name } });
    const { fingerprint, startsAt, alertname, digest, by, labels } = asked;
    const about = { fingerprint, startsAt, alertname, digest, by, ...(labels && { labels }) };
    desk.admission.end({ ...report, again: { gate, reason: 'not now', request: about } });
    desk.turn();
  };

  it.each(['unavailable', 'limits', 'paused', 'evidence'])(
    'for %s is not started again before its time, whatever else ends or changes',
    (gate) => {
      const desk = new Desk({ maxInFlight: 2 });
      desk.deliver(request('a'), request('b'));
      again(desk, 'a', gate);
      expect(desk.queue).toMatchObject([{ gate, notBefore: T0 + 30_000, labels: { pod: 'a' } }]);
      desk.end('b', 'remediated');
      desk.deliver(request('a'), request('c'));
      // A newer rule, and a next run.
      desk.admission.take({ ...batch(desk.rule, [request('d')]), ruleDigest: 'newer' });
      desk.turn();
      const next = new Desk({ maxInFlight: 2 }, structuredClone(desk.admission.carry()));
      next.pass(29_999);
      expect([...desk.started, ...next.started].map(({ target }) => target)).toEqual(['a', 'b', 'c', 'd'].map(pod));
      for (const name of ['c', 'd']) next.end(name, 'remediated');
      expect(next.started).toEqual([]);
      next.pass(1);
      expect(next.started.map(({ target }) => target)).toEqual([pod('a')]);
      again(next, 'a', gate);
      expect(next.queue, 'and later with each time').toMatchObject([{ notBefore: T0 + 90_000 }]);
    },
  );

  it('is started again at once where a person ends the pause', () => {
    const desk = new Desk();
    desk.deliver(request('a'));
    again(desk, 'a', 'paused');
    desk.admission.look({});
    desk.turn();
    expect(desk.started).toHaveLength(2);
    expect(desk.work.at(-1)?.starts[0]?.request.labels).toEqual({ pod: 'a' });
  });
});

describe('what a person has approved', () => {
  const approval = { by: 'person:ada', at: '2026-01-01T00:01:00Z', digest: 'd-plan', comment: '', proposal: 'run' };
  const propose = { mode: 'propose' as const };

  it('is not lost where its alert has come again and waits, or is being decided', () => {
    const desk = new Desk({}, undefined, propose);
    const since = new Date(T0).toISOString();
    desk.world = () => ({ pauses: [{ prefix: '', by: 'person:ada', reason: '', since }] });
    desk.deliver(request('a'));
    desk.deliver(request('a', { approval }), request('b'), request('b', { approval }));
    expect(desk.queue.map((queued) => queued.approval)).toEqual([approval, approval]);
    desk.world = () => ({});
    desk.admission.look({});
    desk.turn();
    expect(Object.entries(desk.state.open)).toMatchObject([[pod('a'), { approval }]]);
    expect(desk.queue).toMatchObject([{ target: pod('b'), gate: 'in-flight', approval }]);
  });

  it('and is handed over twice is done once, while it runs and after it has ended', () => {
    const desk = new Desk({}, undefined, propose);
    desk.deliver(request('a'));
    desk.deliver(request('a', { approval }), request('a', { approval }));
    desk.deliver(request('a', { approval }));
    desk.end('a', 'remediated');
    desk.deliver(request('a', { approval }));
    expect(desk.started).toHaveLength(2);
    expect(desk.work.flatMap(({ starts }) => starts).map((start) => start.request.approval)).toEqual([
      undefined,
      approval,
    ]);
  });

  it('and finds no responder any more is done all the same, by the rule that it brings', () => {
    const desk = new Desk({}, undefined, propose);
    desk.deliver(request('a', { approval }));
    expect(desk.state.open[pod('a')]?.approval).toEqual(approval);
  });
});

describe('the labels of what waits', () => {
  const labels = (name: string) => ({ pod: name, text: 'x'.repeat(4_000) });

  it('are there when it is started, also by the next run', () => {
    const desk = new Desk();
    desk.deliver(...['a', 'b', 'c'].map((name) => request(name, { labels: labels(name) })));
    desk.end('a', 'remediated');
    expect(desk.work.at(-1)?.starts[0]?.request.labels).toEqual(labels('b'));
    const next = new Desk({}, structuredClone(desk.admission.carry()));
    next.end('b', 'remediated');
    expect(next.work.at(-1)?.starts[0]?.request.labels).toEqual(labels('c'));
  });

  it('are kept as far as there is room: those of who came first, and never instead of what matters more', () => {
    const desk = new Desk();
    const names = Array.from({ length: 100 }, (_, i) => `p${i}`);
    desk.deliver(...names.map((name) => request(name, { labels: labels(name) })));
    const kept = desk.queue.map((queued) => queued.labels !== undefined);
    expect(kept).toEqual(kept.map((_, at) => at < 40));
    // Room that is free again is used.
    desk.deliver(request('p1', { status: 'resolved' }), request('last', { labels: labels('last') }));
    expect(desk.queue.at(-1)?.labels).toEqual(labels('last'));
    for (let i = 0; i < 1_900; i += 1) desk.state.cooling[pod(`${'x'.repeat(180)}-${i}`)] = desk.now + i;
    const carried = desk.admission.carry();
    expect(Object.values(carried.queue).filter((queued) => queued.labels)).toEqual([]);
    expect(Object.keys(carried.cooling)).toHaveLength(1_900);
    expect(JSON.stringify(carried).length).toBeLessThanOrEqual(512 * 1024);
  });
});

describe('waiting for another rule', () => {
  it('that is seen to hold the target is no refusal: it is decided anew after a minute', () => {
    const desk = new Desk();
    const seen = { held: 'spec.x is held', busy: 'rule theirs has an open remediation of the target' };
    desk.world = () => ({ targets: { [pod('a')]: seen } });
    desk.deliver(request('a'));
    expect(desk.queue).toMatchObject([{ gate: 'target-busy', reason: seen.busy, notBefore: T0 + MINUTE }]);
    desk.pass(MINUTE);
    expect(desk.queue).toMatchObject([{ gate: 'target-busy', notBefore: T0 + 2 * MINUTE }]);
    desk.world = () => ({});
    desk.pass(MINUTE);
    expect(desk.started.map(({ target }) => target)).toEqual([pod('a')]);
    expect(desk.state.tally).toEqual({ admit: 1, wait: 1, refuse: 0, coalesce: 0 });
  });

  it('ends after waitAtMost, however often it was tried', () => {
    const desk = new Desk({ waitAtMost: 10 * MINUTE });
    desk.busy.add(pod('a'));
    desk.deliver(request('a'));
    desk.pass(9 * MINUTE);
    expect(desk.queue).toHaveLength(1);
    desk.pass(2 * MINUTE);
    expect(desk.queue).toEqual([]);
    expect(desk.state.tally).toMatchObject({ admit: 0, refuse: 1 });
  });
});

describe('the retry budget', () => {
  it('allows `max` retries within `per`, then refuses until they have aged', () => {
    const desk = new Desk({ cooldown: MINUTE, retries: { max: 2, per: 60 * MINUTE } });
    for (const _ of [1, 2, 3]) {
      desk.deliver(request('a'));
      desk.pass(MINUTE);
      desk.end('a', 'failed');
      desk.pass(MINUTE);
    }
    desk.deliver(request('a'));
    expect(desk.started).toHaveLength(3);
    expect(Object.values(desk.state.settled)[0]?.reason).toContain('at most 2 retries');
    desk.pass(60 * MINUTE);
    desk.deliver(request('a', { startsAt: '2026-01-01T02:00:00Z' }));
    expect(desk.started).toHaveLength(4);
  });
});

describe('a rule that changes', () => {
  it('from observe to act while starts are pending has them decided anew: never above maxInFlight', () => {
    const desk = new Desk({ maxInFlight: 1 });
    const observes = batch(
      rule('r', {}, 'observe'),
      Array.from({ length: 200 }, (_, i) => request(`p${i}`)),
    );
    desk.admission.take(observes);
    const first = desk.decide();
    if (!first) throw new Error('nothing was asked for');
    desk.admission.take(batch(desk.rule, [request('late')]));
    desk.admission.dispatched(
      first,
      { starts: first.starts.map((_, i) => ({ started: `proposal-${i}` })), ended: [] },
      desk.now,
    );
    desk.turn();
    expect(first.rule.mode).toBe('observe');
    expect(first.starts).toHaveLength(50);
    expect(desk.started).toHaveLength(1);
    expect(desk.work.every((work) => work.rule.mode === 'act')).toBe(true);
    expect(Object.keys(desk.state.open)).toHaveLength(1);
    expect(desk.queue).toHaveLength(150);
  });

  it('that observes waits for neither target nor slot, for it holds none', () => {
    const desk = new Desk({ maxInFlight: 1 });
    desk.deliver(request('a'));
    const observes = batch(rule('r', { maxInFlight: 1 }, 'observe'), [
      request('b'),
      { ...request('a'), startsAt: '2026-01-01T00:05:00Z' },
    ]);
    desk.admission.take(observes);
    desk.turn();
    expect(desk.state.queue).toEqual({});
    expect(desk.work.at(-1)?.starts.map(({ request: { target } }) => target)).toEqual([pod('b'), pod('a')]);
  });

  it('from act to observe takes the targets back that are not yet held', () => {
    const desk = new Desk({ maxInFlight: 100 });
    desk.admission.take(
      batch(
        desk.rule,
        Array.from({ length: 60 }, (_, i) => request(`p${i}`)),
      ),
    );
    const first = desk.decide();
    if (!first) throw new Error('nothing was asked for');
    desk.admission.take(batch(rule('r', { maxInFlight: 100 }, 'observe'), []));
    desk.admission.dispatched(
      first,
      { starts: first.starts.map((_, i) => ({ started: `run-${i}` })), ended: [] },
      desk.now,
    );
    desk.turn();
    expect(Object.keys(desk.state.open)).toHaveLength(50);
    expect(desk.work.flatMap(({ rule: { mode }, starts }) => starts.map(() => mode))).toEqual(
      Array(10).fill('observe'),
    );
  });
});

describe('a run that is full', () => {
  it('admits nothing more, loses nothing, and the next run goes on at once', () => {
    const desk = new Desk({ maxInFlight: 10 });
    desk.admission.take(batch(desk.rule, [request('a'), request('b')]));
    expect(desk.decide(true)).toBeUndefined();
    expect(desk.notes).toEqual([]);
    expect(desk.queue.map(({ target }) => target)).toEqual([pod('a'), pod('b')]);
    const next = new Desk({ maxInFlight: 10 }, structuredClone(desk.admission.carry()));
    expect(next.admission.pressing).toBe(true);
    next.turn();
    expect(next.started.map(({ target }) => target)).toEqual([pod('a'), pod('b')]);
  });
});

describe('the end of a remediation', () => {
  it.each(['failed', 'remediated'] as const)('reported twice counts once (%s)', (outcome) => {
    const desk = new Desk();
    desk.deliver(request('a'));
    const report = desk.report('a', outcome);
    desk.admission.end(report);
    desk.turn();
    const after = structuredClone(desk.state);
    desk.admission.end(report);
    desk.turn();
    expect(desk.state).toEqual(after);
    // Told again by another worker, a moment later.
    desk.admission.end({ ...report, at: new Date(desk.now + 1_000).toISOString() });
    desk.turn();
    expect(desk.state.attempts).toEqual(after.attempts);
    expect(desk.state.settled).toEqual(after.settled);
  });

  it('of an older episode does not free the target of a newer one', () => {
    const desk = new Desk({ cooldown: 0 });
    desk.deliver(request('a'));
    const old = desk.report('a', 'remediated');
    desk.end('a', 'remediated');
    desk.deliver(request('a', { startsAt: '2026-01-01T01:00:00Z' }));
    expect(desk.started).toHaveLength(2);
    desk.admission.end(old);
    desk.turn();
    expect(desk.state.open[pod('a')]?.episode).toBe(desk.started[1]?.episode);
  });

  it('without a word is found: at once where somebody waits for it, and its target is left alone', () => {
    const desk = new Desk();
    desk.deliver(request('a'), request('b'));
    desk.now += MINUTE;
    desk.turn([{ target: pod('a'), runId: `${desk.started[0]?.runId}` }]);
    expect(desk.started.map(({ target }) => target)).toEqual([pod('a'), pod('b')]);
    expect(desk.state.cooling[pod('a')]).toBe(desk.now + desk.rule.gates.cooldown);
    expect(desk.work.flatMap(({ check }) => check)[0]).toEqual({ target: pod('a'), runId: desk.started[0]?.runId });
  });
});

describe('resolved', () => {
  it('tells the open remediation, and lets what is settled be forgotten after the cooldown', () => {
    const desk = new Desk({ cooldown: MINUTE });
    desk.deliver(request('a'));
    desk.deliver(request('a', { status: 'resolved' }));
    expect(desk.work.at(-1)?.resolved).toEqual([{ target: pod('a'), runId: desk.started[0]?.runId }]);
    desk.end('a', 'recovered');
    expect(desk.admission.idle).toBe(false);
    desk.pass(MINUTE);
    expect(desk.admission.idle).toBe(true);
  });

  it('after the end lets it be forgotten after the cooldown too', () => {
    const desk = new Desk({ cooldown: MINUTE });
    desk.deliver(request('a'));
    desk.end('a', 'remediated');
    desk.pass(2 * MINUTE);
    expect(desk.admission.idle).toBe(false);
    desk.deliver(request('a', { status: 'resolved' }));
    desk.pass(MINUTE);
    expect(desk.admission.idle).toBe(true);
  });

  it('late, of an earlier firing, leaves a newer one that waits', () => {
    const desk = new Desk();
    desk.deliver(request('a'), request('b', { startsAt: '2026-01-01T00:10:00.000Z' }));
    desk.deliver(request('b', { status: 'resolved', startsAt: '2026-01-01T00:00:00.000Z' }));
    expect(desk.queue.map(({ target }) => target)).toEqual([pod('b')]);
    desk.deliver(request('b', { status: 'resolved', startsAt: '2026-01-01T00:10:00.000Z' }));
    expect(desk.queue).toEqual([]);
  });

  it('in the same breath as firing starts nothing', () => {
    const desk = new Desk();
    desk.deliver(request('a'), request('a', { status: 'resolved' }));
    expect(desk.started).toEqual([]);
    expect(desk.admission.idle).toBe(true);
  });
});

describe('what is carried', () => {
  it('stays under 512 KiB with the longest names, a full queue and a thousand settled', () => {
    const desk = new Desk({ maxInFlight: 100 });
    const long = 'x'.repeat(240);
    for (let i = 0; i < 3_000; i += 100)
      desk.deliver(
        ...Array.from({ length: 100 }, (_, j) =>
          request(`${long}-${i + j}`, { fingerprint: `${i + j}`.padStart(16, '0') }),
        ),
      );
    expect(desk.queue.length).toBeGreaterThan(500);
    expect(desk.state.tally.refuse).toBe(3_000 - 100 - desk.queue.length);
    const carried = desk.admission.carry();
    expect(JSON.stringify(carried).length).toBeLessThanOrEqual(512 * 1024);
    expect(Object.values(carried.queue)).toHaveLength(desk.queue.length);
  });

  it('forgets the past before it grows too large', () => {
    const desk = new Desk();
    desk.deliver(request('open'), request('waits'));
    for (let i = 0; i < 8_000; i += 1) desk.state.cooling[pod(`${'x'.repeat(240)}-${i}`)] = desk.now + i;
    const carried = desk.admission.carry();
    expect(JSON.stringify(carried).length).toBeLessThanOrEqual(512 * 1024);
    expect(Object.keys(carried.cooling).at(-1)).toContain('-7999');
    expect(Object.keys(carried.open)).toEqual([pod('open')]);
    expect(Object.values(carried.queue)).toMatchObject([{ target: pod('waits') }]);
  });
});

describe('what is looked at', () => {
  const since = new Date(T0).toISOString();
  const pause = { prefix: '', by: 'person:ada', reason: '', since };

  it('is all that came, once; and of those who wait no more than may find room', () => {
    const desk = new Desk({ maxInFlight: 2 });
    desk.deliver(...Array.from({ length: 100 }, (_, i) => request(`p${i}`)));
    expect(desk.looks.map(({ targets }) => targets.length)).toEqual([100]);
    expect(desk.looks[0]?.question).toBe('run-1/1');
    desk.end('p0', 'remediated');
    expect(desk.looks.map(({ targets }) => targets.length)).toEqual([100, 25]);
    expect(desk.started.map(({ target }) => target)).toEqual(['p0', 'p1', 'p2'].map(pod));
    // Duplicates, ends and what is resolved are not looked at where nobody waits for room.
    desk.deliver(request('p1'), request('p99', { status: 'resolved' }));
    expect(desk.looks).toHaveLength(2);
  });

  it('is not repeated for what is paused until that is over, or somebody says so', () => {
    const desk = new Desk();
    desk.world = () => ({ pauses: [{ ...pause, until: new Date(T0 + 30 * MINUTE).toISOString() }] });
    desk.deliver(request('a'));
    desk.pass(29 * MINUTE);
    expect(desk.looks).toHaveLength(1);
    desk.world = () => ({ pauses: [] });
    desk.pass(MINUTE);
    expect(desk.started).toHaveLength(1);
    const other = new Desk();
    other.world = () => ({ pauses: [pause] });
    other.deliver(request('a'));
    other.pass(11 * MINUTE);
    expect(other.looks).toHaveLength(3);
    other.world = () => ({});
    other.admission.look({});
    other.turn();
    expect(other.started).toHaveLength(1);
    expect(other.state.tally).toEqual({ admit: 1, wait: 1, refuse: 0, coalesce: 0 });
  });

  it('for the unavailable budget is repeated after 30 s, 60 s and so on, and when a remediation of the scope ends', () => {
    const desk = new Desk({ maxInFlight: 2, maxUnavailable: { count: 1 } });
    desk.world = ({ targets }) => ({
      targets: Object.fromEntries(targets.map((target) => [target, { workload: 'web' }])),
      workloads: { web: { desired: 4, unready: [] } },
    });
    desk.deliver(request('a'), request('b'));
    expect(desk.queue).toMatchObject([{ gate: 'unavailable', notBefore: T0 + 30_000 }]);
    desk.pass(30_000);
    expect(desk.queue).toMatchObject([{ gate: 'unavailable', notBefore: T0 + 90_000, tries: 1 }]);
    desk.end('a', 'remediated');
    expect(desk.started.map(({ target }) => target)).toEqual([pod('a'), pod('b')]);
  });

  it('and cannot be read refuses, until the alert is repeated after the cooldown', () => {
    const desk = new Desk({ cooldown: MINUTE });
    desk.world = () => ({ error: 'the API does not answer' });
    desk.deliver(request('a'));
    desk.world = () => ({});
    desk.deliver(request('a'));
    expect(desk.state.tally).toEqual({ admit: 0, wait: 0, refuse: 1, coalesce: 1 });
    desk.pass(MINUTE);
    desk.deliver(request('a'));
    expect(desk.started).toHaveLength(1);
  });

  it('is taken up again where the look was cut short', () => {
    const desk = new Desk();
    desk.admission.take(batch(desk.rule, [request('a')]));
    expect(desk.admission.hear(desk.now)?.targets).toEqual([pod('a')]);
    desk.turn();
    expect(desk.started.map(({ target }) => target)).toEqual([pod('a')]);
  });
});

describe('what the limits grant', () => {
  it('is used for a start each, and what is not used is given back at once', () => {
    const desk = new Desk({ maxInFlight: 5 }, undefined, { limits: { maxInFlight: 3 } });
    desk.world = ({ targets }) => ({
      targets: Object.fromEntries(targets.map((target) => [target, target === pod('b') ? { excluded: 'skip' } : {}])),
    });
    desk.deliver(request('a'), request('b'));
    expect(desk.looks[0]?.leases).toMatchObject({ 'k8s/test': { want: 2, has: 0 } });
    expect(desk.work[0]?.give).toEqual({ 'k8s/test': { slots: 1, unused: 1, has: 1 } });
    expect(desk.state.slots).toEqual({ 'k8s/test': 1 });
    desk.end('a', 'remediated');
    expect(desk.work.at(-1)?.give).toEqual({ 'k8s/test': { slots: 1, unused: 0, has: 0 } });
    expect(desk.state.slots).toEqual({});
  });

  it('is asked for again when they say that there is room, at the latest each minute', () => {
    const desk = new Desk({ maxInFlight: 5 }, undefined, { limits: { maxInFlight: 3 } });
    const none = { leases: { 'k8s/test': { granted: 0, reason: 'all are in use' } } };
    desk.world = () => none;
    desk.deliver(request('a'));
    expect(desk.queue).toMatchObject([{ gate: 'limits', reason: 'all are in use' }]);
    desk.pass(2 * MINUTE);
    expect(desk.looks).toHaveLength(3);
    desk.world = () => ({});
    desk.admission.look({});
    desk.turn();
    expect(desk.started).toHaveLength(1);
  });
});

describe('limits that did not answer', () => {
  it('are told how many slots it has, for they may have granted some', () => {
    const desk = new Desk({}, undefined, { limits: { maxInFlight: 5 } });
    const notBefore = new Date(T0 + 10_000).toISOString();
    desk.world = () => ({ leases: { 'k8s/test': { granted: 0, reason: 'no answer', notBefore, unanswered: true } } });
    desk.deliver(request('a'));
    expect(desk.work.map(({ give }) => give)).toEqual([{ 'k8s/test': { slots: 0, unused: 0, has: 0 } }]);
    desk.deliver(request('a', { status: 'resolved' }));
    desk.pass(MINUTE);
    expect(desk.work, 'once').toHaveLength(1);
  });
});

describe('a storm whose look fails', () => {
  it('goes on: calm is what was seen to be calm, for all of settleFor', () => {
    const desk = new Desk({ storm: { above: 40, settleFor: MINUTE } });
    desk.world = () => ({ population: { live: 10, unhealthy: 6 } });
    desk.deliver(request('a'));
    desk.world = () => ({ population: { live: 10, unhealthy: 1 } });
    desk.pass(30_000);
    desk.world = ({ targets }) => ({
      targets: Object.fromEntries(targets.map((key) => [key, {}])),
      error: 'no answer',
      population: undefined,
    });
    desk.pass(5 * MINUTE);
    expect(desk.started).toEqual([]);
    desk.world = () => ({ population: { live: 10, unhealthy: 1 } });
    desk.pass(59_000);
    expect(desk.state.storm).toBeDefined();
    desk.pass(MINUTE);
    expect(desk.started.map(({ target }) => target)).toEqual([pod('a')]);
  });
});

describe('people are told', () => {
  const raised = (desk: Desk) => desk.work.flatMap(({ herald }) => herald?.raise ?? []);
  const escalate = { onFailure: { escalate: true } };

  it('of what has waited too long: of one with its alert, of many together', () => {
    const desk = new Desk({ waitAtMost: 10 * MINUTE }, undefined, escalate);
    desk.deliver(request('a'), request('b'));
    desk.pass(10 * MINUTE);
    expect(raised(desk)).toMatchObject([
      { id: 'waited-run-1-1', alertname: 'SalvorEscalation', target: pod('b'), labels: { alert: 'KubePodNotReady' } },
    ]);
    desk.deliver(request('c'), request('d'), request('e'));
    desk.pass(10 * MINUTE);
    expect(raised(desk)).toHaveLength(2);
    expect(raised(desk)[1]).toMatchObject({
      id: 'waited-run-1-2',
      until: new Date(desk.now + 24 * 60 * MINUTE).toISOString(),
    });
    expect(raised(desk)[1]?.target).toBeUndefined();
    expect(desk.notes.filter(({ kind }) => kind === 'escalated')).toHaveLength(2);
  });

  it('once that the retry budget is spent, and again when it is spent anew', () => {
    const desk = new Desk({ cooldown: 0, retries: { max: 0, per: 60 * MINUTE } }, undefined, escalate);
    const spend = (name: string) => {
      desk.deliver(request(name));
      desk.end(name, 'failed');
    };
    spend('a');
    desk.deliver(request('b'), request('c'));
    desk.deliver(request('d'));
    expect(desk.state.tally.refuse).toBe(3);
    expect(raised(desk)).toMatchObject([{ id: 'retries-run-1-1', target: pod('b') }]);
    desk.pass(60 * MINUTE);
    spend('e');
    desk.deliver(request('f'));
    expect(raised(desk)).toHaveLength(2);
  });

  it('nothing where the rule does not want it', () => {
    const desk = new Desk({ waitAtMost: 10 * MINUTE });
    desk.deliver(request('a'), request('b'));
    desk.pass(10 * MINUTE);
    expect(raised(desk)).toEqual([]);
  });

  it('once of a storm, which is not told of again by those whom it makes wait too long', () => {
    const desk = new Desk(
      { waitAtMost: 10 * MINUTE, storm: { above: 40, settleFor: 5 * MINUTE } },
      undefined,
      escalate,
    );
    desk.world = () => ({ population: { live: 10, unhealthy: 6 } });
    desk.deliver(request('a'), request('b'));
    expect(desk.queue.map(({ gate }) => gate)).toEqual(['storm', 'storm']);
    expect(desk.state.storm?.why).toBe('6 of 10 pods in the scope are unhealthy, above 40%, which is 4');
    desk.pass(30 * MINUTE);
    expect(desk.queue).toEqual([]);
    expect(raised(desk).map(({ id }) => id)).toEqual(['storm-run-1-1']);
    desk.world = () => ({ population: { live: 10, unhealthy: 4 } });
    desk.deliver(request('c'));
    expect(desk.admission.idle).toBe(false);
    desk.pass(4 * MINUTE);
    expect(desk.started).toEqual([]);
    desk.pass(4 * MINUTE);
    expect(desk.started.map(({ target }) => target)).toEqual([pod('c')]);
    expect(desk.work.flatMap(({ herald }) => herald?.clear ?? [])).toEqual(['storm-run-1-1']);
  });
});

describe('over any sequence of events', () => {
  const pods = ['a', 'b', 'c', 'd', 'e'];
  const event = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('firing' as const), pod: fc.constantFrom(...pods), start: fc.nat(3) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('resolved' as const), pod: fc.constantFrom(...pods), start: fc.nat(3) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('end' as const),
        pod: fc.constantFrom(...pods),
        outcome: fc.constantFrom<Outcome>('remediated', 'recovered', 'not-needed', 'failed', 'cancelled', 'refused'),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('pass' as const), minutes: fc.integer({ min: 1, max: 20 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('busy' as const), pod: fc.constantFrom(...pods) }) },
  );

  it('never two open on a target, never above maxInFlight, every firing decided once, and all comes to rest', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), fc.integer({ min: 1, max: 3 }), (events, maxInFlight) => {
        const desk = new Desk({ maxInFlight, cooldown: 5 * MINUTE, retries: { max: 1, per: 30 * MINUTE } });
        const running = new Set<string>();
        let delivered = 0;
        const check = () => {
          for (const { target, runId } of desk.started.splice(0)) {
            expect(running.has(target)).toBe(false);
            expect(desk.state.open[target]?.runId).toBe(runId);
            running.add(target);
          }
          expect(running.size).toBeLessThanOrEqual(maxInFlight);
          expect(new Set(Object.keys(desk.state.open))).toEqual(running);
        };
        const end = (name: string, outcome: Outcome) => {
          if (!running.delete(pod(name))) return;
          desk.end(name, outcome);
        };
        for (const e of events) {
          if (e.kind === 'pass') desk.pass(e.minutes * MINUTE);
          else if (e.kind === 'busy')
            desk.busy.has(pod(e.pod)) ? desk.busy.delete(pod(e.pod)) : desk.busy.add(pod(e.pod));
          else if (e.kind === 'end') end(e.pod, e.outcome);
          else {
            delivered += e.kind === 'firing' ? 1 : 0;
            desk.deliver(request(e.pod, { status: e.kind, startsAt: `2026-01-01T0${e.start}:00:00Z` }));
          }
          check();
        }
        const { admit, wait, refuse, coalesce } = desk.state.tally;
        // Each delivery is tallied as it comes, and once more when its waiting ends.
        expect(admit + wait + refuse + coalesce).toBeGreaterThanOrEqual(delivered);
        desk.busy.clear();
        for (let i = 0; i < 100 && running.size + desk.queue.length > 0; i += 1) {
          for (const name of pods) end(name, 'remediated');
          desk.pass(10 * MINUTE);
          check();
        }
        desk.pass(25 * 60 * MINUTE);
        expect(desk.admission.idle || delivered === 0).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the times of a schedule', () => {
  const tick = (minute: number, name = 'a') =>
    request(name, {
      fingerprint: `tick-${name}`,
      startsAt: new Date(T0 + minute * MINUTE).toISOString(),
      alertname: 'Schedule',
      by: 'schedule:r',
    });

  it('begin nothing while what an earlier one has started is under way', () => {
    const desk = new Desk({ cooldown: 0 });
    desk.deliver(tick(0));
    desk.deliver(tick(5), tick(10));
    expect(desk.started).toHaveLength(1);
    expect(desk.queue).toEqual([]);
    expect(desk.state.tally).toEqual({ admit: 1, wait: 0, refuse: 0, coalesce: 2 });
    desk.end('a', 'not-needed');
    desk.deliver(tick(15));
    expect(desk.started).toHaveLength(2);
    // What was handed over twice is one time.
    desk.end('a', 'not-needed');
    desk.deliver(tick(15));
    expect(desk.started).toHaveLength(2);
  });

  it('wait as alerts do, but never two of them', () => {
    const desk = new Desk({ cooldown: 30 * MINUTE });
    desk.deliver(tick(0));
    desk.end('a', 'remediated');
    desk.deliver(tick(5));
    desk.deliver(tick(10), tick(15));
    expect(desk.queue).toMatchObject([{ target: pod('a'), gate: 'cooldown', startsAt: tick(5).startsAt }]);
    expect(waitingOf(desk.state)).toBeUndefined();
    // An alert about the same target is another matter.
    desk.deliver(request('a'));
    expect(desk.queue).toHaveLength(2);
    expect(waitingOf(desk.state)).toMatchObject({ count: 1 });
    desk.pass(30 * MINUTE);
    expect(desk.started).toHaveLength(2);
  });

  it('of several targets are no business of each other', () => {
    const desk = new Desk({ maxInFlight: 2 });
    desk.deliver(tick(0, 'a'), tick(0, 'b'));
    expect(desk.started).toHaveLength(2);
  });

  it('call nobody where they waited in vain: the next one is another chance', () => {
    const desk = new Desk({ waitAtMost: 10 * MINUTE }, undefined, { onFailure: { escalate: true } });
    desk.deliver(request('b'));
    desk.deliver(tick(0));
    desk.pass(10 * MINUTE);
    expect(desk.queue).toEqual([]);
    expect(desk.work.flatMap(({ herald }) => herald?.raise ?? [])).toEqual([]);
    const refused = desk.notes.filter((note) => note.kind === 'decision' && note.decision.answer === 'refuse');
    expect(refused).toMatchObject([{ alert: { by: 'schedule:r' }, decision: { gate: 'in-flight' } }]);
  });
});
