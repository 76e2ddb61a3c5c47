import { parse as parseYaml } from 'yaml';
import type { Config } from './config.ts';
import { messageFor } from './config-fields.ts';
import { digest } from './digest.ts';
import { InputError } from './input-error.ts';
import { runRule } from './names.ts';
import { nearest } from './nearest.ts';
import { targetFault } from './routing.ts';
import { type Mode, type ResolvedRule, RUNBOOKS } from './rule.ts';
import { RUNBOOK_SPECS } from './runbooks.ts';
import { defaultScope, formatTarget, parseTarget } from './target.ts';

/** A run that a person asks for: `salvor run RUNBOOK TARGET --with key=value`. */
export interface RunOrder {
  runbook: string;
  target: string;
  /** Options as they are written in `with:`, each a text: `{ recoverWithin: '2m', replace: 'false' }`. */
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
  const written = Object.entries(order.with).map(([key, text]) => [key, scalar(text)] as const);
  const options = RUNBOOK_SPECS[runbook].options.safeParse(Object.fromEntries(written), { error: messageFor });
  const problems = (options.error?.issues ?? []).flatMap(({ path, message }) =>
    message.split('\n').map((line) => `${['--with', ...path].join(' ')}: ${line}`),
  );
  const aim = aimAt(runbook, order.target, config);
  if (!options.success || !aim.ok) return { ok: false, problems: aim.ok ? problems : [...problems, aim.problem] };
  const rule: ResolvedRule = {
    name: runRule(runbook),
    runbook,
    mode: order.mode,
    with: options.data,
    gates: config.defaults.gates,
    // A person waits for it, and sees how it ends.
    onFailure: { escalate: false },
    hush: false,
    approvers: [],
    approveWithin: 86_400_000,
    ...(config.limits && { limits: config.limits }),
  };
  return { ok: true, rule, ruleDigest: digest(rule), target: aim.target, scope: aim.scope };
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

/** A value as YAML reads it; a text that is not YAML stays the text. */
function scalar(text: string): unknown {
  try {
    return parseYaml(text);
  } catch {
    return text; // the schema says what it should be
  }
}
