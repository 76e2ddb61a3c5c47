import { z } from 'zod';
import { count, duration, named, nonEmpty, parsed, section } from '../config-fields.ts';
import { parseQuery } from '../promql.ts';
import type { CloudWatchQuery, ScaleOnBacklogOptions, ScalingBehavior, SignalQuery } from '../scaling/options.ts';
import { CONFIGURED_NAME, literalSegment, type Target, type TargetTemplate } from '../target.ts';
import { scaleOnBacklogFaults } from './scale-faults.ts';
import type { RunbookSpec } from './spec.ts';

const STATISTICS = /^(?:Average|Sum|Minimum|Maximum|p(?:100|\d{1,2}(?:\.\d{1,2})?))$/;
type Statistic = CloudWatchQuery['statistic'];

const cloudwatch = section({
  namespace: nonEmpty('Namespace of the metric, such as AWS/SQS.'),
  metric: nonEmpty('Name of the metric, such as ApproximateNumberOfMessagesVisible.'),
  dimensions: z
    .record(z.string().min(1), z.string().min(1))
    .prefault({})
    .meta({ description: 'All its dimensions, such as QueueName: orders. ${group} and ${name} stand for the target.' }),
  statistic: named('Which statistic.', STATISTICS, 'Average, Sum, Minimum, Maximum, or a percentile such as p99')
    .transform((text) => text as Statistic)
    .prefault('Average')
    .meta({ description: 'Which statistic: Average, Sum, Minimum, Maximum, or a percentile such as p99.' }),
  // Of longer ones most data points come when what they tell is too old to decide on.
  period: duration('One data point: 10s, 30s, or 1m.', { above: 0 })
    .refine((ms) => ms === 10_000 || ms === 30_000 || ms === 60_000, {
      message: 'expected 10s, 30s or 1m: what a longer period tells comes too late to be decided on',
    })
    .prefault('1m'),
  aws: named('Name under aws.', CONFIGURED_NAME, 'the name of an account and region under aws').optional().meta({
    description: "Account and region, by its name under aws. Default: the target's own, where it is a group.",
  }),
}).meta({ description: 'A metric of CloudWatch.' });

const signal = (description: string) =>
  section({
    promql: parsed(`a query such as queue_length{queue="\${name}"}`, (text) => {
      parseQuery(text);
      return text;
    })
      .optional()
      .meta({
        description:
          'PromQL that gives one series. In label values ${cluster}, ${namespace}, ${name} and ${group} stand for the target, escaped.',
      }),
    cloudwatch: cloudwatch.optional(),
  })
    .refine(({ promql, cloudwatch }) => (promql === undefined) !== (cloudwatch === undefined), {
      message: 'expected promql or cloudwatch, and one of them only',
    })
    .transform((one) => one as SignalQuery)
    .meta({ description });

const backlog = section({
  items: signal('Items that wait now.'),
  arrivals: signal('Items that have arrived, a counter. Absent: told from backlog and what was served.').optional(),
  served: signal('Items that were served, a counter. Absent: told from backlog and arrivals.').optional(),
  drainWithin: duration('Within so long what waits is to be served.', { above: 0 }).prefault('1m'),
}).meta({ description: 'What waits to be served.' });

const latency = section({
  seconds: signal('How long callers wait, in seconds.'),
  objective: duration('The longest wait that is good.', { above: 0 })
    .transform((ms) => ms / 1_000)
    .meta({ description: 'The longest wait that is good, such as 500ms.' }),
}).meta({ description: 'How long callers wait.' });

const policies = z
  .array(
    section({
      type: z.enum(['Pods', 'Percent']).meta({ description: 'Replicas, or a share of those there were.' }),
      value: count('How many, or how many percent.', 1, 100_000),
      period: duration('Within so long.', { above: 0, atMost: 1_800_000 }),
    }),
  )
  .meta({ description: 'What each allows within its period; none: no limit.' });

