import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allowance, type Bound } from '../../model/bound.ts';
import type { ReserveRequest } from '../../model/budget.ts';
import type { LeaseAnswer, ResolvedLimits } from '../../model/limits.ts';
import { BudgetLedger } from '../../workflows/budget-ledger.ts';
import { LimitsLedger } from '../../workflows/limits-ledger.ts';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const KEY = 'k8s/test';
const start = Date.parse('2026-01-01T00:00:00Z');

/** Responders and their ledger, without a server: messages arrive at once and in order, and each responder is honest. */
class World {
  now = start;
  ledger = new LimitsLedger({ key: KEY }, start);
  readonly limits: ResolvedLimits;
  /** By responder: the slots that it has, and those that it wants besides. */
  readonly responders: { id: string; has: number; wants: number; alive: boolean }[];
  readonly granted: { at: number; count: number; unused: number }[] = [];
  #questions = 0;

  constructor(limits: ResolvedLimits, responders: number) {
    this.limits = limits;
    this.responders = Array.from({ length: responders }, (_, n) => ({ id: `r${n}`, has: 0, wants: 0, alive: true }));
  }

  ask(n: number, want: number, targets: string[] = []): LeaseAnswer {
    const it = this.#of(n);
    const request = { responder: it.id, want, has: it.has, targets, limits: this.limits };
    this.#questions += 1;
    const answer = this.ledger.lease(request, `q${this.#questions}`, this.now);
    // Asked again, by an activity that ran twice: nothing more is granted.
    expect(this.ledger.lease(request, `q${this.#questions}`, this.now)).toEqual(
      it.has + answer.granted > 0 ? answer : expect.objectContaining({ granted: 0 }),
    );
    it.has += answer.granted;
    it.wants = want - answer.granted;
    if (answer.granted > 0) this.granted.push({ at: this.now, count: answer.granted, unused: 0 });
    return answer;
  }

  give(n: number, wish: number, unused: boolean, twice: boolean): void {
    const it = this.#of(n);
    const slots = Math.min(wish, it.has);
    if (slots === 0) return;
    it.has -= slots;
    const back = { responder: it.id, slots, unused: unused ? slots : 0, ...(twice && { has: it.has }) };
    this.ledger.give(back);
    if (twice) this.ledger.give(back);
    for (let left = unused ? slots : 0, last = this.granted.length - 1; left > 0 && last >= 0; last--) {
      const one = this.granted[last]!;
      const taken = Math.min(left, one.count - one.unused);
      one.unused += taken;
      left -= taken;
    }
  }

