import type { z } from 'zod';
import { dependencyName } from './breaker/schema.ts';
import { messageFor, tokenHash } from './config-fields.ts';
import type { ConfigFile, ConfigProblem } from './config-file.ts';
import { ruleScope } from './config-gates.ts';
import {
  approver,
  awsName,
  clusterName,
  groupName,
  personName,
  ruleName,
  ruleSchema,
  ruleTarget,
} from './config-schema.ts';
import { canonicalJson } from './digest.ts';
import type { KnownWorld } from './drain-faults.ts';
import { stackName } from './drift/schema.ts';
import { shown } from './input-error.ts';
import { nearest } from './nearest.ts';
import { RUNBOOKS, type Runbook } from './rule.ts';
import { RUNBOOK_SPECS } from './runbooks.ts';
import { literalSegment, type TargetTemplate } from './target.ts';
import { isLiteral } from './template.ts';

/**
 * What no section can see alone: names that are used twice, names that nothing bears, targets that no runbook takes.
 * Looks at what is written, so that a fault elsewhere hides none of it; what cannot be read is left to the schema.
 */
export function crossChecks(source: ConfigFile): ConfigProblem[] {
  const rules = listAt(source.value, 'rules');
  const clusters = listAt(source.value, 'clusters').map((one) => ({
    name: clusterName.safeParse(fieldOf(one, 'name')).data,
    aws: fieldOf(one, 'aws'),
  }));
  const accounts = listAt(source.value, 'aws').map((one) => awsName.safeParse(fieldOf(one, 'name')).data);
  const aws = accounts.map((name) => ({ name }));
  const world = { prometheus: fieldOf(source.value, 'prometheus'), clusters, aws };
  const dependencies = listAt(source.value, 'dependencies');
  const dependencyNames = dependencies.map((one) => dependencyName.safeParse(fieldOf(one, 'name')).data);
  const stacks = listAt(source.value, 'stacks');
  const stackNames = stacks.map((one) => stackName.safeParse(fieldOf(one, 'name')).data);
  const people = listAt(fieldOf(source.value, 'gateway'), 'people');
  return [
    ...duplicates(
      clusters.map(({ name }) => name),
      ['clusters'],
      source,
    ),
    ...duplicates(accounts, ['aws'], source),
    ...duplicates(dependencyNames, ['dependencies'], source),
    ...dependencies.flatMap((one, i) => dependencyFaults(one, i, world, source)),
    ...sharedSwitches(dependencies, source),
    ...duplicates(stackNames, ['stacks'], source),
    ...stacks.flatMap((one, i) => stackFaults(one, i, world, source)),
    ...clusters.flatMap(({ aws }, i) => {
      const name = awsName.safeParse(aws).data;
      const message = name === undefined ? undefined : unknownAmong(name, accounts, unknownAws);
      return message === undefined ? [] : [source.problem(['clusters', i, 'aws'], message)];
    }),
    ...duplicates(
      people.map((one) => personName.safeParse(fieldOf(one, 'name')).data),
      ['gateway', 'people'],
      source,
    ),
    ...sharedTokens(people, source),
    ...duplicates(
      rules.map((rule) => ruleName.safeParse(fieldOf(rule, 'name')).data),
      ['rules'],
      source,
    ),
    ...rules.flatMap((rule, i) => [
      ...unknownApprovers(rule, i, people, source),
      ...withoutAlertmanager(rule, i, source),
      ...withoutAlert(rule, i, source),
    ]),
    ...rules.flatMap((rule, i) => {
      const target = ruleTarget.safeParse(fieldOf(rule, 'target')).data;
      const runbook = RUNBOOKS.find((name) => name === fieldOf(rule, 'runbook'));
      const message =
        target &&
        targetProblem(target, runbook, world, { accounts, dependencies: dependencyNames, stacks: stackNames });
      const spec = runbook && RUNBOOK_SPECS[runbook];
      const faults = target && spec?.mayAccept(target) ? spec.faults(fieldOf(rule, 'with'), target, world) : [];
      return [
        ...(message === undefined ? [] : [source.problem(['rules', i, 'target'], message)]),
        ...faults.map(({ path, message }) => source.problem(['rules', i, 'with', ...path], message)),
      ];
    }),
  ];
}

