import { parse as parseYaml } from 'yaml';
import type { CircuitBreakerOptions } from './breaker/options.ts';
import type { Config } from './config.ts';
import { messageFor } from './config-fields.ts';
import { digest } from './digest.ts';
import type { RevertDriftOptions } from './drift/options.ts';
import { InputError } from './input-error.ts';
import { runRule } from './names.ts';
import { nearest } from './nearest.ts';
import { targetFault } from './routing.ts';
import { type Mode, type ResolvedRule, RUNBOOKS } from './rule.ts';
import { withDependencies } from './runbooks/circuit-breaker.ts';
import { withStacks } from './runbooks/revert-drift.ts';
import { RUNBOOK_SPECS } from './runbooks.ts';
import { defaultScope, formatTarget, parseTarget, parseTargetTemplate } from './target.ts';

/** A run that a person asks for: `salvor run RUNBOOK TARGET --with key=value`. */
export interface RunOrder {
  runbook: string;
  target: string;
  /**
   * Options as they are written in `with:`, each a text: `{ recoverWithin: '2m', replace: 'false' }`; one of a section by
   * its path, or the section in braces: `{ 'node.terminate': 'true' }`, `{ node: '{ terminate: true }' }`.
   */
  with: Readonly<Record<string, string>>;
  mode: Mode;
}

export type ResolvedRun =
  | { ok: true; rule: ResolvedRule; ruleDigest: string; target: string; scope: string }
  | { ok: false; problems: string[] };

/** Makes of a person's order the rule and the target that a responder understands. The gates are the `defaults`. */
export function resolveRun(order: RunOrder, config: Config): ResolvedRun {
  const runbook = RUNBOOKS.find((name) => name === order.runbook);
  if (runbook === undefined) {
    const meant = nearest(order.runbook, RUNBOOKS);
    return { ok: false, problems: [`there is no runbook ${order.runbook}: expected ${meant ?? RUNBOOKS.join(', ')}`] };
  }
  const spec = RUNBOOK_SPECS[runbook];
  const written = nested(
    Object.entries(order.with).flatMap(([key, text]) => leaves([key.split('.'), readValue(text)])),
  );
  const options = spec.options.safeParse(written, { error: messageFor });
  const aim = aimAt(runbook, order.target, config);
  const faults = aim.ok ? spec.faults(written, parseTargetTemplate(aim.target), config) : [];
  const problems = [...(options.error?.issues ?? []), ...faults].flatMap(({ path, message }) =>
    message.split('\n').map((line) => `--with${path.length > 0 ? ` ${path.join('.')}` : ''}: ${line}`),
  );
  if (!aim.ok) problems.push(aim.problem);
  if (!options.success || !aim.ok || problems.length > 0) return { ok: false, problems };
  const rule = {
    name: runRule(runbook),
    runbook,
    mode: order.mode,
    with: withNamed(runbook, options.data, aim.target, config),
    gates: config.defaults.gates,
    // A person waits for it, and sees how it ends.
    onFailure: { escalate: false },
    hush: false,
    approvers: [],
    approveWithin: 86_400_000,
    ...(config.limits && { limits: config.limits }),
    // The options were read by the schema of this very runbook.
  } as ResolvedRule;
  return { ok: true, rule, ruleDigest: digest(rule), target: aim.target, scope: aim.scope };
}

/** With what the configuration says of the dependency or stack that is the target. */
function withNamed(
  runbook: ResolvedRule['runbook'],
  options: unknown,
  key: string,
  { dependencies, stacks }: Config,
): unknown {
  const target = parseTarget(key);
  const name = target.type === 'dependency' || target.type === 'stack' ? target.name : '';
  if (runbook === 'circuit-breaker') return withDependencies(options as CircuitBreakerOptions, name, dependencies);
  if (runbook === 'revert-drift') return withStacks(options as RevertDriftOptions, name, stacks);
  return options;
}

function aimAt(runbook: ResolvedRule['runbook'], key: string, config: Config) {
  try {
    const target = parseTarget(key);
    const fault = targetFault(runbook, target, config);
    if (fault) return { ok: false, problem: fault.problem } as const;
    return { ok: true, target: formatTarget(target), scope: defaultScope(target) } as const;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ok: false, problem: error.message } as const;
  }
}

type Written = [path: string[], value: unknown];

const isSection = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What a section in braces says, each by its path. */
const leaves = ([path, value]: Written): Written[] =>
  isSection(value) && Object.keys(value).length > 0
    ? Object.entries(value).flatMap(([key, inner]) => leaves([[...path, key], inner]))
    : [[path, value]];

/** `node.terminate` is `terminate` in the section `node`. */
function nested(written: Written[]): Record<string, unknown> {
  const keys = Map.groupBy(written, ([[key = '']]) => key);
  // From entries, so that a key such as __proto__ is one like any other.
  return Object.fromEntries(
    [...keys].map(([key, those]) => {
      const whole = those.find(([path]) => path.length === 1);
      const within = those.flatMap(([[, ...path], value]): Written[] => (path.length > 0 ? [[path, value]] : []));
      // A value that is no section has nothing within: the schema says what it should be.
      return [key, whole && !(isSection(whole[1]) && within.length > 0) ? whole[1] : nested(within)];
    }),
  );
}

/** A value as YAML reads it; a text that is not YAML stays the text. */
function readValue(text: string): unknown {
  try {
    return parseYaml(text);
  } catch {
    return text; // the schema says what it should be
  }
}
