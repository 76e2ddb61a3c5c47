import { z } from 'zod';
import type { CircuitBreakerOptions, Dependency } from '../breaker/options.ts';
import { section } from '../config-fields.ts';
import { literalSegment, type Target, type TargetTemplate } from '../target.ts';
import type { RunbookSpec } from './spec.ts';

const circuitBreakerOptions = section({
  trustAlert: z.boolean().prefault(false).meta({
    description: 'The alert alone opens it: neither numbers nor a probe need to confirm that the dependency fails.',
  }),
})
  .transform((given): CircuitBreakerOptions => ({ ...given, dependencies: {} }))
  .meta({ description: 'Options of circuit-breaker. What it needs of the dependency stands under dependencies.' });

const accepts = (target: Target): boolean => target.type === 'dependency';

export const circuitBreakerSpec = {
  options: circuitBreakerOptions,
  takes: 'dependencies (dependency/<name>, of the section dependencies)',
  accepts,
  mayAccept: (template) => literalSegment(template, 0) === 'dependency',
  faults: () => [],
} satisfies RunbookSpec<CircuitBreakerOptions>;

/** The options with the dependencies that the target may be: what travels to the workflows, which read no file. */
export function withDependencies(
  options: CircuitBreakerOptions,
  name: string | undefined,
  known: readonly Dependency[],
): CircuitBreakerOptions {
  const meant = known.filter((one) => name === undefined || one.name === name);
  return { ...options, dependencies: Object.fromEntries(meant.map((one) => [one.name, one])) };
}

/** The name that a rule's target has for sure; undefined where it comes from the alert. */
export const nameIn = (target: TargetTemplate): string | undefined => literalSegment(target, 1);
