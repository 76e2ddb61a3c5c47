import type { Ending } from '../../model/remediation.ts';
import type { Runbook } from '../../model/rule.ts';
import type { Life } from '../life.ts';
import { circuitBreaker } from './circuit-breaker.ts';
import { drainInstance } from './drain-instance.ts';
import { revertDrift } from './revert-drift.ts';
import { scaleOnBacklog } from './scale-on-backlog.ts';

/** All runbooks. A new one is one file and one line here. */
const RUNBOOKS: { [R in Runbook]: (life: Life<R>) => Promise<Ending> } = {
  'drain-instance': drainInstance,
  'scale-on-backlog': scaleOnBacklog,
  'circuit-breaker': circuitBreaker,
  'revert-drift': revertDrift,
};

/** The runbook of its rule. */
export const runbookOf = (life: Life): Promise<Ending> => {
  const runbook = RUNBOOKS[life.input.rule.runbook] as (life: Life) => Promise<Ending>;
  return runbook(life);
};
