import type { Config } from '../model/config.ts';
import { canonicalJson } from '../model/digest.ts';
import { type Arrival, arrivalsOf } from './arrivals.ts';
import { CHANGES, type ChangeKind, type Difference, differenceOf, type Pair, pairsOf, ruleOf } from './compare.ts';
import { Evidence } from './evidence.ts';
import type { Recorded, RecordedRequest } from './record.ts';
import { isWhole, type Matched, newRoutes, recordedRoutes } from './routes.ts';
import { type Fate, simulate } from './simulate.ts';

export interface Backtest {
  /** Decisions that were compared. */
  compared: number;
  /** ISO times of the requests of the first and the last of them. */
  first?: string;
  last?: string;
  /** By rule, kind of change and time. */
  differences: Difference[];
  totals: { rule: string; change: ChangeKind; count: number }[];
  unknown: Unknown;
}

/** What the record does not tell. */
export interface Unknown {
  /** Decisions that the simulation under the recorded rules comes to otherwise than the record. */
  unreproduced: number;
  /** Alerts that keep their rule, for not all of their labels are on record. */
  withoutLabels: number;
  /** Alerts that were left out, for the settings of their rule are not on record. */
  leftOut: number;
  /**
   * Alerts that were left out, for what decided about them is not in any configuration: a pause, `salvor.dev/skip`, what was
   * held, unhealthy or could not be read at that time, or what the limits had left.
   */
  ofTheMoment: number;
  /** Notes that never reached the audit store. */
  lost: number;
  /** Rules whose `with` differs: nobody has seen how their remediations would go with it. */
  changedOptions: string[];
  /** Gates that differ for a rule, and rest on what nobody knows of that time. */
  changedGates: string[];
}

/** Gates that decide by what was at that time, which is not on record. */
const OF_THE_MOMENT: ReadonlySet<string> = new Set([
  'paused',
  'excluded',
  'evidence',
  'held',
  'limits',
  'storm',
  'unavailable',
  'plan-changed',
]);

export interface BacktestOptions {
  /** Milliseconds since the epoch: what was asked for before then is only the past of what is compared. */
  from: number;
  /** Only decisions of this rule, be it under the recorded rules or the new ones. */
  rule?: string;
}

/**
 * Puts what is on record through the recorded rules and through those of a configuration, and compares what each
 * decides. Pure: the same record and configuration give the same answer, whatever the order of the record.
 */
export function backtest(recorded: Recorded, config: Config, { from, rule }: BacktestOptions): Backtest {
  const { arrivals, leftOut, ofTheMoment } = knownArrivals(recorded, from);
  const pairs = simulateBoth(recorded, arrivals, config).filter(
    ({ arrival, before, after }) =>
      arrival.at >= from && (rule === undefined || [before, after].some((end) => end && ruleOf(end) === rule)),
  );
  const differences = pairs
    .map((pair) => differenceOf(pair, config))
    .filter((difference) => difference !== undefined)
    .sort(byRuleAndChange);
  const [first, last] = [pairs[0], pairs.at(-1)];
  const withoutLabels = new Set(pairs.map(({ arrival }) => arrival).filter(keepsItsRule));
  return {
    compared: pairs.length,
    ...(first && last && { first: iso(first.arrival.at), last: iso(last.arrival.at) }),
    differences,
    totals: totalsOf(differences),
    unknown: {
      unreproduced: pairs.filter((pair) => !isReproduced(pair)).length,
      withoutLabels: withoutLabels.size,
      leftOut,
      ofTheMoment,
      lost: recorded.lost,
      changedOptions: [...new Set(pairs.flatMap(changedOptions))].sort(),
      changedGates: [...new Set(pairs.flatMap(changedGates))].sort(),
    },
  };
}

/** Those that can be simulated under the rules of the record. */
function knownArrivals(recorded: Recorded, from: number) {
  const [moment, decidable] = partition(arrivalsOf(recorded), isOfTheMoment);
  const all = decidable.map((arrival) => ({ arrival, was: recordedRoutes(arrival, recorded.rules) }));
  const arrivals = all.flatMap(({ arrival, was }) => (was ? [{ arrival, was }] : []));
  return {
    arrivals,
    leftOut: all.filter(({ arrival, was }) => was === undefined && arrival.at >= from).length,
    ofTheMoment: moment.filter(({ at }) => at >= from).length,
  };
}

const partition = <T>(all: readonly T[], which: (one: T) => boolean): [T[], T[]] => [
  all.filter(which),
  all.filter((one) => !which(one)),
];

