import { z } from 'zod';
import { count, duration, parsed, percent, section } from './config-fields.ts';
import type { ResolvedGates } from './rule.ts';
import { parseTemplate } from './template.ts';
import { parseWindow } from './windows.ts';

/** The gates of a rule, and the limits over all of them, as they are written. */

const gateFields = {
  maxInFlight: count('Remediations open at once in the scope. Default 1.', 1, 1000).optional(),
  maxUnavailable: z
    .union(
      [
        percent('Share of the workload.').transform((share) => ({ percent: share })),
        count('Number of its replicas.', 1, 10_000).transform((number) => ({ count: number })),
      ],
      { error: 'expected a share such as 25%, or a whole number' },
    )
    .optional()
    .meta({
      description:
        "How much of the target's own workload may be unavailable, with what is being remediated: a share such as 25%, rounded down but at least 1 of 2 or more; or a number, without which a single replica is never touched. Default 25%.",
    }),
  cooldown: duration('How long a target is left alone after a remediation. Default 10m.').optional(),
  retries: section({
    max: count('Failed remediations of the scope that may be followed by another. Default 3.', 0, 100).optional(),
    per: duration('The time in which they are counted. Default 1h.', { above: 0 }).optional(),
  })
    .meta({ description: 'Retry budget of the scope.' })
    .optional(),
  storm: section({
    above: percent(
      'Share of unhealthy objects above which the scope is held: 40% of 10 pods is more than 4. 100% is never above. Default 40%.',
    ).optional(),
    settleFor: duration('How long it must be calm again before the scope is no longer held. Default 10m.', {
      above: 0,
    }).optional(),
  })
    .meta({ description: 'When so much is unhealthy that Salvor would do harm: everything in the scope is held.' })
    .optional(),
  windows: z
    .array(
      parsed('a window such as Mon-Fri 08:00-20:00 Europe/Berlin', (text) => {
        parseWindow(text);
        return text;
      }),
    )
    .optional()
    .meta({
      description: 'When it may act: weekdays, times and a time zone. Several add up. Default: always.',
      examples: [['Mon-Fri 08:00-20:00 Europe/Berlin']],
    }),
  failClosed: z
    .boolean()
    .optional()
    .meta({ description: 'Refuse what cannot be judged, for its evidence could not be read. Default true.' }),
  waitAtMost: duration('How long a request may wait for a gate before it is refused. Default 1h.', {
    above: 0,
  }).optional(),
  maxQueue: count('Requests kept waiting in a scope; beyond it they are refused. Default 1000.', 0, 1000).optional(),
};

export const defaultGates = section(gateFields).meta({
  description: 'Gates of every rule that does not say otherwise.',
});
export type ParsedGates = z.output<typeof defaultGates>;

export const ruleScope = parsed(`a template such as \${labels.namespace}`, parseTemplate).meta({
  description: 'What shares the budgets: labels of the alert. Default: the namespace of the target.',
});

export const ruleGates = section({
  scope: ruleScope.optional(),
  ...gateFields,
}).meta({ description: 'Reasons to wait or to refuse; they override defaults.gates.' });

export const limitFields = section({
  maxInFlight: count('Remediations open at once. Default: no limit.', 1, 1000).optional(),
  maxActsPerHour: count('Remediations started within an hour. Default: no limit.', 1, 3600).optional(),
  storm: section({
    targets: count('Different targets.', 2, 500),
    within: duration('The time in which they begin to alert.', { above: 0 }).prefault('5m'),
  })
    .optional()
    .meta({ description: 'So many targets that alert within so long hold everything. Default: never.' }),
}).meta({ description: 'Limits over all rules, for each cluster or account.' });

/** What `over` does not say is as in `base`. */
export const mergeGates = (base: ResolvedGates, over: ParsedGates): ResolvedGates => ({
  maxInFlight: over.maxInFlight ?? base.maxInFlight,
  cooldown: over.cooldown ?? base.cooldown,
  retries: { max: over.retries?.max ?? base.retries.max, per: over.retries?.per ?? base.retries.per },
  waitAtMost: over.waitAtMost ?? base.waitAtMost,
  maxQueue: over.maxQueue ?? base.maxQueue,
  maxUnavailable: over.maxUnavailable ?? base.maxUnavailable,
  storm: { above: over.storm?.above ?? base.storm.above, settleFor: over.storm?.settleFor ?? base.storm.settleFor },
  windows: over.windows ?? base.windows,
  failClosed: over.failClosed ?? base.failClosed,
});
