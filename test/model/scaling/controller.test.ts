import { describe, expect, test } from 'vitest';
import { decide, type Sample, startingState } from '../../../model/scaling/controller.ts';
import { Loop, options, PERIOD, START } from './support.ts';

const one = (sample: object | null, given = {}, desired = 5, ready = desired) =>
  decide(
    startingState(),
    { at: START, sample: sample && { at: START, ...sample }, ready, starting: desired - ready, desired },
    options(given),
  ).decision;

describe('the backlog', () => {
  test('asks for enough to drain it within drainWithin from the moment at which an order serves', () => {
    // Five replicas serve 50 a second; nothing is known of what comes: 10,000 less 45 s of that are left in 45 s.
    const decision = one({ backlog: 10_000 });
    expect(decision).toMatchObject({ desired: 13, by: 'backlog', evidence: { asked: { backlog: 13 } } });
    expect(decision.forecast).toEqual({ at: START + 45_000, backlog: expect.closeTo(7750, 5) });
    expect(decision.reason).toBe(
      '10,000 items wait (7,750 in 45s without a new order), a replica serves 10, the backlog asks for 13: it goes up from 5 to 13 replicas',
    );
  });

  test('what is ordered already counts, and is ordered once', () => {
    const loop = new Loop(5);
    loop.steps(20, 40);
    expect(loop.desired).toBeLessThanOrEqual(6);
    loop.backlog = 6000;
    const first = loop.step(40).desired;
    expect(first).toBeGreaterThan(8);
    // What it was told of later is less than what it has ordered.
    expect(loop.steps(2, 40).desired).toBe(first);
    expect(loop.decision).toMatchObject({ hold: 'order' });
  });

  test('an order is given up as soon as those that serve will do without it', () => {
    const loop = new Loop(5, { startUp: 120_000 });
    loop.steps(20, 30);
    const calm = loop.desired;
    loop.steps(2, 200);
    expect(loop.decision.desired).toBeGreaterThan(2 * calm);
    loop.backlog = 0;
    const { desired, evidence } = loop.steps(3, 30);
    expect(evidence.starting).toBeGreaterThan(0);
    expect(desired).toBeLessThan(30);
    expect(loop.ready).toBeGreaterThanOrEqual(calm);
  });

  test('without anything known of a replica: at least one, and it says what is not known', () => {
    const decision = one({ backlog: 100 }, { ratePerReplica: undefined, min: 0 }, 0);
    expect(decision).toMatchObject({ desired: 1, by: 'backlog' });
    expect(one({ backlog: 100 }, { ratePerReplica: undefined })).toMatchObject({
      ...{ desired: 5, hold: 'partial-data' },
      reason: expect.stringContaining('how much a replica serves is not known, so it does not go down'),
    });
  });
});

