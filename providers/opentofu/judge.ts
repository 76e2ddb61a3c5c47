import { changedAddresses } from '../../model/drift/classify-plan.ts';
import type { Difference } from '../../model/drift/difference.ts';
import type { PlanJson } from '../../model/drift/plan-json.ts';
import { changedOutputs } from '../../model/drift/plan-outputs.ts';
import { isRevertible } from './session.ts';

export interface Judgement {
  /** It is not, or not only, what was reviewed; for people. */
  objection?: string;
  /** What an apply of the plan would revert. */
  todo: Difference[];
  /** What does not differ any more. */
  gone: Difference[];
  /** An apply has begun with it before, and has not done all of it. */
  isCutShort: boolean;
}

/**
 * Whether a plan does what was reviewed, and nothing else.
 *
 * @param isAgain an apply may have been cut short: that has written what there is into the state, so that what is left of it
 * looks as if nobody had changed it. What would be written is still the very same.
 */
export function judge(
  plan: PlanJson,
  found: readonly Difference[],
  reviewed: readonly Difference[],
  isAgain: boolean,
): Judgement {
  const isCutShort = isAgain && reviewed.some((one) => isTakenIn(one, found));
  const none = (objection: string): Judgement => ({ objection, todo: [], gone: [], isCutShort });
  const changed = changedAddresses(plan);
  // Of the values that an apply leaves behind which was cut short, outputs are not written yet.
  const all = isAgain ? changed : [...changed, ...changedOutputs(plan)];
  const outside = all.find((address) => reviewed.every((one) => one.address !== address));
  if (outside !== undefined) return none(`to revert it would change ${outside} too, which was not reviewed`);
  const todo: Difference[] = [];
  const gone: Difference[] = [];
  for (const one of reviewed) {
    if (!isRevertible(one)) return none(`${one.address} is ${one.class}, and that is not reverted`);
    const now = found.find(({ address }) => address === one.address);
    if (!changed.includes(one.address) || !now) {
      gone.push(one);
      continue;
    }
    // What a person has approved may need it for what else there was then, of which a plan of these alone does not know.
    const isMilder = one.class === 'destructive' && now.class === 'reversible';
    const isSameClass = now.class === one.class || isMilder || (isAgain && TAKEN_IN.has(now.class));
    if (!isSameClass) return none(`${one.address} was ${one.class}, and is ${now.class} now: ${now.why}`);
    if (now.digest !== one.digest) return none(`${one.address} differs in another way than was reviewed`);
    todo.push(one);
  }
  const [first] = gone;
  if (first && !isAgain) return none(`${first.address} does not differ any more`);
  return { todo, gone, isCutShort };
}

/** What drift looks like when the state has it already. */
const TAKEN_IN: ReadonlySet<Difference['class']> = new Set(['unapplied', 'computed']);

/** What would be written is the very same, and nobody seems to have changed it any more. */
const isTakenIn = ({ address, digest }: Difference, found: readonly Difference[]): boolean =>
  found.some((now) => now.address === address && now.digest === digest && TAKEN_IN.has(now.class));
