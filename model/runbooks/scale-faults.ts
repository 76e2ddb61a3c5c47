import type { KnownWorld, OptionFault } from '../drain-faults.ts';
import { placesOf, type QueryValue } from '../promql.ts';
import { literalSegment, type TargetTemplate } from '../target.ts';

/** Where signals stand in the options. */
const SIGNALS: readonly (readonly string[])[] = [
  ['backlog', 'items'],
  ['backlog', 'arrivals'],
  ['backlog', 'served'],
  ['latency', 'seconds'],
];

const OF_OBJECTS: readonly QueryValue[] = ['cluster', 'namespace', 'name'];
const OF_GROUPS: readonly QueryValue[] = ['group'];

/**
 * Signals of scale-on-backlog that nobody could read.
 *
 * @param written as it stands under `with:`; what the schema refuses is left to it
 */
export function scaleOnBacklogFaults(written: unknown, target: TargetTemplate, world: KnownWorld): OptionFault[] {
  return SIGNALS.flatMap((path) => {
    const signal = valueAt(written, path);
    return [
      ...counterFaults(path, valueAt(signal, ['cloudwatch'])),
      ...promqlFaults([...path, 'promql'], valueAt(signal, ['promql']), target, world),
      ...cloudwatchFaults([...path, 'cloudwatch'], valueAt(signal, ['cloudwatch']), target, world),
    ];
  });
}

function promqlFaults(path: string[], query: unknown, target: TargetTemplate, world: KnownWorld): OptionFault[] {
  if (typeof query !== 'string') return [];
  const values = isGroup(target) ? OF_GROUPS : OF_OBJECTS;
  const alien = placesOf(query).find((name) => !values.includes(name));
  const known = values.map((name) => `\${${name}}`).join(', ');
  return [
    ...(world.prometheus === undefined
      ? [{ path, message: 'expected prometheus: { url: http://… } in the file, which could be asked' }]
      : []),
    ...(alien === undefined ? [] : [{ path, message: `the target has no \${${alien}}: expected one of ${known}` }]),
  ];
}

function cloudwatchFaults(path: string[], query: unknown, target: TargetTemplate, world: KnownWorld): OptionFault[] {
  if (!isSection(query)) return [];
  const { aws: accounts = [] } = world;
  const name = query['aws'];
  if (accounts.length === 0)
    return [{ path, message: 'expected aws: [{ name: …, region: … }] in the file, where it could be asked' }];
  if (name === undefined && !isGroup(target))
    return [{ path, message: 'expected aws: NAME within it, for the target itself is in no account' }];
  if (typeof name !== 'string' || accounts.some((one) => one.name === undefined || one.name === name)) return [];
  const known = accounts.map((one) => one.name).join(', ');
  return [{ path: [...path, 'aws'], message: `the AWS account ${name} is not configured: the accounts are ${known}` }];
}

/** CloudWatch has no counters: what came in each period can be told from a sum, and how many have been served ever cannot. */
function counterFaults(path: readonly string[], query: unknown): OptionFault[] {
  if (!isSection(query)) return [];
  if (path[1] === 'served')
    return [{ path: [...path, 'cloudwatch'], message: 'expected promql, a counter: CloudWatch has none' }];
  if (path[1] !== 'arrivals' || query['statistic'] === 'Sum') return [];
  return [{ path: [...path, 'cloudwatch', 'statistic'], message: 'expected Sum: what has arrived in each period' }];
}

const isGroup = (target: TargetTemplate): boolean => literalSegment(target, 0) === 'asg';

const isSection = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

const valueAt = (value: unknown, path: readonly string[]): unknown =>
  path.reduce((inner, key) => (isSection(inner) ? inner[key] : undefined), value);
