import type { Ending } from '../../model/remediation.ts';
import type { Runbook } from '../../model/rule.ts';
import type { Life } from '../life.ts';
import { drainInstance } from './drain-instance.ts';

/** All runbooks. A new one is one file and one line here. */
export const RUNBOOKS: Record<Runbook, (life: Life) => Promise<Ending>> = {
  'drain-instance': drainInstance,
};
