import type { Ending } from '../../model/remediation.ts';
import type { Life } from '../life.ts';

/** Reverts what differs from the source. */
export async function revertDrift(life: Life<'revert-drift'>): Promise<Ending> {
  return life.end('refused', 'not built');
}
