import type { Client } from '@temporalio/client';
import type { BreakerStanding } from '../../model/breaker/standing.ts';
import type { Config } from '../../model/config.ts';
import { remediationId, WORKFLOW } from '../../model/names.ts';
import { readBreaker } from './breakers.ts';
import { UnansweredError } from './updates.ts';

/** Milliseconds for which what was read of a breaker is good while none of its remediations is open. */
const QUIET = 30_000;
const PREFIX = remediationId('dependency/');
const OPEN = `WorkflowType = '${WORKFLOW.remediation}' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '${PREFIX}'`;

interface Known {
  standing: BreakerStanding;
  isOpen: boolean;
  at: number;
}

/**
 * How the breakers of all dependencies stand, asked time and again: one listing says of which a remediation is open, and only
 * those are looked at each time. A listing may be a moment late; {@link readBreaker} is not.
 *
 * @returns of those that nobody can tell about now what was known last, with its switch unknown; without those of which
 * nothing is known
 */
export function breakersOf(client: Client, { dependencies }: Pick<Config, 'dependencies'>) {
  const known = new Map<string, Known>();

  async function read(name: string, isOpen: boolean): Promise<BreakerStanding[]> {
    const last = known.get(name);
    if (last && !isOpen && !last.isOpen && performance.now() - last.at < QUIET) return [last.standing];
    try {
      const standing = await readBreaker(client, name);
      known.set(name, { standing, isOpen, at: performance.now() });
      return [standing];
    } catch (error) {
      // One that no worker tells about is no reason to say nothing of the others.
      if (!(error instanceof UnansweredError)) throw error;
      return last ? [{ ...last.standing, switch: 'unknown', reason: error.message }] : [];
    }
  }

  return async (): Promise<BreakerStanding[]> => {
    const open = new Set<string>();
    if (dependencies.length > 0)
      for await (const { workflowId } of client.workflow.list({ query: OPEN })) open.add(workflowId);
    const all = dependencies.map(({ name }) => read(name, open.has(`${PREFIX}${name}`)));
    return (await Promise.all(all)).flat();
  };
}
