// biome-ignore lint/correctness/noNodejsModules: no workflow imports this file
import { dirname, resolve } from 'node:path';
import type { Dependency } from './breaker/options.ts';
import { besideRunbooks, crossChecks } from './config-checks.ts';
import { messageFor } from './config-fields.ts';
import { ConfigFile, type ConfigProblem } from './config-file.ts';
import { mergeGates } from './config-gates.ts';
import { BUILT_IN_GATES, configSchema, type ParsedConfig, type ParsedRule } from './config-schema.ts';
import { digest } from './digest.ts';
import type { Stack } from './drift/options.ts';
import type { ResolvedLimits } from './limits.ts';
import type { Matcher } from './matcher.ts';
import type { ResolvedGates, ResolvedRule } from './rule.ts';
import { nameIn, withDependencies } from './runbooks/circuit-breaker.ts';
import { withStacks } from './runbooks/revert-drift.ts';
import type { Schedule } from './schedule.ts';
import type { TargetTemplate } from './target.ts';
import type { Template } from './template.ts';

export { unknownAws, unknownCluster, unknownDependency, unknownStack } from './config-checks.ts';
export type { ConfigProblem } from './config-file.ts';

/** The configuration, checked and resolved: durations in milliseconds, sizes in bytes, paths absolute. */
export interface Config {
  /** The file it was read from, as it was named. */
  file: string;
  temporal: ParsedConfig['temporal'];
  gateway: ParsedConfig['gateway'];
  worker: ParsedConfig['worker'];
  /** Absent: nothing is traced. */
  telemetry?: NonNullable<ParsedConfig['telemetry']>;
  /** Absent: a file in the data folder of this machine. */
  audit?: NonNullable<ParsedConfig['audit']>;
  prometheus?: { url: string };
  alertmanager?: { urls: string[] };
  clusters: ClusterConfig[];
  aws: AwsConfig[];
  dependencies: Dependency[];
  stacks: Stack[];
  /** Over all rules, and so in each of them; absent: none. */
  limits?: ResolvedLimits;
  defaults: { gates: ResolvedGates };
  rules: ConfiguredRule[];
}

export type ClusterConfig = ParsedConfig['clusters'][number];
export type AwsConfig = ParsedConfig['aws'][number];

export interface ConfiguredRule {
  rule: ResolvedRule;
  /** Digest of `rule`; with it a responder tells versions of a rule apart. */
  digest: string;
  /** All must match; none: it begins by its schedule only. */
  matchers: Matcher[];
  /** When it begins by itself; absent: by alerts only. */
  schedule?: Schedule;
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
  const others = [
    ...(parsed.success ? [] : [...source.locate(parsed.error), ...besideRunbooks(parsed.error.issues, source)]),
    ...crossChecks(source),
  ];
  // What is refused as not available is not refused once more because its place is empty now.
  const problems = [...early, ...others.filter(({ path }) => !early.some((refused) => refused.path === path))];
  if (!parsed.success || problems.length > 0) return { ok: false, problems: inOrder(problems) };

  const { defaults, rules, limits, ...sections } = parsed.data;
  const common: Common = {
    gates: mergeGates(BUILT_IN_GATES, defaults.gates),
    // Limits that limit nothing would only be asked for nothing.
    ...(limits && Object.keys(limits).length > 0 && { limits }),
    escalate: sections.alertmanager !== undefined,
    dependencies: sections.dependencies,
    stacks: sections.stacks,
  };
  const configured = rules.map((rule, i) => resolveRule(rule, common, source.lineOf(['rules', i])));
  const { gates, limits: over } = common;
  return {
    ok: true,
    config: { file, ...sections, ...(over && { limits: over }), defaults: { gates }, rules: configured },
  };
}