const direction = (description: string, window: string, most: z.input<typeof policies>) =>
  section({
    stabilizationWindow: duration('Over which the most cautious recommendation counts.', {
      atMost: 3_600_000,
    }).prefault(window),
    policies: policies.prefault(most),
    select: z.enum(['Max', 'Min', 'Disabled']).prefault('Max').meta({
      description: 'Which policy counts: that of the largest change, of the smallest, or none: no change this way.',
    }),
  })
    .prefault({})
    .meta({ description });

const behavior = section({
  scaleUp: direction('Up. By default at once, and without a limit.', '0s', []),
  scaleDown: direction('Down. By default as HorizontalPodAutoscaler: the most of the last 5 minutes.', '5m', [
    { type: 'Percent', value: 100, period: '15s' },
  ]),
})
  .prefault({})
  .meta({ description: 'How fast, in either direction: `behavior` of HorizontalPodAutoscaler.' }) satisfies z.ZodType<
  ScalingBehavior,
  unknown
>;

const scaleOnBacklogOptions = section({
  backlog: backlog.optional(),
  latency: latency.optional(),
  perReplica: z.number().positive().optional().meta({
    description: 'Items a second that one ready replica serves, until it was measured.',
  }),
  startUp: duration('How long a new replica takes until it serves, until that was seen.', {
    atMost: 3_600_000,
  }).prefault('60s'),
  min: count('Fewest replicas to ask for.', 0, 100_000).prefault(1),
  max: count('Most replicas to ask for, within what the target itself allows.', 1, 100_000),
  tolerance: z.number().min(0).max(1).prefault(0.1).meta({
    description: 'A change of less than this share of what there is, is none: 0.1 as in HorizontalPodAutoscaler.',
  }),
  behavior,
  every: duration('Between two looks at signals and replicas.', { above: 999, atMost: 300_000 }).prefault('15s'),
  readyWithin: duration('How long added replicas may take to become ready.', { above: 0 }).prefault('10m'),
  stalledAfter: duration(
    'More replicas are ready, and for so long the backlog, or the latency, has not fallen: then it is given up. Nothing to be seen for so long: a person is told.',
    { above: 0 },
  ).prefault('10m'),
  goodFor: duration('How long the signals must be good, with the size back where it was, until it is over.').prefault(
    '5m',
  ),
})
  .refine((given) => given.backlog !== undefined || given.latency !== undefined, {
    path: ['backlog'],
    message: 'expected backlog, latency, or both: without them there is nothing to scale on',
  })
  .refine(({ min, max }) => min <= max, { path: ['min'], message: 'expected min to be at most max' })
  .meta({ description: 'Options of scale-on-backlog.' }) satisfies z.ZodType<ScaleOnBacklogOptions>;

/** Of the core group nothing else has a scale subresource. */
const CORE = 'replicationcontroller';
/** Known to have none. */
const UNSCALABLE: ReadonlySet<string> = new Set(['daemonset.apps', 'job.batch', 'cronjob.batch']);

const isScalable = (kind: string, group: string | undefined): boolean =>
  group === undefined ? kind === CORE : !UNSCALABLE.has(`${kind}.${group}`);

/** Whether it is a workload with a scale subresource, or an Auto Scaling group. */
const accepts = (target: Target): boolean =>
  (target.type === 'k8s' && isScalable(target.kind, target.group)) ||
  (target.type === 'asg' && target.instance === undefined);

function mayAccept(template: TargetTemplate): boolean {
  const { length } = template.segments;
  if (literalSegment(template, 0) === 'asg') return length === 3;
  const kind = literalSegment(template, 3);
  if (literalSegment(template, 0) !== 'k8s' || length !== 5) return false;
  if (kind === undefined) return true;
  const [name = '', ...group] = kind.split('.');
  return isScalable(name, group.length > 0 ? group.join('.') : undefined);
}

export const scaleOnBacklogSpec = {
  options: scaleOnBacklogOptions,
  takes:
    'workloads with a scale subresource (k8s/<cluster>/<namespace>/<kind>.<group>/<name>, such as deployment.apps) and Auto Scaling groups (asg/<aws name>/<group>)',
  accepts,
  mayAccept,
  faults: scaleOnBacklogFaults,
} satisfies RunbookSpec<ScaleOnBacklogOptions>;
