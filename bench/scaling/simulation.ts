import { type Fault, type Scenario, WORLD } from './scenario.ts';

/** What is read at one time; the names are those of the JSON lines, which README.md explains. */
export interface Reading {
  t: number;
  backlog: number;
  arrivals_total: number;
  served_total: number;
  /** Of the replicas that are ready, the share of the last 15 s in which they worked. */
  cpu: number;
  ready: number;
}

/** What a controller is asked, every 15 s. */
export interface Question {
  t: number;
  sample: Reading | null;
  ready: number;
  starting: number;
  S: number;
  min: number;
  max: number;
  mu_nominal: number;
  objective_s: number;
}

/** Called once for each run, with what is known before it; answers the function that decides. */
export type Controller = () => (question: Question) => number;

export interface Figures {
  /** Seconds in which what comes would wait for longer than the objective. */
  over: number;
  worstBacklog: number;
  replicaHours: number;
}

export interface Second {
  t: number;
  arrivals: number;
  backlog: number;
  wait: number;
  ready: number;
  desired: number;
}

/**
 * A queue and replicas that serve it, in steps of a second. Replicas take `startUp` seconds until they serve, count as cost from
 * their order on, and go at once; those that have not started yet go first. A sample is 15 s old when it is read.
 */
export function simulate(
  scenario: Scenario,
  startUp: number,
  controller: Controller,
  watch?: (second: Second) => void,
): Figures {
  const fleet = new Fleet(Math.max(WORLD.min, Math.ceil((scenario.arrivals[0] ?? 0) / (0.7 * WORLD.ratePerReplica))));
  const retries = scenario.faults.find((fault) => fault.kind === 'retries');
  const decide = controller();
  const readings: Reading[] = [];
  const again: number[] = [];
  const recent: number[] = [];
  const figures = { over: 0, worstBacklog: 0, replicaHours: 0 };
  let [backlog, arrived, served] = [0, 0, 0];

  scenario.arrivals.forEach((fresh, t) => {
    fleet.advance(t);
    if (scenario.faults.some((fault) => fault.kind === 'counter-reset' && fault.at === t)) [arrived, served] = [0, 0];
    const capacity = fleet.ready * WORLD.ratePerReplica * slowness(scenario.faults, t);
    const coming = fresh + (again[t] ?? 0);
    const done = Math.min(backlog + coming, capacity);
    backlog += coming - done;
    arrived += coming;
    served += done;
    recent.push(capacity > 0 ? done / capacity : 1);
    const wait = backlog === 0 ? 0 : backlog / capacity;
    if (retries && wait > retries.patience) again[t + retries.patience] = coming * retries.share;

    if (wait > WORLD.objective) figures.over++;
    figures.worstBacklog = Math.max(figures.worstBacklog, backlog);
    figures.replicaHours += (fleet.ready + fleet.starting) / 3600;
    watch?.({ t, arrivals: coming, backlog, wait, ready: fleet.ready, desired: fleet.ready + fleet.starting });

    if (t % WORLD.period !== 0) return;
    const cpu = recent.slice(-15).reduce((sum, share) => sum + share, 0) / Math.min(15, recent.length);
    const reading = { t, backlog, arrivals_total: arrived, served_total: served, cpu, ready: fleet.ready };
    if (!isMissing(scenario.faults, t)) readings.push(reading);
    const sample = isMissing(scenario.faults, t)
      ? null
      : (readings.findLast((one) => one.t <= t - WORLD.dataAge) ?? null);
    const { ready, starting } = fleet;
    const { min, max, ratePerReplica, objective } = WORLD;
    const desired = decide({
      t,
      sample,
      ready,
      starting,
      S: startUp,
      min,
      max,
      mu_nominal: ratePerReplica,
      objective_s: objective,
    });
    fleet.scaleTo(Math.min(max, Math.max(min, Math.round(desired))), t + startUp);
  });
  return figures;
}

class Fleet {
  ready: number;
  /** When each replica that was ordered will serve; the first ordered first. */
  #starting: number[] = [];

  constructor(ready: number) {
    this.ready = ready;
  }

  get starting(): number {
    return this.#starting.length;
  }

  advance(t: number): void {
    while ((this.#starting[0] ?? Number.POSITIVE_INFINITY) <= t) {
      this.#starting.shift();
      this.ready++;
    }
  }

  scaleTo(desired: number, readyAt: number): void {
    while (this.ready + this.starting < desired) this.#starting.push(readyAt);
    while (this.ready + this.starting > desired) {
      if (this.#starting.pop() === undefined) this.ready--;
    }
  }
}

const slowness = (faults: readonly Fault[], t: number): number =>
  faults.reduce((all, f) => (f.kind === 'service-rate' && f.from <= t && t < f.to ? all * f.factor : all), 1);

const isMissing = (faults: readonly Fault[], t: number): boolean =>
  faults.some((fault) => fault.kind === 'missing-metrics' && fault.from <= t && t < fault.to);