describe('the rate', () => {
  test('of what comes asks for a quarter more than is needed', () => {
    const loop = new Loop(12);
    expect(loop.steps(30, 90).evidence.asked).toMatchObject({ rate: 12, backlog: 0 });
    expect(loop.decision).toMatchObject({ desired: 12, by: 'rate' });
  });

  test('a rise is followed to where it will be, before anything waits', () => {
    const loop = new Loop(12, { startUp: 120_000 });
    loop.steps(20, 80);
    for (let load = 80; loop.desired === 12; load += 4) loop.step(load);
    expect(loop.backlog).toBe(0);
    expect(loop.decision.evidence.arrivalsAhead).toBeGreaterThan(loop.decision.evidence.arrivals! * 1.2);
  });

  test('one interval that stands out makes no trend', () => {
    const loop = new Loop(12);
    loop.steps(12, 80);
    loop.step(110);
    for (let i = 0; i < 12; i++) {
      const { evidence } = loop.step(80);
      expect(evidence.arrivalsAhead).toBe(evidence.arrivals);
    }
  });

  test('a source that measures only every other time is not taken for one to which nothing comes', () => {
    const loop = new Loop(12);
    let old: Sample | undefined;
    for (let i = 0; i < 24; i++) {
      const { evidence } = loop.step(80, 10, (sample) => {
        old = i % 2 === 0 || !old ? sample : { ...old, at: sample.at };
        return old;
      });
      if (i > 1) expect(evidence.arrivals).toBe(80);
    }
  });

  test('a replica that serves less than was said is seen as soon as something waits', () => {
    const loop = new Loop(12);
    loop.steps(10, 80);
    loop.steps(3, 80, 5);
    expect(loop.decision.evidence).toMatchObject({ rateBasis: 'measured', ratePerReplica: 5 });
    expect(loop.desired).toBeGreaterThan(16);
  });

  test('that nobody knows, with nothing waiting, is no reason for more than serve it now', () => {
    for (const load of [5, 20, 45]) {
      const loop = new Loop(5);
      const { ratePerReplica: _, ...unknown } = loop.options;
      Object.assign(loop, { options: unknown });
      loop.steps(40, load);
      expect(loop.decision).toMatchObject({ desired: 5, evidence: { rateBasis: 'bound' } });
      expect(loop.decision.reason).toContain(`a replica serves ${load / 5} or more`);
      // As soon as something waits it is known.
      loop.steps(20, 60);
      expect(loop.decision).toMatchObject({ desired: 8, evidence: { rateBasis: 'measured', ratePerReplica: 10 } });
    }
  });
});

describe('the latency', () => {
  const latency = { objective: 200 };
  const alone = { latency, ratePerReplica: undefined };

  test('asks in proportion to its objective, up and down', () => {
    expect(one({ latency: 500 }, alone)).toMatchObject({ desired: 13, by: 'latency' });
    const decision = one({ latency: 500 }, alone);
    expect(decision.reason).toBe('the latency is 500, the latency asks for 13: it goes up from 5 to 13 replicas');
    expect(one({ latency: 100 }, alone)).toMatchObject({ desired: 5, hold: 'stabilization' });
  });

  test('within the tolerance nothing is done', () => {
    expect(one({ latency: 219 }, alone)).toMatchObject({ desired: 5, evidence: { asked: { latency: 5 } } });
    expect(one({ latency: 181 }, alone)).toMatchObject({ desired: 5, evidence: { asked: { latency: 5 } } });
  });

  test('of several signals the most counts', () => {
    expect(one({ backlog: 10_000, latency: 300 }, { latency })).toMatchObject({ desired: 13, by: 'backlog' });
    expect(one({ backlog: 10_000, latency: 900 }, { latency })).toMatchObject({ desired: 23, by: 'latency' });
  });

  test('where it is missing the other may ask for more, never for less', () => {
    expect(one({ backlog: 10_000 }, { latency }).desired).toBe(13);
    expect(one({ backlog: 0 }, { latency })).toMatchObject({
      ...{ desired: 5, hold: 'partial-data' },
      reason: expect.stringContaining('the latency is not known'),
    });
  });
});

