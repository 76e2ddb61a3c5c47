import fc from 'fast-check';
import {
  type Decision,
  decide,
  type Observation,
  type Sample,
  type ScalingOptions,
  type ScalingState,
  scalingOptions,
  startingState,
} from '../../../model/scaling/controller.ts';

export const PERIOD = 15_000;

/** A start far from 0, as real times are. */
export const START = Date.UTC(2026, 0, 5, 9);

export const options = (given: Partial<ScalingOptions> = {}): ScalingOptions =>
  scalingOptions({ ...{ min: 1, max: 50, startUp: 30_000, drainWithin: 60_000, ratePerReplica: 10 }, ...given });

/** Decides again and again; what is decided is what the target is set to, and serves when `startUp` has passed. */
export class Loop {
  state: ScalingState = startingState();
  decision!: Decision;
  at = START;
  readonly options: ScalingOptions;
  #ready: number;
  #starting: { at: number; n: number }[] = [];
  #counters = { arrivals: 0, served: 0 };
  backlog = 0;

  constructor(ready: number, given: Partial<ScalingOptions> = {}) {
    this.#ready = ready;
    this.options = options(given);
  }

  get ready(): number {
    return this.#ready;
  }

  get desired(): number {
    return this.#ready + this.#starting.reduce((sum, { n }) => sum + n, 0);
  }

  /** One period in which so many items a second come and each replica serves `rate`; then a decision on a sample of now. */
  step(arrivals: number, rate = 10, change: (sample: Sample) => Sample | null = (sample) => sample): Decision {
    this.at += PERIOD;
    for (const order of this.#starting.filter(({ at }) => at <= this.at)) this.#ready += order.n;
    this.#starting = this.#starting.filter(({ at }) => at > this.at);
    const came = (arrivals * PERIOD) / 1000;
    const served = Math.min(this.backlog + came, (this.#ready * rate * PERIOD) / 1000);
    this.backlog += came - served;
    this.#counters.arrivals += came;
    this.#counters.served += served;
    const sample = change({
      ...{ at: this.at, backlog: this.backlog, ready: this.#ready },
      ...{ arrivalsTotal: this.#counters.arrivals, servedTotal: this.#counters.served },
    });
    return this.decide(sample);
  }

  steps(count: number, arrivals: number, rate?: number): Decision {
    for (let i = 0; i < count; i++) this.step(arrivals, rate);
    return this.decision;
  }

  /** The processes behind the counters were started again. */
  reset(): void {
    this.#counters = { arrivals: 0, served: 0 };
  }

  decide(sample: Sample | null): Decision {
    const { desired, ready } = this;
    const observation = { at: this.at, sample, ready, starting: desired - ready, desired };
    const answer = decide(this.state, observation, this.options);
    this.state = answer.state;
    this.decision = answer.decision;
    const change = answer.decision.desired - desired;
    if (change > 0) this.#starting.push({ at: this.at + this.options.startUp, n: change });
    for (let n = change; n < 0; n++) {
      const last = this.#starting.at(-1);
      if (last === undefined) this.#ready--;
      else if (--last.n === 0) this.#starting.pop();
    }
    return this.decision;
  }
}

const value = (max: number) =>
  fc.oneof(
    { weight: 8, arbitrary: fc.double({ min: 0, max, noNaN: true }) },
    { weight: 1, arbitrary: fc.constantFrom(Number.NaN, -1, Number.POSITIVE_INFINITY, 0) },
  );

/** Whatever a source may give, sense or nonsense. */
export const anySample: fc.Arbitrary<Omit<Sample, 'at'> | null> = fc.option(
  fc.record(
    {
      ...{ backlog: value(1e6), arrivalsTotal: value(1e9), arrivalRate: value(1e4), servedTotal: value(1e9) },
      ...{ latency: value(1e5), ready: value(60) },
    },
    { requiredKeys: [] },
  ),
);

/** Observations in the order of time. */
export const observations = (maxLength: number): fc.Arbitrary<Observation[]> =>
  fc
    .array(
      fc.record({
        wait: fc.integer({ min: 1, max: 90_000 }),
        age: fc.integer({ min: 0, max: 60_000 }),
        sample: anySample,
        ready: fc.integer({ min: 0, max: 60 }),
        starting: fc.integer({ min: 0, max: 20 }),
      }),
      { minLength: 1, maxLength },
    )
    .map((list) => {
      let at = START;
      return list.map(({ wait, age, sample, ready, starting }) => {
        at += wait;
        return { at, sample: sample && { ...sample, at: at - age }, ready, starting, desired: ready + starting };
      });
    });

const policy = fc.record({
  type: fc.constantFrom('Pods' as const, 'Percent' as const),
  value: fc.integer({ min: 1, max: 100 }),
  period: fc.integer({ min: 1000, max: 600_000 }),
});

const direction = fc.record({
  stabilization: fc.integer({ min: 0, max: 600_000 }),
  select: fc.constantFrom('Max' as const, 'Min' as const, 'Disabled' as const),
  policies: fc.array(policy, { maxLength: 3 }),
});

export const anyOptions: fc.Arbitrary<ScalingOptions> = fc
  .record(
    {
      ...{ min: fc.integer({ min: 0, max: 10 }), more: fc.integer({ min: 0, max: 60 }) },
      ...{ startUp: fc.integer({ min: 0, max: 300_000 }), drainWithin: fc.integer({ min: 1000, max: 600_000 }) },
      ratePerReplica: fc.double({ min: 0.1, max: 100, noNaN: true }),
      latency: fc.record({ objective: fc.integer({ min: 1, max: 1000 }) }),
      behavior: fc.record({ scaleUp: direction, scaleDown: direction }),
    },
    { requiredKeys: ['min', 'more', 'startUp', 'drainWithin'] },
  )
  .map(({ more, ...rest }) => scalingOptions({ ...rest, max: Math.max(1, rest.min + more) }));
