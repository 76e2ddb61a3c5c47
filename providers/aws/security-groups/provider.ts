import type { DesiredStateProvider } from '../../desired-state.ts';
import { compare } from './compare.ts';
import type { Means } from './look.ts';
import { revert } from './revert.ts';

/** The DesiredState port for a stack of security groups. */
export const securityGroups = (means: Means): DesiredStateProvider => ({
  compare: (request, drift) => compare(means, request, drift),
  revert: (request, drift) => revert(means, request, drift),
});
