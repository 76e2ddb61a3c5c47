import type { Change } from '../../model/change.ts';
import { comparisonOf } from '../../model/drift/comparison.ts';
import { type Difference, isDrift } from '../../model/drift/difference.ts';
import type { OpenTofuStack, Stack } from '../../model/drift/options.ts';
import type { CompareRequest, Comparison, RevertRequest, RevertResult } from '../../model/ports/desired-state.ts';
import type { DesiredStateProvider, DriftMeans } from '../desired-state.ts';
import { MovedError } from '../source/git.ts';
import { revertIn } from './revert.ts';
import { differencesOf, inSession, type Session } from './session.ts';

/** The desired state that a module of OpenTofu or Terraform tells. */
export function openTofu(stack: Stack, options: OpenTofuStack): DesiredStateProvider {
  return {
    compare: (request, means) => compare({ ...request, stack }, options, means),
    revert: (request, means) => revert({ ...request, stack }, options, means),
  };
}

async function compare(request: CompareRequest, options: OpenTofuStack, means: DriftMeans): Promise<Comparison> {
  try {
    const told = await inSession(request, options, means, answerOf);
    return 'refused' in told ? { verdict: 'refused', why: told.refused } : told;
  } catch (error) {
    // The verifying look asks for the commit that was reviewed, and an ordinary push may have taken that away.
    if (error instanceof MovedError) return { verdict: 'refused', why: error.message };
    throw error;
  }
}

async function answerOf(session: Session): Promise<Comparison> {
  const all = await differencesOf(session);
  return comparisonOf(all, { why: inShort(all), revision: session.revision });
}

async function revert(request: RevertRequest, options: OpenTofuStack, means: DriftMeans): Promise<RevertResult> {
  // Of an attempt whose answer was lost too: what it has done the next look tells.
  const changes: Change[] = [];
  try {
    const told = await inSession(request, options, means, (session) => revertIn(session, request, means));
    return 'refused' in told ? { verdict: 'changed', why: told.refused, changes } : told;
  } catch (error) {
    if (error instanceof MovedError) return { verdict: 'changed', why: error.message, changes };
    throw error;
  }
}

function inShort(all: readonly Difference[]): string {
  if (all.length === 0) return 'the plan is empty';
  const drift = all.filter(isDrift).length;
  const rest = all.length - drift;
  const beside = rest === 0 ? '' : `, and ${rest} more that are no drift`;
  return drift === 0 ? `no drift, though ${rest} addresses differ` : `drift of ${drift} addresses${beside}`;
}