/** Files that the configuration names, by their settings; for a look at whether they are there. */
export function namedFiles({
  temporal,
  gateway,
  telemetry,
  audit,
  clusters,
  dependencies,
  stacks,
}: Config): { setting: string; path: string }[] {
  const tls = typeof temporal.tls === 'object' ? temporal.tls : {};
  const files: Record<string, string | undefined> = {
    'temporal.tls.caFile': tls.caFile,
    'temporal.tls.certFile': tls.certFile,
    'temporal.tls.keyFile': tls.keyFile,
    'temporal.apiKeyFile': temporal.apiKeyFile,
    'gateway.bearerTokenFile': gateway.bearerTokenFile,
    'gateway.basicAuth.passwordFile': gateway.basicAuth?.passwordFile,
    'gateway.tls.certFile': gateway.tls?.certFile,
    'gateway.tls.keyFile': gateway.tls?.keyFile,
    'telemetry.otlp.headersFile': telemetry?.otlp.headersFile,
    'audit.passwordFile': audit?.passwordFile,
    ...Object.fromEntries(clusters.map(({ kubeconfig }, i) => [`clusters[${i}].kubeconfig`, kubeconfig])),
    ...Object.fromEntries(
      dependencies.flatMap(({ switch: by, probe }, i) => [
        [`dependencies[${i}].switch.http.headersFile`, by.http?.headersFile],
        [`dependencies[${i}].probe.http.headersFile`, probe?.http?.headersFile],
      ]),
    ),
    ...Object.fromEntries(stacks.flatMap(filesOf)),
  };
  return Object.entries(files).flatMap(([setting, path]) => (path === undefined ? [] : [{ setting, path }]));
}

function filesOf({ opentofu, manifests, securityGroups }: Stack, i: number): [string, string | undefined][] {
  const kinds = { opentofu, manifests, securityGroups };
  return [
    ...Object.entries(kinds).flatMap(([kind, source]): [string, string | undefined][] => [
      [`stacks[${i}].${kind}.folder`, source?.folder],
      [`stacks[${i}].${kind}.credentialsFile`, source?.credentialsFile],
    ]),
    [`stacks[${i}].opentofu.environmentFile`, opentofu?.environmentFile],
    ...(opentofu?.backendConfigFiles ?? []).map((file, j): [string, string] => [
      `stacks[${i}].opentofu.backendConfigFiles[${j}]`,
      file,
    ]),
  ];
}

const inOrder = (problems: ConfigProblem[]): ConfigProblem[] =>
  problems.sort((a, b) => a.line - b.line || a.column - b.column);

/** What a rule has from the rest of the file. */
interface Common {
  gates: ResolvedGates;
  limits?: ResolvedLimits;
  /** Whether there is an Alertmanager that an escalation could go to. */
  escalate: boolean;
  dependencies: readonly Dependency[];
  stacks: readonly Stack[];
}

/** What stands in sections of its own travels with the rule. */
function optionsOf(rule: ParsedRule, { dependencies, stacks }: Common): ParsedRule['with'] {
  if (rule.runbook === 'circuit-breaker') return withDependencies(rule.with, nameIn(rule.target), dependencies);
  if (rule.runbook === 'revert-drift') return withStacks(rule.with, nameIn(rule.target), stacks);
  return rule.with;
}

function resolveRule(parsed: ParsedRule, common: Common, line: number): ConfiguredRule {
  const { scope, ...gates } = parsed.gates;
  const rule = {
    name: parsed.name,
    runbook: parsed.runbook,
    mode: parsed.mode,
    with: optionsOf(parsed, common),
    gates: mergeGates(common.gates, gates),
    onFailure: { escalate: parsed.onFailure.escalate ?? common.escalate },
    hush: parsed.hush,
    approvers: parsed.approvers ?? [],
    approveWithin: parsed.approveWithin,
    ...(common.limits && { limits: common.limits }),
    // The options were read by the schema of this very runbook.
  } as ResolvedRule;
  return {
    rule,
    digest: digest(rule),
    matchers: parsed.match ?? [],
    ...(parsed.schedule && { schedule: parsed.schedule }),
    target: parsed.target,
    ...(scope && { scope }),
    continue: parsed.continue,
    line,
  };
}
