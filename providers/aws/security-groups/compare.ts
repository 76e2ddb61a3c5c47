import { comparisonOf, revertibleFirst } from '../../../model/drift/comparison.ts';
import type { Difference } from '../../../model/drift/difference.ts';
import { culpritOf } from '../../../model/drift/group-culprit.ts';
import type { CompareRequest, Comparison } from '../../../model/ports/desired-state.ts';
import type { DriftMeans } from '../../desired-state.ts';
import { beating } from '../../pulse.ts';
import { MovedError } from '../../source/git.ts';
import { type Look, look, type Means } from './look.ts';
import { UnfitSource } from './source.ts';

/** Groups of which CloudTrail is asked who changed them: it answers twice a second. */
const MOST_ASKED = 20;
/** What is older is nobody's to be asked any more. */
const SINCE_MS = 24 * 3_600_000;

export async function compare(means: Means, request: CompareRequest, { pulse }: DriftMeans): Promise<Comparison> {
  const watch = { signal: pulse.signal, beat: () => pulse.beat(undefined) };
  try {
    return await beating(
      pulse,
      () => undefined,
      async () => {
        const seen = await look(means, request.revision, watch);
        return answerOf(seen, await whoOf(means, seen, pulse.signal));
      },
    );
  } catch (error) {
    if (error instanceof UnfitSource || error instanceof MovedError) return { verdict: 'refused', why: error.message };
    throw error;
  }
}

interface Told {
  differences: Difference[];
  /** Why nobody can tell who it was. */
  problem?: string;
}

async function whoOf({ aws }: Means, { found }: Look, signal: AbortSignal): Promise<Told> {
  const since = new Date(Date.now() - SINCE_MS);
  const differences: Difference[] = [];
  let problem: string | undefined;
  let asked = 0;
  for (const { difference, plan, owner } of found) {
    if (!plan || problem !== undefined || asked === MOST_ASKED) {
      differences.push(difference);
      continue;
    }
    asked += 1;
    const told = await aws.trail.changesOf(plan.group, { since, signal });
    problem = told.problem;
    const who = told.events && culpritOf(told.events, plan, owner);
    differences.push({ ...difference, ...(who && { who }) });
  }
  return { differences, ...(problem !== undefined && { problem }) };
}

function answerOf({ count, revision }: Look, { differences, problem }: Told): Comparison {
  const groups = count === 1 ? 'one security group' : `${count} security groups`;
  const unknown = problem === undefined ? '' : `; who changed them is not known: ${problem}`;
  const differ = differences.length;
  const why = differ > 0 ? `${differ} of ${groups} differ${unknown}` : `${groups}, all as declared`;
  return comparisonOf(revertibleFirst(differences), { why, revision });
}
