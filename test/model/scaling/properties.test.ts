import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide, type ScalingState, stalled, startingState } from '../../../model/scaling/controller.ts';
import { anyOptions, Loop, observations, options, PERIOD, START } from './support.ts';

const BOUND = 32 * 1024;

describe('whatever is observed', () => {
  test('the number is whole and within the limits, and the state is small plain JSON that decides the same', () => {
    fc.assert(
      fc.property(anyOptions, observations(60), (given, list) => {
        let state: ScalingState = startingState();
        for (const observation of list) {
          const before = JSON.stringify(state);
          const { state: next, decision } = decide(state, observation, given);
          expect(JSON.stringify(state)).toBe(before);
          expect(decision.desired).toBeGreaterThanOrEqual(given.min);
          expect(decision.desired).toBeLessThanOrEqual(given.max);
          expect(Number.isInteger(decision.desired)).toBe(true);
          expect(decision.reason).not.toMatch(/NaN|undefined|Infinity|\n/);
          expect(JSON.parse(JSON.stringify(decision))).toEqual(decision);
          const copy = JSON.parse(JSON.stringify(next)) as ScalingState;
          expect(decide(copy, observation, given)).toEqual(decide(next, observation, given));
          stalled(next, given);
          state = copy;
        }
      }),
      { numRuns: 150 },
    );
  });

  test('missing data never scales down, whatever was known before', () => {
    fc.assert(
      fc.property(anyOptions, observations(30), fc.integer({ min: 1, max: 600_000 }), (given, list, wait) => {
        let state = startingState();
        for (const observation of list) ({ state } = decide(state, observation, given));
        const last = list.at(-1)!;
        const desired = Math.min(given.max, Math.max(given.min, last.desired));
        const old = state.last ?? null;
        for (const sample of [null, old, { at: last.at + wait }]) {
          const { decision } = decide(state, { ...last, at: last.at + wait, sample, desired }, given);
          expect(decision).toMatchObject({ desired, hold: 'missing-data' });
          expect(decision.reason).toContain('missing data is not zero');
        }
      }),
      { numRuns: 150 },
    );
  });

  test('one signal that is missing never scales down either', () => {
    const loads = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(
        loads,
        fc.integer({ min: 1, max: 50 }),
        fc.constantFrom('backlog', 'arrivals'),
        (list, ready, lost) => {
          const loop = new Loop(ready);
          for (const load of list) loop.step(load);
          for (let i = 0; i < 40; i++) {
            const before = loop.desired;
            const { desired } = loop.step(0, 10, ({ at, backlog, arrivalsTotal, servedTotal }) =>
              lost === 'backlog' ? { at, arrivalsTotal, servedTotal } : { at, backlog },
            );
            // How much came last stands for a minute.
            if (lost === 'backlog' || i > 5) expect(desired).toBeGreaterThanOrEqual(before);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test('a larger backlog never asks for less', () => {
    const loads = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 40 });
    const backlog = fc.integer({ min: 0, max: 20_000 });
    fc.assert(
      fc.property(loads, fc.integer({ min: 1, max: 50 }), backlog, backlog, (list, ready, a, b) => {
        const loop = new Loop(ready);
        for (const load of list) loop.step(load);
        const at = loop.at + PERIOD;
        const [less, more] = [Math.min(a, b), Math.max(a, b)].map((items) => {
          // Counters that say no more than before, so that only the backlog differs.
          const sample = { at, backlog: items, arrivalRate: 50 };
          const observation = {
            at,
            sample,
            ready: loop.ready,
            starting: loop.desired - loop.ready,
            desired: loop.desired,
          };
          return decide(loop.state, observation, loop.options).decision.desired;
        });
        expect(more).toBeGreaterThanOrEqual(less!);
      }),
      { numRuns: 200 },
    );
  });

  test('a reset of the counters is never a spike', () => {
    const level = fc.integer({ min: 0, max: 300 });
    fc.assert(
      fc.property(level, fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 30 }), (load, steps, after) => {
        const loop = new Loop(Math.ceil(load / 7) + 1);
        loop.steps(steps, load);
        loop.reset();
        const most = loop.desired;
        for (let i = 0; i < after; i++) expect(loop.step(load).desired).toBeLessThanOrEqual(most);
      }),
    );
  });

  test('stabilization never lowers early: not below the most that the rate has asked for in the window', () => {
    const loads = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 2, maxLength: 80 });
    fc.assert(
      fc.property(loads, fc.integer({ min: 0, max: 600_000 }), (list, stabilization) => {
        const behavior = { ...options().behavior, scaleDown: { stabilization, select: 'Max' as const, policies: [] } };
        const loop = new Loop(5, { behavior });
        const asked: { at: number; n: number }[] = [{ at: START + PERIOD, n: 5 }];
        for (const load of list) {
          const before = loop.desired;
          const { desired, evidence } = loop.step(load);
          asked.push({ at: loop.at, n: evidence.asked.rate ?? 0 });
          const window = asked.filter(({ at }) => at > loop.at - stabilization).map(({ n }) => n);
          if (desired < before) expect(desired).toBeGreaterThanOrEqual(Math.min(50, Math.max(0, ...window)));
        }
      }),
      { numRuns: 200 },
    );
  });
});

test('the state stays small after many decisions, one a second, with long windows', () => {
  let state = startingState();
  const policies = [{ type: 'Pods' as const, value: 100, period: 1_800_000 }];
  const slow = { stabilization: 3_600_000, select: 'Max' as const, policies };
  const given = options({ max: 100_000, period: 1000, behavior: { scaleUp: slow, scaleDown: slow } });
  let [arrivals, served] = [0, 0];
  for (let i = 0; i < 20_000; i++) {
    const at = START + i * 1000;
    const ready = 40_000 - i + (i % 7) * 3;
    arrivals += 123.456789 * (i % 11);
    served += 119.87654321 * (i % 13);
    const sample = { at, backlog: 1e9 / (i + 1), arrivalsTotal: arrivals, servedTotal: served, latency: 1 / 3 };
    ({ state } = decide(state, { at, sample, ready, starting: 0, desired: ready }, given));
    if (i % 500 === 0) expect(JSON.stringify(state).length).toBeLessThan(BOUND);
  }
  expect(JSON.stringify(state).length).toBeLessThan(BOUND);
});