/** The other faults of the rules whose runbook is none: the schema cannot choose what to compare them with. */
export function besideRunbooks(issues: readonly z.core.$ZodIssue[], source: ConfigFile): ConfigProblem[] {
  const rules = listAt(source.value, 'rules');
  return issues.flatMap(({ code, path: [list, i, key] }) => {
    const rule = rules[Number(i)];
    if (code !== 'invalid_union' || list !== 'rules' || key !== 'runbook' || !isObject(rule)) return [];
    const meant = RUNBOOKS.find((name) => name === nearest(String(rule['runbook']), RUNBOOKS));
    const parsed = ruleSchema.safeParse({ ...rule, runbook: meant ?? RUNBOOKS[0] }, { error: messageFor });
    // Whose options they are nobody knows, unless the name is all but right.
    const faults = (parsed.error?.issues ?? []).filter(({ path }) => meant !== undefined || path[0] !== 'with');
    return source.locate({ issues: faults }, ['rules', Number(i)]);
  });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const fieldOf = (value: unknown, key: string): unknown => (isObject(value) ? value[key] : undefined);

function listAt(value: unknown, key: string): unknown[] {
  const list = fieldOf(value, key);
  return Array.isArray(list) ? list : [];
}

const duplicates = (names: (string | undefined)[], list: string[], source: ConfigFile): ConfigProblem[] =>
  names.flatMap((name, i) =>
    name === undefined || names.indexOf(name) === i
      ? []
      : [
          source.problem(
            [...list, i, 'name'],
            `${name} is the name of ${list.join('.')}[${names.indexOf(name)}] already: expected another one`,
          ),
        ],
  );

const HASH = tokenHash('Of a person.');

/** With one token for two, nobody could say who of them it was. */
function sharedTokens(people: unknown[], source: ConfigFile): ConfigProblem[] {
  const hashes = people.map((one) => HASH.safeParse(fieldOf(one, 'tokenHash')).data);
  return hashes.flatMap((hash, i) =>
    hash === undefined || hashes.indexOf(hash) === i
      ? []
      : [
          source.problem(
            ['gateway', 'people', i, 'tokenHash'],
            `this is the token of gateway.people[${hashes.indexOf(hash)}] already: expected one of his own for each person`,
          ),
        ],
  );
}

function unknownApprovers(rule: unknown, i: number, people: unknown[], source: ConfigFile): ConfigProblem[] {
  const approvers = listAt(rule, 'approvers').map((one) => approver.safeParse(one).data);
  if (approvers.length > 0 && people.length === 0) {
    const message = 'nobody could approve: expected these people in gateway.people, each with a tokenHash';
    return [source.problem(['rules', i, 'approvers'], message)];
  }
  const names = people.map((one) => personName.safeParse(fieldOf(one, 'name')).data);
  const groups = people.flatMap((one) => listAt(one, 'groups').map((group) => groupName.safeParse(group).data));
  // One whose name is at fault may be the one that is meant.
  if ([...names, ...groups].includes(undefined)) return [];
  const known = [...names, ...new Set(groups.map((group) => `group:${group}`))] as string[];
  return approvers.flatMap((one, j) => {
    if (one === undefined || known.includes(one)) return [];
    const meant = nearest(one, known);
    const hint = meant === undefined ? `those known are ${known.join(', ')}` : `did you mean ${meant}?`;
    return [source.problem(['rules', i, 'approvers', j], `${shown(one)} is not in gateway.people: ${hint}`)];
  });
}

/** Settings that would do nothing without an Alertmanager to talk to. */
function withoutAlertmanager(rule: unknown, i: number, source: ConfigFile): ConfigProblem[] {
  if (fieldOf(source.value, 'alertmanager') !== undefined) return [];
  const wanted = 'expected alertmanager: { urls: [http://…] } in the file';
  return [
    ...(fieldOf(rule, 'hush') === true
      ? [source.problem(['rules', i, 'hush'], `${wanted}, where the alert could be silenced`)]
      : []),
    ...(fieldOf(fieldOf(rule, 'onFailure'), 'escalate') === true
      ? [source.problem(['rules', i, 'onFailure', 'escalate'], `${wanted}, which could tell somebody of the failure`)]
      : []),
  ];
}

/** A schedule has no alert: nothing that would need one can be made of it. */
function withoutAlert(rule: unknown, i: number, source: ConfigFile): ConfigProblem[] {
  if (fieldOf(rule, 'schedule') === undefined) return [];
  const target = ruleTarget.safeParse(fieldOf(rule, 'target')).data;
  const scope = ruleScope.safeParse(fieldOf(fieldOf(rule, 'gates'), 'scope')).data;
  const why = 'a schedule has no alert whose labels it could take';
  const silent = fieldOf(rule, 'hush') === true && fieldOf(rule, 'match') === undefined;
  return [
    ...(target && !isLiteral(target)
      ? [source.problem(['rules', i, 'target'], `expected one target, without \${…}: ${why}`)]
      : []),
    ...(scope && !isLiteral(scope)
      ? [source.problem(['rules', i, 'gates', 'scope'], `expected a scope without \${…}: ${why}`)]
      : []),
    ...(silent
      ? [source.problem(['rules', i, 'hush'], 'expected match beside it: a rule with a schedule only has no alert')]
      : []),
  ];
}

/** Where the parts of a switch name a cluster. */
const IN_CLUSTERS = [['envoy', 'pods'], ['kubernetes'], ['flag']] as const;

/** What a dependency needs of the rest of the file. */
function dependencyFaults(one: unknown, i: number, { clusters, prometheus }: KnownWorld, source: ConfigFile) {
  const by = fieldOf(one, 'switch');
  const known = clusters.map(({ name }) => name);
  const asked = [
    ...(fieldOf(one, 'confirm') === undefined ? [] : [['confirm']]),
    ...(fieldOf(fieldOf(one, 'probe'), 'promql') === undefined ? [] : [['probe', 'promql']]),
  ];
  return [
    ...IN_CLUSTERS.flatMap((path) => {
      const section = path.reduce<unknown>((inner, key) => fieldOf(inner, key), by);
      const name = clusterName.safeParse(fieldOf(section, 'cluster')).data;
      const message = name === undefined ? undefined : unknownAmong(name, known, unknownCluster);
      return message === undefined ? [] : [source.problem(['dependencies', i, 'switch', ...path, 'cluster'], message)];
    }),
    ...(prometheus === undefined ? asked : []).map((path) =>
      source.problem(
        ['dependencies', i, ...path],
        'expected prometheus: { url: http://… } in the file, which could be asked',
      ),
    ),
  ];
}

/** One switch for two dependencies would be closed by the one while the other is down. */
function sharedSwitches(dependencies: unknown[], source: ConfigFile): ConfigProblem[] {
  const switches = dependencies.map((one) => {
    const by = fieldOf(one, 'switch');
    return isObject(by) ? canonicalJson(by) : undefined;
  });
  return switches.flatMap((by, i) =>
    by === undefined || switches.indexOf(by) === i
      ? []
      : [
          source.problem(
            ['dependencies', i, 'switch'],
            `this is the switch of dependencies[${switches.indexOf(by)}] already: expected one of its own for each dependency`,
          ),
        ],
  );
}

/** What a stack needs of the rest of the file. */
function stackFaults(one: unknown, i: number, { clusters, aws = [] }: KnownWorld, source: ConfigFile): ConfigProblem[] {
  const cluster = clusterName.safeParse(fieldOf(fieldOf(one, 'manifests'), 'cluster')).data;
  const account = awsName.safeParse(fieldOf(fieldOf(one, 'securityGroups'), 'aws')).data;
  const problems = [
    {
      path: ['manifests', 'cluster'],
      message: cluster && unknownAmong(cluster, namesOf(clusters), unknownCluster),
    },
    { path: ['securityGroups', 'aws'], message: account && unknownAmong(account, namesOf(aws), unknownAws) },
  ];
  return problems.flatMap(({ path, message }) => (message ? [source.problem(['stacks', i, ...path], message)] : []));
}

const namesOf = (list: readonly { name?: string | undefined }[]) => list.map(({ name }) => name);

function targetProblem(
  target: TargetTemplate,
  runbook: Runbook | undefined,
  { clusters }: KnownWorld,
  { accounts, dependencies, stacks }: Record<'accounts' | 'dependencies' | 'stacks', (string | undefined)[]>,
): string | undefined {
  const spec = runbook && RUNBOOK_SPECS[runbook];
  if (spec && !spec.mayAccept(target)) return `${runbook} takes ${spec.takes} only`;
  const [type, name] = [literalSegment(target, 0), literalSegment(target, 1)];
  if (name === undefined) return undefined;
  if (type === 'asg') return unknownAmong(name, accounts, unknownAws);
  if (type === 'dependency') return unknownAmong(name, dependencies, unknownDependency);
  if (type === 'stack') return unknownAmong(name, stacks, unknownStack);
  if (type !== 'k8s') return undefined;
  return unknownAmong(
    name,
    clusters.map((cluster) => cluster.name),
    unknownCluster,
  );
}

/** Where a name among them is at fault, it may be the one that is meant. */
function unknownAmong(
  name: string,
  names: (string | undefined)[],
  unknown: (name: string, names: readonly string[]) => string | undefined,
): string | undefined {
  const known = names.filter((one) => one !== undefined);
  return known.length < names.length ? undefined : unknown(name, known);
}

/** Why a cluster cannot be reached; undefined where it is configured. */
export function unknownCluster(cluster: string, clusters: readonly string[]): string | undefined {
  if (clusters.includes(cluster)) return undefined;
  if (clusters.length === 0)
    return `the cluster ${cluster} is not configured, nor is any: expected clusters: [{ name: ${cluster} }]`;
  return `the cluster ${cluster} is not configured: the clusters are ${clusters.join(', ')}${meantBy(cluster, clusters)}`;
}

/** Why an account and region cannot be reached; undefined where they are configured. */
export function unknownAws(name: string, accounts: readonly string[]): string | undefined {
  if (accounts.includes(name)) return undefined;
  if (accounts.length === 0)
    return `the AWS account ${name} is not configured, nor is any: expected aws: [{ name: ${name}, region: … }]`;
  return `the AWS account ${name} is not configured: the accounts are ${accounts.join(', ')}${meantBy(name, accounts)}`;
}

/** Why there is no breaker for a dependency; undefined where it is configured. */
export function unknownDependency(name: string, dependencies: readonly string[]): string | undefined {
  if (dependencies.includes(name)) return undefined;
  if (dependencies.length === 0)
    return `the dependency ${name} is not configured, nor is any: expected dependencies: [{ name: ${name}, … }]`;
  return `the dependency ${name} is not configured: the dependencies are ${dependencies.join(', ')}${meantBy(name, dependencies)}`;
}

/** Why there is no source for a stack; undefined where it is configured. */
export function unknownStack(name: string, stacks: readonly string[]): string | undefined {
  if (stacks.includes(name)) return undefined;
  if (stacks.length === 0)
    return `the stack ${name} is not configured, nor is any: expected stacks: [{ name: ${name}, … }]`;
  return `the stack ${name} is not configured: the stacks are ${stacks.join(', ')}${meantBy(name, stacks)}`;
}

function meantBy(name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}
