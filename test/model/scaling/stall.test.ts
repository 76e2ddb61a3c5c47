import { describe, expect, test } from 'vitest';
import { stalled } from '../../../model/scaling/controller.ts';
import { Loop, PERIOD } from './support.ts';

/** So many items a second are served, whatever the number of replicas: what they all wait for is elsewhere. */
function starved(loop: Loop, steps: number, arrivals: number, total: number): void {
  for (let i = 0; i < steps; i++) loop.step(arrivals, total / loop.ready);
}

describe('stalled', () => {
  test('replicas were added, serve, and the backlog does not fall: with the evidence', () => {
    const loop = new Loop(10);
    loop.steps(4, 60);
    starved(loop, 12, 60, 40);
    expect(loop.ready).toBeGreaterThan(10);
    expect(stalled(loop.state, loop.options)).toBeUndefined();
    starved(loop, 24, 60, 40);
    const found = stalled(loop.state, loop.options);
    expect(found).toMatchObject({ at: loop.at, ready: { before: 10, now: loop.ready } });
    expect(found!.at - found!.since).toBeGreaterThanOrEqual(300_000);
    expect(found).toMatchObject({ of: 'backlog' });
    expect(found!.level.now).toBeGreaterThan(found!.level.before);
    expect(found!.reason).toMatch(
      /^50 replicas serve instead of 10, and the backlog has not fallen for \w+ \(from [\d,]+ to [\d,]+ items\): more of the same will not help$/,
    );
  });

  test('not where the backlog falls, however slowly it began', () => {
    const loop = new Loop(10, { max: 14 });
    loop.backlog = 60_000;
    for (let i = 0; i < 100; i++) {
      loop.step(100);
      expect(stalled(loop.state, loop.options)).toBeUndefined();
    }
  });

  test('not where more replicas serve more and more may be had, though still more comes', () => {
    const loop = new Loop(10, { max: 5000, drainWithin: 3_600_000 });
    for (let load = 100; load < 2000; load *= 1.05) {
      loop.step(load);
      expect(stalled(loop.state, loop.options)).toBeUndefined();
    }
  });

  test('where all that may be had is too few', () => {
    const loop = new Loop(10, { max: 12 });
    loop.steps(60, 200);
    expect(stalled(loop.state, loop.options)).toMatchObject({ ready: { before: 10, now: 12 } });
  });

  test('not where items in work are counted as waiting, and are served within the time that the rule sets', () => {
    const loop = new Loop(2, { max: 50 });
    loop.steps(8, 60);
    expect(loop.ready).toBeGreaterThan(2);
    // Each replica has taken 15 items in advance; what comes is served at once.
    let arrived = 1_000_000;
    for (let i = 0; i < 60; i++) {
      loop.at += PERIOD;
      arrived += (50 * PERIOD) / 1000;
      loop.decide({ at: loop.at, backlog: 15 * loop.ready, arrivalsTotal: arrived, servedTotal: arrived - 500 });
      expect(stalled(loop.state, loop.options)).toBeUndefined();
    }
  });

  test('where what waits rests at more than can be served within the time that the rule sets', () => {
    const loop = new Loop(10);
    loop.steps(4, 60);
    // 20 items a second are served, and 60 times as many wait and more.
    starved(loop, 20, 60, 20);
    starved(loop, 24, 20, 20);
    expect(stalled(loop.state, loop.options)).toMatchObject({ of: 'backlog' });
  });

  test('where the backlog is not known by now nobody says that it has not fallen', () => {
    const loop = new Loop(10);
    loop.steps(4, 60);
    starved(loop, 40, 60, 40);
    expect(stalled(loop.state, loop.options)).toBeDefined();
    loop.step(60, 1, ({ backlog: _, ...rest }) => rest);
    expect(stalled(loop.state, loop.options)).toBeUndefined();
  });

  test('no longer when the backlog is gone', () => {
    const loop = new Loop(10);
    loop.steps(4, 60);
    starved(loop, 40, 60, 40);
    expect(stalled(loop.state, loop.options)).toBeDefined();
    loop.steps(30, 60);
    expect(loop.backlog).toBe(0);
    expect(stalled(loop.state, loop.options)).toBeUndefined();
  });
});

describe('stalled by latency alone', () => {
  const slow = (given = {}) => new Loop(2, { max: 40, latency: { objective: 0.5 }, ...given });

  /** So many looks, each of which sees this latency. */
  function see(loop: Loop, looks: number, latency: (ready: number) => number): void {
    for (let i = 0; i < looks; i++)
      loop.step(0, 10, ({ at, ready }) => ({ at, ready: ready!, latency: latency(ready!) }));
  }

  test('more replicas serve, and it stays over its objective: with the evidence', () => {
    const loop = slow();
    see(loop, 18, () => 2);
    expect(loop.ready).toBe(40);
    expect(stalled(loop.state, loop.options)).toBeUndefined();
    see(loop, 8, () => 2.1);
    expect(stalled(loop.state, loop.options)).toMatchObject({
      ...{ of: 'latency', level: { before: 2, now: 2.1 }, ready: { before: 2, now: 40 } },
      reason: expect.stringMatching(
        /^40 replicas serve instead of 2, and the latency has not fallen for \w+ \(from 2 to 2.1\): more of the same/,
      ),
    });
  });

  test('not where it falls with every replica, nor where it is within the tolerance', () => {
    const falling = slow({ latency: { objective: 0.1 } });
    const level = slow();
    for (let i = 0; i < 60; i++) {
      see(falling, 1, (ready) => 4 / ready);
      see(level, 1, (ready) => (ready > 2 ? 0.54 : 2));
      expect(stalled(falling.state, falling.options)).toBeUndefined();
      expect(stalled(level.state, level.options)).toBeUndefined();
    }
  });

  test('not where no replica was added', () => {
    const loop = slow({ max: 2 });
    see(loop, 60, () => 2);
    expect(stalled(loop.state, loop.options)).toBeUndefined();
  });
});
