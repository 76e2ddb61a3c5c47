import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DispatchRequest, DispatchResult } from '../../model/dispatch.ts';
import type { Outcome } from '../../model/outcome.ts';
import type { EndReport } from '../../model/remediation.ts';
import type { ResponderState } from '../../model/responder.ts';
import type { ResolvedGates } from '../../model/rule.ts';
import { Admission } from '../../workflows/admission.ts';
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

  constructor(gates: Partial<ResolvedGates> = {}, state?: ResponderState) {
    this.rule = rule('r', gates);
    this.admission = new Admission(
      { rule: 'r', scope: 'shop', state },
      { workflowId: 'responder/r/shop', startTime: new Date(T0) },
    );
  }

  get state() {
    return this.admission.state;
  }

  deliver(...requests: ReturnType<typeof request>[]): void {
    this.admission.take(batch(this.rule, requests));
    this.turn();
  }

  turn(ended: { target: string; runId: string }[] = []): void {
    for (let work = this.admission.decide(this.now); work; work = this.admission.decide(this.now)) {
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

describe('waiting for another rule', () => {
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
    const first = desk.admission.decide(desk.now);
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
    const first = desk.admission.decide(desk.now);
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
    expect(desk.admission.decide(desk.now, true)).toBeUndefined();
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
