// biome-ignore lint/correctness/noNodejsModules: no workflow imports this file
import { dirname, resolve } from 'node:path';
import { messageFor } from './config-fields.ts';
import { ConfigFile, type ConfigProblem } from './config-file.ts';
import { BUILT_IN_GATES, configSchema, type ParsedConfig, type ParsedGates, type ParsedRule } from './config-schema.ts';
import { digest } from './digest.ts';
import type { Matcher } from './matcher.ts';
import { nearest } from './nearest.ts';
import type { ResolvedGates, ResolvedRule } from './rule.ts';
import { RUNBOOK_SPECS } from './runbooks.ts';
import { literalSegment, type TargetTemplate } from './target.ts';
import type { Template } from './template.ts';

export type { ConfigProblem } from './config-file.ts';

/** The configuration, checked and resolved: durations in milliseconds, sizes in bytes, paths absolute. */
export interface Config {
  /** The file it was read from, as it was named. */
  file: string;
  temporal: ParsedConfig['temporal'];
  gateway: ParsedConfig['gateway'];
  prometheus?: { url: string };
  alertmanager?: { urls: string[] };
  clusters: ClusterConfig[];
  defaults: { gates: ResolvedGates };
  rules: ConfiguredRule[];
}

export type ClusterConfig = ParsedConfig['clusters'][number];

export interface ConfiguredRule {
  rule: ResolvedRule;
  /** Digest of `rule`; with it a responder tells versions of a rule apart. */
  digest: string;
  /** All must match. */
  matchers: Matcher[];
  target: TargetTemplate;
  /** Absent: the default of the target's kind. */
  scope?: Template;
  /** Whether the rules after it are tried too. */
  continue: boolean;
  /** Where it begins in the file, counted from 1. */
  line: number;
}

export type ParseResult = { ok: true; config: Config } | { ok: false; problems: ConfigProblem[] };

/**
 * Reads `salvor.yaml`. All problems are reported at once, in the order of the file, each with its line and what would
 * be right.
 *
 * @param file path of the file, for messages; relative paths in it are relative to its folder
 */
export function parseConfig(text: string, file: string): ParseResult {
  const source = new ConfigFile(text, file);
  if (source.problems.length > 0) return { ok: false, problems: source.problems };

  const folder = dirname(resolve(file));
  const early = source.takeNotYet();
  const parsed = configSchema((path) => resolve(folder, path)).safeParse(source.value, { error: messageFor });
  const others = parsed.success ? crossChecks(parsed.data, source) : source.locate(parsed.error);
  // What is refused as not available is not refused once more because its place is empty now.
  const problems = [...early, ...others.filter(({ path }) => !early.some((refused) => refused.path === path))];
  if (!parsed.success || problems.length > 0) return { ok: false, problems: inOrder(problems) };

  const { defaults, rules, ...sections } = parsed.data;
  const gates = mergeGates(BUILT_IN_GATES, defaults.gates);
  const configured = rules.map((rule, i) => resolveRule(rule, gates, source.lineOf(['rules', i])));
  return { ok: true, config: { file, ...sections, defaults: { gates }, rules: configured } };
}

const inOrder = (problems: ConfigProblem[]): ConfigProblem[] =>
  problems.sort((a, b) => a.line - b.line || a.column - b.column);

/** What no section can see alone: names that are used twice, names that nothing bears, targets that no runbook takes. */
function crossChecks(parsed: ParsedConfig, source: ConfigFile): ConfigProblem[] {
  const clusters = parsed.clusters.map(({ name }) => name);
  return [
    ...duplicates(clusters, 'clusters', source),
    ...duplicates(
      parsed.rules.map(({ name }) => name),
      'rules',
      source,
    ),
    ...parsed.rules.flatMap((rule, i) => {
      const message = targetProblem(rule, clusters);
      return message === undefined ? [] : [source.problem(['rules', i, 'target'], message)];
    }),
  ];
}

const duplicates = (names: string[], list: string, source: ConfigFile): ConfigProblem[] =>
  names.flatMap((name, i) =>
    names.indexOf(name) === i
      ? []
      : [
          source.problem(
            [list, i, 'name'],
            `${name} is the name of ${list}[${names.indexOf(name)}] already: expected another one`,
          ),
        ],
  );

function targetProblem({ runbook, target }: ParsedRule, clusters: string[]): string | undefined {
  const spec = RUNBOOK_SPECS[runbook];
  if (!spec.mayAccept(target)) return `${runbook} takes ${spec.takes} only`;
  const cluster = literalSegment(target, 0) === 'k8s' ? literalSegment(target, 1) : undefined;
  return cluster === undefined ? undefined : unknownCluster(cluster, clusters);
}

/** Why a cluster cannot be reached; undefined where it is configured. */
export function unknownCluster(cluster: string, clusters: readonly string[]): string | undefined {
  if (clusters.includes(cluster)) return undefined;
  if (clusters.length === 0)
    return `the cluster ${cluster} is not configured, nor is any: expected clusters: [{ name: ${cluster} }]`;
  const meant = nearest(cluster, clusters);
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
  return `the cluster ${cluster} is not configured: the clusters are ${clusters.join(', ')}${hint}`;
}

function resolveRule(parsed: ParsedRule, defaults: ResolvedGates, line: number): ConfiguredRule {
  const { scope, ...gates } = parsed.gates;
  const rule: ResolvedRule = {
    name: parsed.name,
    runbook: parsed.runbook,
    mode: parsed.mode,
    with: parsed.with,
    gates: mergeGates(defaults, gates),
    onFailure: { escalate: false },
    hush: false,
  };
  return {
    rule,
    digest: digest(rule),
    matchers: parsed.match,
    target: parsed.target,
    ...(scope && { scope }),
    continue: parsed.continue,
    line,
  };
}

const mergeGates = (base: ResolvedGates, over: ParsedGates): ResolvedGates => ({
  maxInFlight: over.maxInFlight ?? base.maxInFlight,
  cooldown: over.cooldown ?? base.cooldown,
  retries: { max: over.retries?.max ?? base.retries.max, per: over.retries?.per ?? base.retries.per },
  waitAtMost: over.waitAtMost ?? base.waitAtMost,
  maxQueue: over.maxQueue ?? base.maxQueue,
});