  die(n: number): void {
    Object.assign(this.#of(n), { alive: false, has: 0, wants: 0 });
  }

  /** Time goes by, and the loop of the workflow does what is due. Those who are told ask again, or do not. */
  pass(ms: number, answersCalls = true): void {
    const until = this.now + ms;
    for (let rounds = 0; this.ledger.due <= until && !this.ledger.idle; rounds++) {
      expect(rounds).toBeLessThan(20_000);
      this.now = Math.max(this.now, this.ledger.due);
      this.loop(answersCalls);
    }
    this.now = until;
    this.ledger.pass(until);
  }

  loop(answersCalls = true): void {
    for (const id of this.ledger.tell(this.now)) {
      const n = this.responders.findIndex((one) => one.id === id);
      if (!this.#of(n).alive) this.ledger.gone(id);
      else if (answersCalls) this.ask(n, this.#of(n).wants);
    }
    const suspects = this.ledger.suspects(this.now);
    const over = suspects.map(({ workflowId }) => !this.responders.find(({ id }) => id === workflowId)?.alive);
    if (suspects.length > 0) this.ledger.checked(suspects, over, this.now);
  }

  /** A new run: what is carried is plain JSON. */
  carry(): void {
    this.ledger = new LimitsLedger({ key: KEY, state: JSON.parse(JSON.stringify(this.ledger.carry())) }, this.now);
  }

  holds(): void {
    const { maxInFlight = Number.POSITIVE_INFINITY, maxActsPerHour = Number.POSITIVE_INFINITY } = this.limits;
    expect(this.responders.reduce((sum, { has }) => sum + has, 0)).toBeLessThanOrEqual(maxInFlight);
    const acts = this.granted.filter(({ at }) => at > this.now - HOUR);
    expect(acts.reduce((sum, { count, unused }) => sum + count - unused, 0)).toBeLessThanOrEqual(maxActsPerHour);
  }

  #of(n: number) {
    return this.responders[n % this.responders.length]!;
  }
}

type Step = (world: World) => void;
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.nat(9), fc.nat(6)).map(
    ([n, want]): Step =>
      (world) => {
        if (world.responders[n % world.responders.length]!.alive) world.ask(n, want);
      },
  ),
  fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 6 }), fc.boolean(), fc.boolean()).map(
    ([n, slots, unused, twice]): Step =>
      (world) =>
        world.give(n, slots, unused, twice),
  ),
  fc.nat(9).map(
    (n): Step =>
      (world) =>
        world.die(n),
  ),
  fc.tuple(fc.nat(30 * 60 * SECOND), fc.boolean()).map(
    ([ms, answers]): Step =>
      (world) =>
        world.pass(ms, answers),
  ),
  fc.constant<Step>((world) => world.carry()),
);
const limits: fc.Arbitrary<ResolvedLimits> = fc.record(
  { maxInFlight: fc.integer({ min: 1, max: 10 }), maxActsPerHour: fc.integer({ min: 1, max: 20 }) },
  { requiredKeys: [] },
);
const runs = (walk: (world: World) => void) =>
  fc.assert(
    fc.property(limits, fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 60 }), (given, count, steps) => {
      const world = new World(given, count);
      for (const one of steps) {
        one(world);
        world.holds();
      }
      walk(world);
    }),
    { numRuns: 300 },
  );

describe('the ledger of the limits, whatever comes', () => {
  it('never has more out than is allowed, at once and in an hour', () => runs(() => undefined));

  it('lets nobody wait for ever: when all is given back, whoever still wants gets it', () =>
    runs((world) => {
      // Those who were told while they did not listen ask once more; from here on nobody asks who is not told.
      for (const [n, { alive, wants }] of world.responders.entries()) if (alive && wants > 0) world.ask(n, wants);
      for (let rounds = 0; world.responders.some(({ alive, wants }) => alive && wants > 0); rounds++) {
        expect(rounds).toBeLessThan(100);
        for (const n of world.responders.keys()) world.give(n, Number.POSITIVE_INFINITY, false, false);
        world.pass(HOUR);
        world.holds();
      }
    }));

  it('has nothing left to remember when all is given back and an hour has passed', () =>
    runs((world) => {
      world.responders.forEach((_, n) => {
        world.give(n, Number.POSITIVE_INFINITY, false, false);
        if (world.responders[n]!.alive) world.ask(n, 0);
      });
      world.pass(2 * HOUR);
      expect(world.ledger.idle).toBe(true);
    }));
});

