import type { Alert } from './alertmanager.ts';
import {
  type Config,
  type ConfiguredRule,
  unknownAws,
  unknownCluster,
  unknownDependency,
  unknownStack,
} from './config.ts';
import { digest } from './digest.ts';
import { InputError, shown } from './input-error.ts';
import { labelValue } from './labels.ts';
import { formatMatcher, matches } from './matcher.ts';
import { recordedLabels } from './redact.ts';
import type { Batch, Request } from './request.ts';
import type { Mode, ResolvedGates, ResolvedRule, Runbook } from './rule.ts';
import { RUNBOOK_SPECS } from './runbooks.ts';
import { describeSchedule } from './schedule.ts';
import { defaultScope, renderTarget, type Target } from './target.ts';
import { render, type Values } from './template.ts';
import { bySchedule, TICK_NAME, type TickInput } from './tick.ts';

/** Label on Salvor's own alerts: what carries it never comes back as work. */
export const OWN_LABEL = 'salvor_id';

/** What became of an alert at one rule. */
export type Routed =
  | { kind: 'matched'; rule: ResolvedRule; ruleDigest: string; scope: string; request: Request }
  /** A rule matched, and no target can be made of the alert: nothing is started. */
  | { kind: 'problem'; rule: string; reason: ProblemReason; problem: string }
  /** An alert of Salvor's own, dropped before the rules. */
  | { kind: 'own' };

/** For counters; the problem itself is for people. */
export type ProblemReason =
  | 'missing-label'
  | 'invalid-value'
  | 'unknown-cluster'
  | 'unknown-aws'
  | 'unknown-dependency'
  | 'unknown-stack'
  | 'unsupported-target'
  | 'invalid-scope';

type Aim = { ok: true; target: string; scope: string } | { ok: false; reason: ProblemReason; problem: string };

/** The rules that an alert goes to: the first that matches, and those after it as long as each says `continue`. */
export function route(alert: Alert, config: Config): Routed[] {
  if (labelValue(alert.labels, OWN_LABEL) !== '') return [{ kind: 'own' }];
  const routed: Routed[] = [];
  for (const configured of config.rules) {
    if (!takes(configured, alert)) continue;
    routed.push(routeTo(configured, alert, config));
    if (!configured.continue) break;
  }
  return routed;
}

/** One without matchers begins by its schedule only. */
const takes = ({ matchers }: ConfiguredRule, { labels }: Alert): boolean =>
  matchers.length > 0 && matches(matchers, labels);

function routeTo(configured: ConfiguredRule, alert: Alert, config: Config): Routed {
  const { rule, digest: ruleDigest } = configured;
  const aim = aimAt(configured, alert, config);
  if (!aim.ok) return { kind: 'problem', rule: rule.name, reason: aim.reason, problem: aim.problem };
  return { kind: 'matched', rule, ruleDigest, scope: aim.scope, request: requestOf(alert, aim.target) };
}

/**
 * What the schedule of a rule hands over each time; undefined where it has none.
 *
 * @throws InputError where no target can be made of it, which the check of the configuration rules out
 */
export function tickOf(configured: ConfiguredRule, config: Config): TickInput | undefined {
  const { rule, digest: ruleDigest, schedule } = configured;
  if (!schedule) return undefined;
  const aim = aimAt(configured, { labels: {}, annotations: {} }, config);
  if (!aim.ok) throw new InputError(`rule ${rule.name}: ${aim.problem}`);
  const { target, scope } = aim;
  const about = { rule: rule.name, target };
  const request = { fingerprint: digest(about), target, alertname: TICK_NAME, by: bySchedule(rule.name) };
  return {
    batch: { rule, ruleDigest, scope },
    request: { ...request, digest: digest(request), labels: { alertname: TICK_NAME } },
  };
}

const requestOf = (alert: Alert, target: string): Request => ({
  fingerprint: alert.fingerprint,
  startsAt: alert.startsAt,
  status: alert.status,
  target,
  alertname: short(labelValue(alert.labels, 'alertname')),
  digest: alertDigest(alert),
  by: 'alertmanager',
  labels: recordedLabels(alert.labels),
  annotations: recordedLabels(alert.annotations ?? {}),
});

/** Of the fields of version 4 only: what else a sender adds may be of any depth. */
const alertDigest = ({ status, labels, annotations, startsAt, endsAt, generatorURL, fingerprint }: Alert): string =>
  digest({ status, labels, annotations, startsAt, endsAt, generatorURL, fingerprint });

/** A name for people: bounded, so that no label makes a batch too large. */
const short = (name: string): string => (name.length > 200 ? `${name.slice(0, 199)}…` : name).toWellFormed();

/** Target and scope that a rule makes of an alert. */
function aimAt({ rule, target: template, scope: scopeTemplate }: ConfiguredRule, alert: Values, config: Config): Aim {
  const rendered = renderTarget(template, alert);
  if (!rendered.ok) return { ok: false, reason: rendered.problem.reason, problem: rendered.problem.message };
  const { target, key } = rendered;
  const unfit = targetFault(rule.runbook, target, config);
  if (unfit) return { ok: false, ...unfit };
  if (!scopeTemplate) return { ok: true, target: key, scope: defaultScope(target) };
  const scope = render(scopeTemplate, alert);
  if (!scope.ok) return { ok: false, reason: 'missing-label', problem: `${scope.problem} as its scope` };
  if (!isScope(scope.value)) {
    const problem = `${shown(scope.value)} cannot be a scope: expected at most 200 printable characters`;
    return { ok: false, reason: 'invalid-scope', problem };
  }
  return { ok: true, target: key, scope: scope.value };
}