describe('data', () => {
  test('none, and none that is new: it stays, and says so', () => {
    expect(one(null)).toMatchObject({ desired: 5, by: 'none', hold: 'missing-data' });
    expect(one(null).reason).toBe(
      'nothing has been measured yet: the target stays at 5 replicas, for missing data is not zero',
    );
    expect(one({ backlog: Number.NaN })).toMatchObject({ desired: 5, hold: 'missing-data' });
    const loop = new Loop(12);
    loop.steps(4, 80);
    loop.at += PERIOD;
    expect(loop.decide(null).reason).toMatch(/^nothing new has been measured for 15s: /);
  });

  test('what is too old is none, and a clock that is ahead is not followed', () => {
    expect(one({ backlog: 10_000, at: START - 301_000 })).toMatchObject({ desired: 5, hold: 'missing-data' });
    expect(one({ backlog: 10_000, at: START - 299_000 }).hold).not.toBe('missing-data');
    expect(one({ backlog: 10_000, at: START + 3_600_000 })).toMatchObject({
      ...{ desired: 13, evidence: { sampleAt: START } },
    });
  });

  test('after a long silence nothing is lowered before the stabilization has passed again', () => {
    const loop = new Loop(30);
    loop.steps(2, 80);
    for (let i = 0; i < 100; i++) {
      loop.at += PERIOD;
      loop.decide(null);
    }
    loop.steps(19, 80);
    expect(loop.desired).toBe(30);
    loop.steps(3, 80);
    expect(loop.desired).toBe(11);
  });

  test('limits stand even then', () => {
    expect(one(null, { max: 4 })).toMatchObject({ desired: 4, by: 'limits' });
    expect(one({ backlog: 1e6 }, { max: 8 })).toMatchObject({ desired: 8, by: 'limits' });
    expect(one({ backlog: 1e6 }, { max: 8 }).reason).toContain('8 replicas, the most that is allowed');
  });
});

describe('behaviour', () => {
  const policies = [{ type: 'Pods' as const, value: 2, period: 60_000 }];
  const { behavior } = options();

  test('upwards a policy lets no more through than it says in its period', () => {
    const scaleUp = { ...behavior.scaleUp, policies };
    const loop = new Loop(5, { behavior: { ...behavior, scaleUp } });
    loop.backlog = 10_000;
    expect(loop.step(50)).toMatchObject({ desired: 7, hold: 'policy' });
    expect(loop.steps(3, 50).desired).toBe(7);
    expect(loop.step(50).desired).toBe(9);
  });

  test('upwards a stabilization waits until it was asked for all the time', () => {
    const scaleUp = { ...behavior.scaleUp, stabilization: 60_000 };
    const loop = new Loop(5, { behavior: { ...behavior, scaleUp } });
    loop.steps(8, 30);
    loop.backlog = 10_000;
    for (let i = 0; i < 3; i++) expect(loop.step(30)).toMatchObject({ desired: 5, hold: 'stabilization' });
    loop.step(30);
    expect(loop.step(30).desired).toBeGreaterThan(5);
  });

  test('downwards after the stabilization, in the steps of the policy', () => {
    const scaleDown = { ...behavior.scaleDown, policies };
    const loop = new Loop(20, { behavior: { ...behavior, scaleDown } });
    expect(loop.steps(20, 40).desired).toBe(20);
    expect(loop.steps(2, 40)).toMatchObject({ desired: 18, hold: 'policy' });
    expect(loop.steps(4, 40).desired).toBe(16);
  });

  test('Disabled: never', () => {
    const scaleDown = { ...behavior.scaleDown, select: 'Disabled' as const };
    const loop = new Loop(20, { behavior: { ...behavior, scaleDown } });
    expect(loop.steps(60, 10)).toMatchObject({ desired: 20, hold: 'policy' });
  });
});

describe('the start-up time', () => {
  test('is learnt from orders that were done, and from one that is late', () => {
    const loop = new Loop(5, { startUp: 90_000 });
    const wrong = options({ startUp: 15_000 });
    loop.backlog = 20_000;
    loop.step(40);
    // The replicas take 90 s, the estimate says 15.
    const told = decide(loop.state, { ...observationOf(loop), sample: null }, wrong);
    expect(told.decision.evidence.startUp).toBe(30_000);
    loop.steps(8, 40);
    const { low, high } = loop.state.orders.took[0]!;
    expect([low, high]).toEqual([75_000, 90_000]);
    const after = decide(loop.state, { ...observationOf(loop), sample: null }, wrong);
    expect(after.decision.evidence.startUp).toBe(75_000);
  });

  const observationOf = (loop: Loop) => ({
    ...{ at: loop.at + 2 * PERIOD, ready: loop.ready, starting: loop.desired - loop.ready, desired: loop.desired },
  });
});
