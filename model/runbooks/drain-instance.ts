import { z } from 'zod';
import { count, duration, named, parsed, section } from '../config-fields.ts';
import { drainInstanceFaults } from '../drain-faults.ts';
import { parseQuery } from '../promql.ts';
import { type DrainInstanceOptions, type HealthChecks, NODE_OPTIONS, type NodeOptions } from '../rule.ts';
import { literalSegment } from '../target.ts';
import type { RunbookSpec } from './spec.ts';

const flag = (description: string, otherwise: boolean) => z.boolean().prefault(otherwise).meta({ description });

const quarantineOptions = section({
  keepFor: duration('How long the pod is kept after its replacement is Ready.').prefault('1h'),
  afterwards: z.enum(['delete', 'give-back']).prefault('delete').meta({
    description:
      'What becomes of it then: it is deleted, or given back to its owner, which may delete one of its own choice.',
  }),
}).meta({
  description:
    "Allows to take a pod out of its owner's selector and its Services, which starts a replacement at once, and to keep it for the inquest.",
});

const healthOptions = section({
  promql: section({
    query: parsed(`a query such as error_ratio{pod="\${pod}"}`, (text) => {
      parseQuery(text);
      return text;
    }).meta({
      description:
        'PromQL that gives one number. In label values ${cluster}, ${namespace}, ${pod}, ${node}, ${group} and ${instance} stand for the target, escaped.',
    }),
    atMost: z.number().optional().meta({ description: 'The largest value that is healthy.' }),
    atLeast: z.number().optional().meta({ description: 'The smallest value that is healthy.' }),
  })
    .refine(({ atMost, atLeast }) => atMost !== undefined || atLeast !== undefined, {
      message: 'expected atMost, atLeast or both: within them it is healthy',
    })
    .optional()
    .meta({ description: 'A check in Prometheus. No value is not healthy.' }),
  http: section({
    scheme: z.enum(['http', 'https']).prefault('http').meta({ description: 'https: the certificate is not verified.' }),
    port: count('Port on the address of the pod or node.', 1, 65_535),
    path: named('Path, with its query.', /^\/[!"$-~]*$/, 'a path such as /healthz').prefault('/'),
    status: count('Status that is healthy. Redirects are not followed.', 200, 599).prefault(200),
    within: duration('How long the whole answer may take.', { above: 0, atMost: 5_000 }).prefault('1s'),
  })
    .optional()
    .meta({ description: 'GET on the instance itself, of pods and nodes.' }),
}).meta({
  description: 'What an instance must meet to be healthy, beside what its platform says of it.',
}) satisfies z.ZodType<HealthChecks>;

const nodeOptions = section({
  controlPlane: flag('Nodes of the control plane may be drained too.', NODE_OPTIONS.controlPlane),
  emptyDir: flag('Evict pods with emptyDir volumes too; what is in them is lost.', NODE_OPTIONS.emptyDir),
  bare: flag('Evict pods without a controller too; nothing starts them again.', NODE_OPTIONS.bare),
  parallel: count('Evictions under way at once.', 1, 100).prefault(NODE_OPTIONS.parallel),
  terminate: flag(
    'When it is empty terminate its machine through its Auto Scaling group, which replaces it.',
    NODE_OPTIONS.terminate,
  ),
  keepFor: duration('How long a drained node may take to recover; until then, and after, it stays cordoned.').prefault(
    '1h',
  ),
}).meta({ description: 'How nodes are drained.' }) satisfies z.ZodType<NodeOptions>;

const drainInstanceOptions = section({
  traffic: z.enum(['auto', 'label', 'gate', 'quarantine', 'none']).prefault('auto').meta({
    description:
      'How to cut the traffic of a pod: by the traffic label, by the readiness gate, by quarantine (where it is allowed), or not at all (the pod is NotReady already). auto takes the first that applies.',
  }),
  quarantine: quarantineOptions.optional(),
  health: healthOptions.optional(),
  flaps: count('How often it may become sick again while it is held before it is replaced.', 1, 100).prefault(3),
  node: nodeOptions.optional(),
  lifecycleHooks: z
    .array(named('Name of a hook.', /^[A-Za-z0-9\-_/]{1,255}$/, 'the name of a lifecycle hook'))
    .min(1)
    .optional()
    .meta({
      description:
        'Termination lifecycle hooks of the Auto Scaling group that Salvor keeps alive while it works, and completes. Others are left alone.',
    }),
  recoverWithin: duration('How long the instance may take to heal by itself while it is out of traffic.').prefault(
    '5m',
  ),
  stableFor: duration('How long it must be healthy without a break before traffic is given back.').prefault('30s'),
  replace: z.boolean().prefault(true).meta({
    description: 'Replace (evict) an instance that did not recover; otherwise give its traffic back and fail.',
  }),
  quietFor: duration('How long the EndpointSlices must have shown the cut before the instance is evicted.').prefault(
    '15s',
  ),
  evictWithin: duration('How long an eviction may be put off by a disruption budget.', { above: 0 }).prefault('15m'),
  verifyWithin: duration('How long the replacement may take to become ready.', { above: 0 }).prefault('5m'),
})
  .refine(({ recoverWithin, stableFor }) => recoverWithin === 0 || stableFor <= recoverWithin, {
    path: ['recoverWithin'],
    message:
      'expected recoverWithin to be at least stableFor (30s where it is not given), or 0s for no waiting: it could never recover',
  })
  .refine(({ replace, quarantine }) => replace || quarantine === undefined, {
    path: ['quarantine'],
    message: 'expected no quarantine beside replace: false, for it replaces the pod at once',
  })
  .refine(({ traffic, quarantine }) => traffic !== 'quarantine' || quarantine !== undefined, {
    path: ['quarantine'],
    message: 'expected quarantine: {} beside traffic: quarantine, which allows it',
  })
  .refine(({ traffic, quarantine }) => quarantine === undefined || ['auto', 'quarantine'].includes(traffic), {
    path: ['quarantine'],
    message: 'would never be taken: expected traffic: auto or quarantine beside it',
  })
  .meta({ description: 'Options of drain-instance.' }) satisfies z.ZodType<DrainInstanceOptions>;

export const drainInstanceSpec = {
  options: drainInstanceOptions,
  takes:
    'pods (k8s/<cluster>/<namespace>/pod/<name>), nodes (k8s/<cluster>/node/<name>) and Auto Scaling instances (asg/<aws name>/<group>/<instance>)',
  accepts: (target) =>
    (target.type === 'k8s' && target.kind === 'pod' && target.group === undefined) ||
    target.type === 'node' ||
    (target.type === 'asg' && target.instance !== undefined),
  mayAccept: (template) => {
    const { length } = template.segments;
    if (literalSegment(template, 0) === 'asg') return length === 4;
    return length === 4 || (length === 5 && [undefined, 'pod'].includes(literalSegment(template, 3)));
  },
  faults: drainInstanceFaults,
} satisfies RunbookSpec<DrainInstanceOptions>;
