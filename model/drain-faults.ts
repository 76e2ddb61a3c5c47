import { placesOf, type QueryValue } from './promql.ts';
import { literalSegment, type TargetTemplate } from './target.ts';

/** An option that is right in itself, and wrong for its target or in this configuration. */
export interface OptionFault {
  /** Within `with`. */
  path: readonly string[];
  /** What would be right. */
  message: string;
}

/** What of the configuration an option may need. */
export interface KnownWorld {
  prometheus?: unknown;
  /** `name` is absent where it is at fault. */
  clusters: readonly { name?: string | undefined; aws?: unknown }[];
  /** Accounts; likewise. */
  aws?: readonly { name?: string | undefined }[];
}

type Kind = 'pod' | 'node' | 'instance';

/** What may stand in the query of a health check, by what it is about. */
const VALUES_OF: Record<Kind, readonly QueryValue[]> = {
  pod: ['cluster', 'namespace', 'pod', 'node'],
  node: ['cluster', 'node', 'instance'],
  instance: ['group', 'instance'],
};

const NOUNS: Record<Kind, string> = { pod: 'a pod', node: 'a node', instance: 'an Auto Scaling instance' };
const MANY: Record<Kind, string> = { pod: 'pods', node: 'nodes', instance: 'Auto Scaling instances' };

/** What the options do something for. A node may be meant by an Auto Scaling instance that is one. */
const MADE_FOR: { path: readonly string[]; kinds: readonly Kind[] }[] = [
  { path: ['traffic'], kinds: ['pod'] },
  { path: ['quarantine'], kinds: ['pod'] },
  { path: ['node'], kinds: ['node', 'instance'] },
  { path: ['lifecycleHooks'], kinds: ['node', 'instance'] },
  { path: ['health', 'http'], kinds: ['pod', 'node'] },
];

/** Ways to cut traffic that somebody has chosen. */
const WAYS: readonly unknown[] = ['label', 'gate', 'quarantine', 'none'];

/**
 * Options of drain-instance that would do nothing for their target, or need what is not configured: nobody may believe in
 * what has no effect.
 *
 * @param written as it stands under `with:`; what the schema refuses is left to it
 */
export function drainInstanceFaults(written: unknown, target: TargetTemplate, world: KnownWorld): OptionFault[] {
  const kind = kindOf(target);
  const unfit = MADE_FOR.filter(({ path, kinds }) => !kinds.includes(kind) && isChosen(valueAt(written, path)));
  return [
    ...unfit.map(({ path, kinds }) => ({
      path,
      message: `is for ${kinds.map((one) => MANY[one]).join(' and ')} only, and the target is ${NOUNS[kind]}`,
    })),
    ...(kind === 'pod' ? [] : machineFaults(written, kind, target, world)),
    ...promqlFaults(valueAt(written, ['health', 'promql']), kind, world),
  ];
}

const isSection = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

const isChosen = (value: unknown): boolean => isSection(value) || WAYS.includes(value);

const valueAt = (value: unknown, path: readonly string[]): unknown =>
  path.reduce((inner, key) => (isSection(inner) ? inner[key] : undefined), value);

function kindOf(target: TargetTemplate): Kind {
  if (literalSegment(target, 0) === 'asg') return 'instance';
  return target.segments.length === 4 ? 'node' : 'pod';
}

function machineFaults(written: unknown, kind: Kind, target: TargetTemplate, world: KnownWorld): OptionFault[] {
  if (valueAt(written, ['node', 'terminate']) === true) return terminateFaults(kind, target, world);
  if (kind === 'instance' && world.clusters.length === 0 && isChosen(valueAt(written, ['node'])))
    return [{ path: ['node'], message: 'is for nodes only, and no cluster is configured of which it could be one' }];
  if (kind === 'node' && isChosen(valueAt(written, ['lifecycleHooks'])))
    return [
      { path: ['lifecycleHooks'], message: 'does nothing for a node without node: { terminate: true } beside it' },
    ];
  return [];
}

function terminateFaults(kind: Kind, target: TargetTemplate, { clusters }: KnownWorld): OptionFault[] {
  const path = ['node', 'terminate'];
  const name = literalSegment(target, 1);
  if (kind === 'instance') {
    if (clusters.some(({ aws }) => (name === undefined ? aws !== undefined : aws === name))) return [];
    const message = `no cluster has its machines in ${name ?? 'an account'}: expected aws: ${name ?? 'NAME'} in clusters`;
    return [{ path, message }];
  }
  const meant = clusters.filter((one) => name === undefined || one.name === undefined || one.name === name);
  // The target itself says what is wrong with a cluster that is not configured.
  if (meant.length === 0 || meant.some(({ aws }) => aws !== undefined)) return [];
  const who = name === undefined ? 'no cluster says' : `the cluster ${name} does not say`;
  return [{ path, message: `${who} in which account its machines are: expected aws: NAME in clusters` }];
}

function promqlFaults(promql: unknown, kind: Kind, world: KnownWorld): OptionFault[] {
  if (!isSection(promql)) return [];
  const query = promql['query'];
  const alien = typeof query === 'string' ? placesOf(query).find((name) => !VALUES_OF[kind].includes(name)) : undefined;
  const known = VALUES_OF[kind].map((name) => `\${${name}}`).join(', ');
  const at = ['health', 'promql'];
  const missing = 'expected prometheus: { url: http://… } in the file, which could be asked';
  return [
    ...(world.prometheus === undefined ? [{ path: at, message: missing }] : []),
    ...(alien === undefined
      ? []
      : [{ path: [...at, 'query'], message: `${NOUNS[kind]} has no \${${alien}}: expected one of ${known}` }]),
  ];
}
