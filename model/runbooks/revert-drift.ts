import { z } from 'zod';
import { nonEmpty, section } from '../config-fields.ts';
import type { RevertDriftOptions, Stack } from '../drift/options.ts';
import { literalSegment, type Target, type TargetTemplate } from '../target.ts';
import type { RunbookSpec } from './spec.ts';

const kind = nonEmpty('Kind of Kubernetes, or type of a resource, such as NetworkPolicy or aws_security_group.');

const revertDriftOptions = section({
  urgent: z
    .array(kind)
    .prefault([])
    .meta({ description: 'Kinds whose drift is reverted at once, whatever minAge says.' }),
  prune: z.array(kind).prefault([]).meta({
    description:
      'Kinds whose objects are deleted, with an approval, where the source has none of them. Of manifests only.',
  }),
  create: z.array(kind).prefault([]).meta({
    description:
      'Kinds whose missing objects are created without an approval, also those that were never deployed. Of manifests only.',
  }),
})
  .transform((given): RevertDriftOptions => ({ ...given, stacks: {} }))
  .meta({ description: 'Options of revert-drift. Where the source is stands under stacks.' });

export const revertDriftSpec = {
  options: revertDriftOptions,
  takes: 'stacks (stack/<name>, of the section stacks)',
  accepts: (target: Target): boolean => target.type === 'stack',
  mayAccept: (template: TargetTemplate): boolean => literalSegment(template, 0) === 'stack',
  faults: () => [],
} satisfies RunbookSpec<RevertDriftOptions>;

/** The options with the stacks that the target may be: what travels to the workflows, which read no file. */
export function withStacks(
  options: RevertDriftOptions,
  name: string | undefined,
  known: readonly Stack[],
): RevertDriftOptions {
  const meant = known.filter((one) => name === undefined || one.name === name);
  return { ...options, stacks: Object.fromEntries(meant.map((one) => [one.name, one])) };
}
