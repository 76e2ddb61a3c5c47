import type { Difference } from '../../model/drift/difference.ts';
import { withMore, written } from '../../model/drift/done.ts';
import type { Stack } from '../../model/drift/options.ts';
import { named } from '../../model/drift/words.ts';
import { INSTANCE_ERRORS } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import { explain, failureType } from '../failures.ts';
import { heldBack, settled, turnedDown, unfit, withDone } from './drift-ends.ts';
import {
  type Compared,
  chosen,
  course,
  type DriftLife,
  declined,
  heldBy,
  keepInMind,
  look,
  oldEnough,
  planOf,
  revert,
  stackOf,
  stillThere,
  told,
} from './drift-steps.ts';

/** Looks at what is being changed while it is young, and at what is not as it was reviewed any more, before it is left alone. */
const MOST_WAITS = 5;
const MOST_CHANGED = 3;

/**
 * The live state is made as its source says, where somebody has changed it by hand. There is no undo: the source is the truth, and
 * what was reverted is right whatever becomes of the rest.
 */
export async function revertDrift(life: DriftLife): Promise<Ending> {
  const stack = stackOf(life);
  if (!stack) return life.end('failed', `${life.input.target} is not among the stacks of the configuration (any more)`);
  const run: Run = { stack, done: [] };
  return withDone(await follow(life, run).catch(unlessLocked(life)), run.done);
}

interface Run {
  stack: Stack;
  /** What was reverted by now. */
  done: Difference[];
}

/** Somebody else is at work on it, and that is no failure. */
const unlessLocked =
  (life: DriftLife) =>
  (error: unknown): Ending => {
    if (failureType(error) !== INSTANCE_ERRORS.locked) throw error;
    return life.again('locked', explain(error));
  };

async function follow(life: DriftLife, run: Run): Promise<Ending> {
  const { stack } = run;
  let seen = await look(life, stack);
  for (let waits = 0, changed = 0; ; ) {
    if (seen.verdict === 'refused') return unfit(life, seen.why, run.done);
    const now = course(life, stack, seen);
    const reviewed = chosen(life, now);
    if (reviewed.length === 0) {
      if (now.young.length === 0 || waits === MOST_WAITS) return settled(life, stack, { seen, now, done: run.done });
      waits += 1;
      await oldEnough(life, stack, now);
      seen = await look(life, stack);
      continue;
    }
    const over = await mayRevert(life, stack, reviewed, seen);
    if (over) return over;

    const { revision } = seen;
    const result = await revert(life, stack, { reviewed, revision });
    life.record(result.changes);
    life.evidence('revert', result.verdict, result.why);
    // What was written counts, whatever became of the rest.
    const made = result.verdict === 'reverted' ? reviewed : written(reviewed, result.changes);
    run.done = withMore(run.done, made);
    keepInMind(life, made);
    if (result.verdict === 'failed') return life.end('failed', result.why);
    if (result.verdict === 'held-back') return heldBack(life, result, run.done);
    if (result.verdict === 'changed') {
      changed += 1;
      if (changed === MOST_CHANGED)
        return life.again('changing', `it keeps changing while it is looked at: ${result.why}`);
      seen = await look(life, stack);
      continue;
    }
    life.phase('verify', result.why, { what: 'see that nothing of it is left' });
    seen = await look(life, stack, revision);
    const left = stillThere(seen, reviewed);
    if (left.length > 0) return life.end('failed', `it was reverted, and differs again or still: ${named(left)}`);
    // The commit may be gone, by a push: then what differs is judged by what the source is now, as by any first look.
    if (seen.verdict === 'refused' && revision !== undefined) seen = await look(life, stack);
    // What was approved is done; what else there is was not.
    if (life.needsApproval && seen.verdict !== 'refused')
      return settled(life, stack, { seen, now: course(life, stack, seen), done: run.done });
  }
}

/** Nothing fires that holds it, and a person has approved it where that is needed. @returns how it ends where it may not */
async function mayRevert(
  life: DriftLife,
  stack: Stack,
  reviewed: Difference[],
  seen: Compared,
): Promise<Ending | undefined> {
  const { rule, approval } = life.input;
  const why = rule.mode === 'observe' ? told(seen) : `${seen.why}: ${named(reviewed)}`;
  life.because(why);
  const held = rule.mode === 'observe' ? undefined : await heldBy(life, stack);
  if (held !== undefined) return life.again('alert', held);
  const plan = await planOf(life, reviewed, seen);
  const asks = life.needsApproval && !approval;
  const known = asks ? declined(life, plan) : undefined;
  if (known) return life.end('refused', `${known.why}: it is not asked for again for a day`);
  const over = await life.propose(plan, why, () => lookedAgain(life, stack));
  if (over && asks) turnedDown(life, plan, over);
  return over;
}

/** While it waits for a person: how it ends, where there is nothing of it any more. */
async function lookedAgain(life: DriftLife, stack: Stack): Promise<Ending | undefined> {
  const seen = await look(life, stack);
  // What cannot be compared may be there all the same.
  if (seen.verdict === 'refused') return undefined;
  return chosen(life, course(life, stack, seen)).length === 0 ? life.end('not-needed', told(seen)) : undefined;
}