// It becomes a part of a Workflow ID, of which Temporal takes 1,000 bytes, percent-encoded.
const isScope = (scope: string): boolean =>
  scope.length <= 200 && /^[^\p{C}]+$/u.test(scope) && encodeURIComponent(scope).length <= 750;

/** Why a runbook cannot be run on a target; undefined where it can. */
export function targetFault(
  runbook: Runbook,
  target: Target,
  config: Config,
): { reason: ProblemReason; problem: string } | undefined {
  const spec = RUNBOOK_SPECS[runbook];
  if (!spec.accepts(target)) return { reason: 'unsupported-target', problem: `${runbook} takes ${spec.takes} only` };
  if ('cluster' in target) {
    const problem = unknownCluster(target.cluster, namesOf(config.clusters));
    return problem === undefined ? undefined : { reason: 'unknown-cluster', problem };
  }
  if (target.type === 'asg') {
    const problem = unknownAws(target.aws, namesOf(config.aws));
    return problem === undefined ? undefined : { reason: 'unknown-aws', problem };
  }
  if (target.type === 'dependency') {
    const problem = unknownDependency(target.name, namesOf(config.dependencies));
    return problem === undefined ? undefined : { reason: 'unknown-dependency', problem };
  }
  if (target.type === 'stack') {
    const problem = unknownStack(target.name, namesOf(config.stacks));
    return problem === undefined ? undefined : { reason: 'unknown-stack', problem };
  }
  return undefined;
}

const namesOf = (list: readonly { name: string }[]): string[] => list.map(({ name }) => name);

/** Of one batch. */
export const MAX_REQUESTS = 200;
/** Of JSON, of one batch. */
export const MAX_BYTES = 512 * 1024;

/**
 * The matched alerts by rule and scope, in the order in which they came, split so that no batch has more than 200
 * requests or 512 KiB of JSON.
 */
export function batches(routed: readonly Routed[], delivery: string): Batch[] {
  const groups = new Map<string, Batch[]>();
  const sizes = new Map<Batch, number>();
  for (const one of routed) {
    if (one.kind !== 'matched') continue;
    const { rule, ruleDigest, scope, request } = one;
    const key = JSON.stringify([rule.name, ruleDigest, scope]);
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    const bytes = jsonBytes(request) + 1;
    let batch = group.at(-1);
    if (!batch || batch.requests.length >= MAX_REQUESTS || (sizes.get(batch) ?? 0) + bytes > MAX_BYTES) {
      batch = { delivery, rule, ruleDigest, scope, requests: [] };
      group.push(batch);
      sizes.set(batch, jsonBytes(batch));
    }
    batch.requests.push(request);
    sizes.set(batch, (sizes.get(batch) ?? 0) + bytes);
  }
  return [...groups.values()].flat();
}

const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

/** How one rule sees an alert; for `salvor config explain`. */
export interface RuleExplanation {
  rule: string;
  line: number;
  runbook: Runbook;
  mode: Mode;
  /** False where an earlier rule has matched and does not say `continue`: this one is not asked. */
  reached: boolean;
  matched: boolean;
  /** When it begins by itself, for people. */
  schedule?: string;
  matchers: { matcher: string; label: string; value: string; matched: boolean }[];
  /** Where it matched: what would be done to what, within which bounds; or why no target can be made of the alert. */
  target?: string;
  scope?: string;
  gates: ResolvedGates;
  problem?: string;
}

export interface Explanation {
  /** An alert of Salvor's own: dropped before the rules. */
  own: boolean;
  rules: RuleExplanation[];
}

/** What every rule makes of an alert, and why not. */
export function explain(alert: Alert, config: Config): Explanation {
  const own = labelValue(alert.labels, OWN_LABEL) !== '';
  let reached = !own;
  const rules = config.rules.map((configured): RuleExplanation => {
    const { rule, line, matchers, schedule } = configured;
    const seen = matchers.map((matcher) => {
      const value = labelValue(alert.labels, matcher.label);
      return { matcher: formatMatcher(matcher), label: matcher.label, value, matched: matcher.test(value) };
    });
    const matched = takes(configured, alert);
    const aim = matched ? aimAt(configured, alert, config) : undefined;
    const explanation: RuleExplanation = {
      rule: rule.name,
      line,
      runbook: rule.runbook,
      mode: rule.mode,
      reached,
      matched,
      ...(schedule && { schedule: describeSchedule(schedule) }),
      matchers: seen,
      gates: rule.gates,
      ...(aim?.ok && { target: aim.target, scope: aim.scope }),
      ...(aim?.ok === false && { problem: aim.problem }),
    };
    if (matched && !configured.continue) reached = false;
    return explanation;
  });
  return { own, rules };
}
