import type { z } from 'zod';
import { messageFor } from './config-fields.ts';
import type { ConfigFile, ConfigProblem } from './config-file.ts';
import { clusterName, ruleName, ruleSchema, ruleTarget } from './config-schema.ts';
import { nearest } from './nearest.ts';
import { RUNBOOKS, type Runbook } from './rule.ts';
import { RUNBOOK_SPECS } from './runbooks.ts';
import { literalSegment, type TargetTemplate } from './target.ts';

/**
 * What no section can see alone: names that are used twice, names that nothing bears, targets that no runbook takes.
 * Looks at what is written, so that a fault elsewhere hides none of it; what cannot be read is left to the schema.
 */
export function crossChecks(source: ConfigFile): ConfigProblem[] {
  const rules = listAt(source.value, 'rules');
  const clusters = listAt(source.value, 'clusters').map((one) => clusterName.safeParse(fieldOf(one, 'name')).data);
  return [
    ...duplicates(clusters, 'clusters', source),
    ...duplicates(
      rules.map((rule) => ruleName.safeParse(fieldOf(rule, 'name')).data),
      'rules',
      source,
    ),
    ...rules.flatMap((rule, i) => {
      const target = ruleTarget.safeParse(fieldOf(rule, 'target')).data;
      const runbook = RUNBOOKS.find((name) => name === fieldOf(rule, 'runbook'));
      const message = target && targetProblem(target, runbook, clusters);
      return message === undefined ? [] : [source.problem(['rules', i, 'target'], message)];
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

const duplicates = (names: (string | undefined)[], list: string, source: ConfigFile): ConfigProblem[] =>
  names.flatMap((name, i) =>
    name === undefined || names.indexOf(name) === i
      ? []
      : [
          source.problem(
            [list, i, 'name'],
            `${name} is the name of ${list}[${names.indexOf(name)}] already: expected another one`,
          ),
        ],
  );

function targetProblem(
  target: TargetTemplate,
  runbook: Runbook | undefined,
  clusters: (string | undefined)[],
): string | undefined {
  const spec = runbook && RUNBOOK_SPECS[runbook];
  if (spec && !spec.mayAccept(target)) return `${runbook} takes ${spec.takes} only`;
  const cluster = literalSegment(target, 0) === 'k8s' ? literalSegment(target, 1) : undefined;
  // A cluster whose name is at fault may be the one that is meant.
  const known = clusters.filter((name) => name !== undefined);
  return cluster === undefined || known.length < clusters.length ? undefined : unknownCluster(cluster, known);
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
