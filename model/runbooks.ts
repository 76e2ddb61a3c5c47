import type { Runbook, RunbookOptions } from './rule.ts';
import { circuitBreakerSpec } from './runbooks/circuit-breaker.ts';
import { drainInstanceSpec } from './runbooks/drain-instance.ts';
import { revertDriftSpec } from './runbooks/revert-drift.ts';
import { scaleOnBacklogSpec } from './runbooks/scale-on-backlog.ts';
import type { RunbookSpec } from './runbooks/spec.ts';

/** A new runbook is a file beside those, one line here, and one in the union of `config-schema.ts`. */
export const RUNBOOK_SPECS = {
  'drain-instance': drainInstanceSpec,
  'scale-on-backlog': scaleOnBacklogSpec,
  'circuit-breaker': circuitBreakerSpec,
  'revert-drift': revertDriftSpec,
} as const satisfies { [R in Runbook]: RunbookSpec<RunbookOptions[R]> };
