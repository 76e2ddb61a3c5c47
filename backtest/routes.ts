import { labelFingerprint } from '../model/alertmanager.ts';
import type { Approval } from '../model/approval.ts';
import type { Config } from '../model/config.ts';
import { digest } from '../model/digest.ts';
import type { RecordedAlert } from '../model/request.ts';
import { type Routed, route, targetFault, tickOf } from '../model/routing.ts';
import type { ResolvedRule } from '../model/rule.ts';
import { parseTarget } from '../model/target.ts';
import { isTick } from '../model/tick.ts';
import type { Arrival } from './arrivals.ts';
import type { Recorded, RecordedRequest } from './record.ts';

export type Matched = Extract<Routed, { kind: 'matched' }>;

/** Where an alert went, by the record; undefined where the settings of a rule are not on record. */
export function recordedRoutes({ requests }: Arrival, rules: Recorded['rules']): Matched[] | undefined {
  const routes = requests.map((request) => {
    const rule = request.episode?.rule ?? rules.get(request.ruleDigest);
    return rule && matched(request, rule, request.ruleDigest);
  });
  return routes.every((one) => one !== undefined) ? routes : undefined;
}

/** Where it would go now. One whose labels are not all on record keeps its rules, where these still exist. */
export function newRoutes(arrival: Arrival, rules: Recorded['rules'], config: Config): Routed[] {
  const { alert, requests } = arrival;
  if (isTick(alert)) return requests.flatMap((request) => scheduled(request, config));
  if (alert.by !== 'alertmanager') return requests.flatMap((request) => askedFor(request, rules, config));
  const { fingerprint, startsAt, labels, annotations = {}, approval } = alert;
  if (labels && isWhole(alert)) {
    const routes = asRecorded(
      route({ status: 'firing', fingerprint, startsAt, labels, annotations }, config),
      requests,
    );
    // What a person had approved is asked for by its proposal, of the rule that had proposed it.
    const proposed = (one: Routed): boolean => requests.some(({ rule }) => 'request' in one && rule === one.rule.name);
    return approval ? routes.filter(proposed).map((one) => withApproval(one, approval)) : routes;
  }
  return requests.flatMap((request) => {
    const configured = config.rules.find(({ rule }) => rule.name === request.rule);
    return configured ? [matched(request, configured.rule, configured.digest)] : [];
  });
}

const withApproval = (one: Routed, approval: Approval): Routed =>
  one.kind === 'matched' ? { ...one, request: { ...one.request, approval } } : one;

/** Responders hear of an alert side by side: those that are on record keep the order in which they did. */
function asRecorded(routes: readonly Routed[], requests: readonly RecordedRequest[]): Routed[] {
  const place = (routed: Routed) =>
    routed.kind === 'matched' ? requests.findIndex(({ rule }) => rule === routed.rule.name) : -1;
  const known = routes.filter((one) => place(one) >= 0).sort((a, b) => place(a) - place(b));
  return routes.map((one) => (place(one) < 0 ? one : (known.shift() ?? one)));
}

/** Whether all of its labels are on record as they were: the fingerprint is a hash of them. */
export const isWhole = ({ fingerprint, labels }: RecordedAlert): boolean =>
  labels !== undefined && labelFingerprint(labels) === fingerprint;

/** One time of the schedule of a rule, as far as the rule has one now: when it would come is not asked. */
function scheduled(request: RecordedRequest, config: Config): Routed[] {
  const configured = config.rules.find(({ rule }) => rule.name === request.rule);
  const tick = configured && tickOf(configured, config);
  if (!tick) return [];
  const { rule, ruleDigest, scope } = tick.batch;
  return [matched({ ...request, target: tick.request.target, scope }, rule, ruleDigest)];
}

/** What a person asks for with `salvor run` is matched by no rule; its gates are the defaults. */
function askedFor(request: RecordedRequest, rules: Recorded['rules'], config: Config): Routed[] {
  const then = request.episode?.rule ?? rules.get(request.ruleDigest);
  if (!then) return [];
  const fault = targetFault(then.runbook, parseTarget(request.target), config);
  if (fault) return [{ kind: 'problem', rule: then.name, ...fault }];
  const rule = { ...then, gates: config.defaults.gates };
  return [matched(request, rule, digest(rule))];
}

function matched({ alert, target, scope }: RecordedRequest, rule: ResolvedRule, ruleDigest: string): Matched {
  const { labels: _, annotations: __, ...about } = alert;
  return { kind: 'matched', rule, ruleDigest, scope, request: { ...about, status: 'firing', target } };
}
