import type { Change } from '../../model/change.ts';
import type { BacklogResult, ScalablePort, Scale, ScaleReading } from '../../model/ports/scalable.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import { RUNBOOK_SPECS } from '../../model/runbooks.ts';
import { startingState } from '../../model/scaling/controller.ts';
import { rule } from './workflows.ts';

export const deployment = (name: string): string => `k8s/test/shop/deployment.apps/${name}`;

/** A rule that scales, with the options of the documentation unless a test says otherwise. */
export function scaleRule(name: string, more: Partial<ResolvedRule<'scale-on-backlog'>> = {}) {
  const { options } = RUNBOOK_SPECS['scale-on-backlog'];
  return {
    ...rule(name),
    runbook: 'scale-on-backlog',
    with: options.parse({ backlog: { items: { promql: 'queue_length' } }, max: 20 }),
    ...more,
  } satisfies ResolvedRule<'scale-on-backlog'>;
}

export const scaleOf = (target: string, value = 2): Scale => {
  const object = { key: target, uid: `uid-of-${target}` };
  const by = { object, field: 'spec.replicas', value };
  return {
    object,
    by,
    why: 'nothing else sets its size',
    desired: value,
    ready: value,
    min: 0,
    max: 1_000,
    workload: target,
  };
};

export const short = (target: string, desired = 6): Extract<ScaleReading, { verdict: 'short' }> => ({
  verdict: 'short',
  why: '500 items wait',
  scale: scaleOf(target),
  desired,
  state: { controller: startingState() },
  plan: { steps: [`set spec.replicas to ${desired}`, 'follow the signals'], changes: [], digest: 'd-plan' },
});

type Verdict = Exclude<BacklogResult, { verdict: 'gone' }>;

/** What a watch answers. */
export function watched<V extends Verdict['verdict']>(
  verdict: V,
  more: Partial<Extract<Verdict, { verdict: V }>> = {},
): BacklogResult {
  const point = { at: 1_000, backlog: 500, forecast: 700, latency: null, desired: 6, ready: 6 };
  return {
    ...{ verdict, why: `it is ${verdict}`, state: { controller: startingState() }, points: [point] },
    ...more,
  } as BacklogResult;
}

/** One target in memory: what is set, and every write. */
export class Sized {
  value: number;
  readonly writes: string[] = [];

  constructor(value = 2) {
    this.value = value;
  }

  readonly scaleTo: ScalablePort['scaleTo'] = async ({ step, scale, to }) => {
    const before = this.value;
    this.value = to;
    this.writes.push(`${before} → ${to}`);
    return before === to ? [] : [changeOf(step, scale, before, to)];
  };

  readonly giveScaleBack: ScalablePort['giveScaleBack'] = async ({ step, scale, held, letGo }) => {
    const before = this.value;
    const [own] = held;
    if (letGo || before !== own?.set) return [];
    this.value = scale.by.value ?? 1;
    this.writes.push(`back ${before} → ${this.value}`);
    return before === this.value ? [] : [changeOf(step, scale, before, this.value)];
  };
}

const changeOf = (step: string, { by: { object, field } }: Scale, before: number, after: number): Change => ({
  ...{ step, what: `${field}: ${before} → ${after}`, object, field, before, after },
  at: '2026-01-01T00:00:00.000Z',
});
