import type { Config } from '../model/config.ts';
import { formatDuration } from '../model/duration.ts';
import { explain, type Routed } from '../model/routing.ts';
import type { Mode, ResolvedGates, ResolvedRule } from '../model/rule.ts';
import { isTick } from '../model/tick.ts';
import type { Arrival } from './arrivals.ts';
import type { Fate } from './simulate.ts';

/** What became of one alert at one rule. */
export interface Way {
  /** `unmatched`: no rule takes it. `aimless`: a rule takes it and makes no target of it. */
  decision: Exclude<Fate['decision'], 'waiting'> | 'unmatched' | 'aimless';
  rule?: string;
  mode?: Mode;
  target?: string;
  scope?: string;
  /** Seconds between the request and its decision. */
  waited?: number;
  /** That made it wait, or refused it. */
  gate?: string;
  reason?: string;
}

/** The kinds of a change, in the order in which they are shown. */
export const CHANGES = [
  'no rule any more',
  'another rule',
  'a rule more',
  'no target any more',
  'another target',
  'starts now',
  'refused now',
  'dropped now',
  'nothing new now',
  'acts now',
  'proposes now',
  'observes now',
  'waits now',
  'waits no longer',
  'waits longer',
  'waits shorter',
  'another gate',
  'another scope',
] as const;
export type ChangeKind = (typeof CHANGES)[number];

/** A decision that would be another one. */
export interface Difference {
  /** ISO time at which it was asked for. */
  at: string;
  alertname: string;
  fingerprint: string;
  startsAt: string;
  /** Where it went by the record; where no rule had taken it, where it goes now. */
  rule: string;
  target: string;
  change: ChangeKind;
  before: Way;
  after: Way;
  /** For people. */
  why: string;
  /** It rests on a remediation that nobody has seen. */
  assumed: boolean;
}

/** One request: what became of it under the recorded rules, and what becomes of it under the new ones. */
export interface Pair {
  arrival: Arrival;
  before?: Fate;
  after?: Fate | Problem;
}

type Problem = Extract<Routed, { kind: 'problem' }>;

/** By rule; what is left on both sides has moved from one rule to another. What says nothing new is no decision. */
export function pairsOf(arrival: Arrival, before: readonly Fate[], after: readonly (Fate | Problem)[]): Pair[] {
  const left = [...after].sort((a, b) => Number(isRepeat(a)) - Number(isRepeat(b)));
  const take = (which: (end: Fate | Problem) => boolean) => {
    const at = left.findIndex(which);
    return at < 0 ? undefined : left.splice(at, 1)[0];
  };
  const kept = before.map((fate) => ({ before: fate, after: take((end) => ruleOf(end) === ruleOf(fate)) }));
  const moved = kept.map((pair) => (pair.after ? pair : { ...pair, after: take(() => true) }));
  const pairs: Omit<Pair, 'arrival'>[] = [...moved, ...left.map((end) => ({ after: end }))];
  return pairs
    .filter((pair) => [pair.before, pair.after].some((end) => end && !isRepeat(end)))
    .map((pair) => ({ arrival, ...pair }));
}

const isRepeat = (end: Fate | Problem): boolean => 'decision' in end && end.decision === 'coalesced';

export const ruleOf = (end: Fate | Problem): string => ('kind' in end ? end.rule : end.route.rule.name);

/** @returns undefined where nothing that matters differs */
export function differenceOf(pair: Pair, config: Config): Difference | undefined {
  const [was, is] = [wayOf(pair.before), wayOf(pair.after)];
  const change = changeOf(was, is);
  if (!change) return undefined;
  const { at, alert } = pair.arrival;
  const { alertname, fingerprint, startsAt } = alert;
  return {
    at: new Date(at).toISOString(),
    alertname,
    fingerprint,
    startsAt,
    rule: was.rule ?? is.rule ?? '',
    target: was.target ?? is.target ?? '',
    change,
    before: was,
    after: is,
    why: why(pair, was, is, config),
    assumed: [pair.before, pair.after].some((end) => end && 'assumed' in end && end.assumed),
  };
}

/** What became of a request, as it is compared and shown. */
function wayOf(end: Fate | Problem | undefined): Way {
  if (!end) return { decision: 'unmatched' };
  if ('kind' in end) return { decision: 'aimless', rule: end.rule, reason: end.problem };
  const { route, decision, wait, at, decidedAt } = end;
  // The simulation goes on until nothing waits.
  if (decision === 'waiting') throw new Error(`undecided: ${route.request.target}`);
  const { rule, scope, request } = route;
  const way: Way = { decision, rule: rule.name, mode: rule.mode, target: request.target, scope };
  const waited = Math.round((decidedAt - at) / 1000);
  // Less than a second is no wait to a person.
  if (decision === 'admitted') return waited > 0 ? { ...way, waited, ...wait } : way;
  return {
    ...way,
    ...wait,
    ...(waited > 0 && { waited }),
    ...(end.gate !== undefined && { gate: end.gate, reason: end.reason }),
  };
}

