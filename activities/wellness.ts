import type { Dependency } from '../model/breaker/options.ts';
import type { DriftStanding } from '../model/drift/standing.ts';
import type { OwnAlert } from '../model/herald.ts';
import { runRule } from '../model/names.ts';
import type { ResolvedRule, Runbook, RunbookOptions } from '../model/rule.ts';
import { RUNBOOK_SPECS } from '../model/runbooks.ts';
import { parseTarget } from '../model/target.ts';
import { isScaleWell } from '../providers/backlog/read.ts';
import type { Registry } from '../providers/registry.ts';

export interface WellnessMeans {
  registry: Pick<Registry, 'instance' | 'scalable' | 'signals' | 'switches' | 'prober'>;
  /** Of the configuration of this worker. */
  rules: ReadonlyMap<string, ResolvedRule>;
  dependencies: readonly Dependency[];
  /** How a stack stood when it was last compared. */
  drift(target: string): Promise<DriftStanding | undefined>;
}

interface Asked<R extends Runbook> {
  target: string;
  /** Who raised it: what it holds itself is no reason. */
  remediation: string;
  /** Of its rule; absent where the configuration has no such rule (any more). */
  options: RunbookOptions[R] | undefined;
}

/** Whether a target is well, as its runbook sees it. Throws, or says no, where that cannot be told. */
type Judge<R extends Runbook> = (asked: Asked<R>, means: WellnessMeans) => Promise<boolean>;

const JUDGES: { [R in Runbook]: Judge<R> } = {
  // How it would be healed does not matter to whether it is sick.
  'drain-instance': async ({ target, remediation }, { registry }) => {
    const actor = { runbook: 'drain-instance', remediation };
    const { verdict } = await registry.instance(target).assess({ target, options: DRAIN, actor });
    return verdict === 'healthy' || verdict === 'gone';
  },
  'scale-on-backlog': async ({ target, remediation, options }, { registry }) => {
    if (!options) return false;
    const actor = { runbook: 'scale-on-backlog', remediation };
    return isScaleWell({ target, options, actor }, registry.scalable(target), registry.signals);
  },
  'circuit-breaker': async ({ target }, { registry, dependencies }) => {
    const parsed = parseTarget(target);
    const dependency = dependencies.find(({ name }) => parsed.type === 'dependency' && parsed.name === name);
    if (!dependency) return false;
    const { position } = await registry.switches.of(dependency).read();
    if (position !== 'closed') return false;
    return (await registry.prober.try(dependency, AbortSignal.timeout(PROBE_MS))).verdict === 'healthy';
  },
  // A check of its own would cost a plan: its schedule makes the next one anyway.
  'revert-drift': async ({ target }, { drift }) => {
    const standing = await drift(target);
    if (!standing || standing.verdict === 'refused') return false;
    const { reversible, destructive, mixed } = standing.counts;
    return reversible + destructive + mixed === 0;
  },
};

const DRAIN = RUNBOOK_SPECS['drain-instance'].options.parse({});
const PROBE_MS = 10_000;

/** Whether the target of an escalation is well again; no where that cannot be told now, for then a person is still needed. */
export function wellness(means: WellnessMeans): (alert: OwnAlert) => Promise<boolean> {
  return async ({ target = '', run, labels }) => {
    const rule = labels['salvor_rule'] ?? '';
    try {
      return await judge(means, rule, { target, remediation: run.runId });
    } catch {
      return false;
    }
  };
}

function judge(means: WellnessMeans, name: string, asked: { target: string; remediation: string }): Promise<boolean> {
  const rule = means.rules.get(name);
  // Of a rule that is gone by now only what it was about is known.
  const runbook = rule?.runbook ?? runbookOf(name) ?? 'drain-instance';
  const judged = JUDGES[runbook] as Judge<Runbook>;
  return judged({ ...asked, options: rule?.with }, means);
}

/** Of the rule that a person's own run stands for. */
const runbookOf = (name: string): Runbook | undefined =>
  (Object.keys(JUDGES) as Runbook[]).find((runbook) => name === runRule(runbook));
