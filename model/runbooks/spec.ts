import type { z } from 'zod';
import type { KnownWorld, OptionFault } from '../drain-faults.ts';
import type { Target, TargetTemplate } from '../target.ts';

/** What the configuration must know of a runbook. A new runbook is one entry in `RUNBOOK_SPECS`. */
export interface RunbookSpec<Options> {
  /** The strict schema of `with:`. */
  options: z.ZodType<Options>;
  /** Which targets it takes, for messages. */
  takes: string;
  accepts(target: Target): boolean;
  /** Whether a rule's target can become one that it takes, as far as the template shows. */
  mayAccept(template: TargetTemplate): boolean;
  /** Options, as written, that would do nothing for the target that it may accept, or need what is not configured. */
  faults(written: unknown, target: TargetTemplate, world: KnownWorld): OptionFault[];
}
