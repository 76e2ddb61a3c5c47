import { describe, expect, test } from 'vitest';
import { stalled } from '../../../model/scaling/controller.ts';
import { Loop } from './support.ts';

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
    expect(found!.backlog.now).toBeGreaterThan(found!.backlog.before);
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