describe('the ledger of the limits', () => {
  it('says when the oldest act of the hour drops out, and tells then', () => {
    const world = new World({ maxActsPerHour: 2 }, 3);
    expect(world.ask(0, 1)).toEqual({ granted: 1 });
    world.pass(10 * 60 * SECOND);
    expect(world.ask(1, 1)).toEqual({ granted: 1 });
    world.pass(60 * SECOND);
    const answer = world.ask(2, 1);
    expect(answer).toEqual({
      granted: 0,
      reason: `2 of at most 2 remediations an hour were begun in ${KEY}, over all rules`,
      notBefore: '2026-01-01T01:00:00.000Z',
    });
    // Given back does not make it undone.
    world.give(0, 1, false, false);
    world.loop();
    expect(world.responders[2]!.has).toBe(0);
    world.pass(48 * 60 * SECOND);
    expect(world.responders[2]!.has).toBe(0);
    world.pass(60 * SECOND);
    expect(world.responders[2]!.has).toBe(1);
  });

  it('does not count what was given back unused', () => {
    const world = new World({ maxActsPerHour: 1 }, 2);
    world.ask(0, 1);
    world.give(0, 1, true, false);
    expect(world.ask(1, 1)).toEqual({ granted: 1 });
  });

  it('takes back once what is given back twice', () => {
    const world = new World({ maxInFlight: 5, maxActsPerHour: 5 }, 2);
    world.ask(0, 5);
    world.give(0, 2, true, true);
    expect(world.ask(1, 5)).toMatchObject({ granted: 2 });
  });

  it('keeps the room for whoever was told, for a while, and then tells the next', () => {
    const world = new World({ maxInFlight: 1 }, 3);
    world.ask(0, 1);
    world.ask(1, 1);
    world.ask(2, 1);
    world.give(0, 1, false, false);
    expect(world.ledger.tell(world.now)).toEqual(['r1']);
    expect(world.ledger.due).toBe(world.now + 10 * SECOND);
    expect(world.ask(2, 1).reason).toContain('kept for those who waited before: 1');
    world.now += 9 * SECOND;
    expect(world.ledger.tell(world.now)).toEqual([]);
    world.now += SECOND;
    expect(world.ledger.tell(world.now)).toEqual(['r2']);
  });

  it('counts different targets for the storm, each once, and holds everything until it is calm', () => {
    const world = new World({ maxInFlight: 9, storm: { targets: 3, within: 60 * SECOND } }, 2);
    expect(world.ask(0, 1, ['a', 'b'])).toEqual({ granted: 1 });
    world.pass(20 * SECOND);
    expect(world.ask(1, 1, ['b'])).toEqual({ granted: 1 });
    world.pass(10 * SECOND);
    expect(world.ask(1, 1, ['c'])).toMatchObject({ granted: 0, notBefore: '2026-01-01T00:01:00.000Z' });
    expect(world.ledger.storm).toMatchObject({ since: '2026-01-01T00:00:30.000Z' });
    world.pass(29 * SECOND);
    expect(world.ledger.storm).toBeDefined();
    world.pass(SECOND);
    expect(world.ledger.storm).toBeUndefined();
    expect(world.responders[1]!.has).toBe(2);
  });

  it('stays small however many targets alert', () => {
    const world = new World({ maxInFlight: 9, storm: { targets: 30, within: HOUR } }, 1);
    for (let n = 0; n < 50; n++)
      world.ask(
        0,
        1,
        Array.from({ length: 200 }, (_, m) => `k8s/test/shop/pod/p-${n}-${m}`),
      );
    expect(JSON.stringify(world.ledger.carry()).length).toBeLessThan(100_000);
    expect(world.ledger.storm).toBeDefined();
  });
});

describe('the ledger of a budget, whatever comes', () => {
  const bound: fc.Arbitrary<Bound> = fc.oneof(
    fc.record({ percent: fc.integer({ min: 0, max: 100 }) }),
    fc.record({ count: fc.nat(4) }),
  );
  const pod = fc.nat(7).map((n) => `k8s/test/shop/pod/p${n}`);
  const move = fc.oneof(
    fc.record({
      target: pod,
      bound,
      desired: fc.integer({ min: 1, max: 8 }),
      unready: fc.array(pod, { maxLength: 4 }),
    }),
    fc.record({ free: pod }),
    fc.constant('carry' as const),
  );

  it('never lets more be unavailable than the strictest of those who have a place allows', () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
        let ledger = new BudgetLedger({ workload: 'w' });
        const held = new Map<string, ReserveRequest>();
        for (const one of moves) {
          if (one === 'carry') {
            ledger = new BudgetLedger({ workload: 'w', state: JSON.parse(JSON.stringify(ledger.carry())) });
          } else if ('free' in one) {
            ledger.free(one.free);
            held.delete(one.free);
          } else {
            const request = { ...one, holder: { workflowId: `remediation/${one.target}`, runId: one.target } };
            if (!ledger.reserve(request).granted) continue;
            held.set(one.target, request);
            const unavailable = new Set([...held.keys(), ...one.unready]);
            for (const { bound: its } of held.values())
              expect(unavailable.size).toBeLessThanOrEqual(allowance(its, one.desired));
          }
          expect(ledger.holders().map(({ runId }) => runId)).toEqual([...held.keys()]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