const isOfTheMoment = ({ requests }: Arrival): boolean =>
  requests.some(({ wait, refused }) => [wait, refused].some((decided) => decided && OF_THE_MOMENT.has(decided.gate)));

function simulateBoth(recorded: Recorded, known: { arrival: Arrival; was: Matched[] }[], config: Config): Pair[] {
  const arrivals = known.map(({ arrival }) => arrival);
  const evidence = new Evidence(recorded.requests);
  const routes = arrivals.map((arrival) => newRoutes(arrival, recorded.rules, config));
  const before = simulate(
    arrivals,
    known.map(({ was }) => was),
    evidence,
  );
  const after = simulate(arrivals, routes, evidence);
  return arrivals.flatMap((arrival, i) => {
    const problems = (routes[i] ?? []).filter((route) => route.kind === 'problem');
    return pairsOf(arrival, before[i] ?? [], [...(after[i] ?? []), ...problems]);
  });
}

const iso = (at: number): string => new Date(at).toISOString();

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** The sort is stable: within a kind they stay in the order in which they came. */
const byRuleAndChange = (a: Difference, b: Difference): number =>
  compare(a.rule, b.rule) || CHANGES.indexOf(a.change) - CHANGES.indexOf(b.change);

function totalsOf(differences: readonly Difference[]): Backtest['totals'] {
  const totals: Backtest['totals'] = [];
  for (const { rule, change } of differences) {
    const last = totals.at(-1);
    if (last?.rule === rule && last.change === change) last.count += 1;
    else totals.push({ rule, change, count: 1 });
  }
  return totals;
}

const keepsItsRule = ({ alert }: Arrival): boolean => alert.by === 'alertmanager' && !isWhole(alert);

const changedOptions = ({ before, after }: Pair): string[] =>
  before &&
  after &&
  'route' in after &&
  ruleOf(before) === ruleOf(after) &&
  canonicalJson(before.route.rule.with) !== canonicalJson(after.route.rule.with)
    ? [ruleOf(before)]
    : [];

/** Of a rule that both know: which of the gates that are not simulated have other settings. */
function changedGates({ before, after }: Pair): string[] {
  if (!before || !after || !('route' in after) || ruleOf(before) !== ruleOf(after)) return [];
  const [was, is] = [before.route.rule, after.route.rule].map(({ gates, limits }) => ({
    maxUnavailable: gates.maxUnavailable,
    storm: gates.storm,
    failClosed: gates.failClosed,
    limits,
  }));
  const differs = (name: keyof NonNullable<typeof was>): boolean =>
    canonicalJson(was?.[name] ?? null) !== canonicalJson(is?.[name] ?? null);
  return (['maxUnavailable', 'storm', 'failClosed', 'limits'] as const)
    .filter(differs)
    .map((name) => `${ruleOf(before)}: ${name}`);
}

/** Whether the simulation under the recorded rules comes to what is on record. */
function isReproduced({ arrival, before }: Pair): boolean {
  const recorded = before && arrival.requests.find((request) => request.rule === ruleOf(before));
  if (!recorded) return true;
  const { decision, gate, decidedAt } = endOf(recorded);
  // It still waited when the record ends.
  if (decision === 'waiting') return recorded.wait?.gate === before.wait?.gate;
  if (before.decision !== decision || (decision === 'refused' && before.gate !== gate)) return false;
  const took = recorded.wait ? decidedAt - recorded.at : 0;
  const takes = before.wait ? before.decidedAt - before.at : 0;
  const tolerance = Math.max(MOMENTS, took / 10);
  if (Math.abs(took - takes) > tolerance) return false;
  return Math.min(took, takes) <= tolerance || recorded.wait?.gate === before.wait?.gate;
}

/** Milliseconds. Starting takes a moment that the simulation does not count; who waits for many others waits for as many. */
const MOMENTS = 10_000;

function endOf({
  at,
  wait,
  refused,
  droppedAt,
  episode,
}: RecordedRequest): Pick<Fate, 'decision' | 'gate' | 'decidedAt'> {
  if (refused) return { decision: 'refused', gate: refused.gate, decidedAt: refused.at };
  if (droppedAt !== undefined) return { decision: 'dropped', decidedAt: droppedAt };
  if (episode) return { decision: 'admitted', decidedAt: episode.begunAt };
  return { decision: wait ? 'waiting' : 'coalesced', decidedAt: at };
}
