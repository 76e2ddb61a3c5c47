import { z } from 'zod';
import { duration, section } from './config-fields.ts';
import type { DrainInstanceOptions, Runbook } from './rule.ts';
import { literalSegment, type Target, type TargetTemplate } from './target.ts';

/** What the configuration must know of a runbook. A new runbook is one entry in {@link RUNBOOK_SPECS}. */
export interface RunbookSpec<Options> {
  /** The strict schema of `with:`. */
  options: z.ZodType<Options>;
  /** Which targets it takes, for messages. */
  takes: string;
  accepts(target: Target): boolean;
  /** Whether a rule's target can become one that it takes, as far as the template shows. */
  mayAccept(template: TargetTemplate): boolean;
}

const drainInstanceOptions = section({
  traffic: z.enum(['auto', 'label', 'gate', 'none']).prefault('auto').meta({
    description:
      'How to cut the traffic: by the traffic label, by the readiness gate, or not at all (the pod is NotReady already). auto takes the first that applies.',
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
  .meta({ description: 'Options of drain-instance.' }) satisfies z.ZodType<DrainInstanceOptions>;

export const RUNBOOK_SPECS = {
  'drain-instance': {
    options: drainInstanceOptions,
    takes: 'pods (k8s/<cluster>/<namespace>/pod/<name>)',
    accepts: (target) => target.type === 'k8s' && target.kind === 'pod' && target.group === undefined,
    mayAccept: (template) => template.segments.length === 5 && [undefined, 'pod'].includes(literalSegment(template, 3)),
  } satisfies RunbookSpec<DrainInstanceOptions>,
} as const satisfies Record<Runbook, RunbookSpec<DrainInstanceOptions>>;
