import type { PlanJson } from './plan-json.ts';
import { diffValues } from './plan-values.ts';

/**
 * `output.NAME` of each output of the root module that an apply would write into the state, and that does not just follow from what it reverts: its source is
 * not yet applied. What is known only after an apply follows from it; what was there before and is there again is no change.
 */
export const changedOutputs = ({ output_changes: outputs }: PlanJson): string[] =>
  Object.entries(outputs).flatMap(([name, { actions, before, after, after_unknown: unknown }]) => {
    const isKept = actions.every((action) => action === 'no-op' || action === 'update');
    const isSame = isKept && diffValues(before, after, { unknown }).every((one) => one.unknown);
    return isSame ? [] : [`output.${name}`];
  });