function changeOf(was: Way, is: Way): ChangeKind | undefined {
  if (is.decision === 'unmatched') return was.decision === 'unmatched' ? undefined : 'no rule any more';
  if (was.decision === 'unmatched') return 'a rule more';
  if (was.rule !== is.rule) return 'another rule';
  if (is.decision === 'aimless') return 'no target any more';
  if (was.target !== is.target) return 'another target';
  if (was.decision !== is.decision) return DECIDED[is.decision];
  if (is.decision === 'coalesced') return undefined;
  if (was.mode !== is.mode && is.mode) return MODE_NOW[is.mode];
  const [before, after] = [was.waited ?? 0, is.waited ?? 0];
  if (before === 0 && after > 0) return 'waits now';
  if (before > 0 && after === 0) return 'waits no longer';
  if (before !== after) return after > before ? 'waits longer' : 'waits shorter';
  if (was.gate !== is.gate) return 'another gate';
  return was.scope === is.scope ? undefined : 'another scope';
}

const MODE_NOW = { act: 'acts now', propose: 'proposes now', observe: 'observes now' } as const;

const DECIDED = {
  admitted: 'starts now',
  refused: 'refused now',
  dropped: 'dropped now',
  coalesced: 'nothing new now',
} as const;

/** Why the decision differs: what of the configuration has changed, as far as it is about this request. */
function why({ arrival, before, after }: Pair, was: Way, is: Way, config: Config): string {
  if (is.decision === 'aimless') return is.reason ?? '';
  if (before && (is.decision === 'unmatched' || was.rule !== is.rule))
    return lostBy(ruleOf(before), arrival, is, config);
  if (!before || !after || 'kind' in after) return `rule ${is.rule} takes it now`;
  const causes = [
    ...(was.target === is.target ? [] : [`target ${was.target} → ${is.target}`]),
    ...(was.mode === is.mode ? [] : [`mode ${was.mode} → ${is.mode}${foundThen(arrival, was)}`]),
    ...(was.scope === is.scope ? [] : [`scope ${was.scope} → ${is.scope}`]),
    ...changedGates(before.route.rule, after.route.rule),
  ];
  return causes.length > 0
    ? causes.join(', ')
    : `other decisions changed: ${is.reason ?? was.reason ?? 'room is free'}`;
}

/** What a rule that only observed had found. */
function foundThen({ requests }: Arrival, { rule, mode }: Way): string {
  const found = requests.find((request) => request.rule === rule)?.episode?.diagnosis;
  return mode === 'observe' && found ? ` (found then: ${found})` : '';
}

/** Why a rule does not take an alert any more. */
function lostBy(rule: string, { alert }: Arrival, is: Way, config: Config): string {
  const { fingerprint, startsAt, labels = {}, annotations = {} } = alert;
  const asked = explain({ status: 'firing', fingerprint, startsAt, labels, annotations }, config).rules;
  const now = asked.find((one) => one.rule === rule);
  if (!now) return `there is no rule ${rule} any more`;
  if (isTick(alert)) return `rule ${rule} has no schedule any more`;
  if (now.matchers.length === 0) return `rule ${rule} begins by its schedule only`;
  const failed = now.matchers.find(({ matched }) => !matched);
  if (!failed) return `rule ${is.rule} takes it first`;
  return `${failed.matcher} does not match ${failed.value === '' ? 'a missing label' : JSON.stringify(failed.value)}`;
}

function changedGates({ gates: was }: ResolvedRule, { gates: is }: ResolvedRule): string[] {
  const shown = ({ maxInFlight, cooldown, retries, waitAtMost, maxQueue, windows = [] }: ResolvedGates) => ({
    maxInFlight: String(maxInFlight),
    cooldown: formatDuration(cooldown),
    retries: `${retries.max} per ${formatDuration(retries.per)}`,
    waitAtMost: formatDuration(waitAtMost),
    maxQueue: String(maxQueue),
    windows: windows.join(', ') || 'always',
  });
  const after: Record<string, string> = shown(is);
  return Object.entries(shown(was)).flatMap(([name, value]) =>
    value === after[name] ? [] : [`${name} ${value} → ${after[name]}`],
  );
}
