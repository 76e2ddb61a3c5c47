import type { Change } from '../../model/change.ts';
import { classifyPlan } from '../../model/drift/classify-plan.ts';
import type { Difference } from '../../model/drift/difference.ts';
import { secretsIn } from '../../model/drift/plan-values.ts';
import type { RevertRequest, RevertResult } from '../../model/ports/desired-state.ts';
import { formatTarget } from '../../model/target.ts';
import type { DriftMeans } from '../desired-state.ts';
import { FinalError } from '../errors.ts';
import { HeldBack, LOST } from '../instance.ts';
import { lastLines, redacted } from '../processes/redact.ts';
import { Sleeper } from '../pulse.ts';
import { withoutSource } from './errors.ts';
import { judge } from './judge.ts';
import type { Session } from './session.ts';

/** A part that failed is planned anew, and tried again: an API that was away for a moment must not leave a half. */
const ROUNDS = 3;
const BETWEEN_MS = 2_000;

/** Plans anew, and applies that very plan where it does what was reviewed and nothing else. */
export async function revertIn(session: Session, request: RevertRequest, means: DriftMeans): Promise<RevertResult> {
  const { tofu, context, secrets } = session;
  const { pulse } = means;
  const changes: Change[] = [];
  let left: readonly Difference[] = request.reviewed;
  for (let round = 1; ; round++) {
    const planned = await tofu.plan(left.map(({ address }) => address)).catch((error: unknown) => {
      // Where a part is done this is the end of it: as an error it would look as if nothing had been begun.
      if (round > 1 && error instanceof FinalError) return error;
      throw error;
    });
    if (planned instanceof FinalError)
      return { verdict: 'failed', why: `${leftIn(left)} (${planned.message})`, changes };
    const { file, plan } = planned;
    const { objection, todo, gone, isCutShort } = judge(
      plan,
      classifyPlan(plan, context),
      left,
      means.isRepeat || round > 1,
    );
    // What is left is in the state by now, and is no drift for the next look: nobody else would tell of it.
    const failed = (why: string): RevertResult => ({ verdict: 'failed', why: `${leftIn(left)} (${why})`, changes });
    const isPart = round > 1 || isCutShort;
    if (objection !== undefined) return isPart ? failed(objection) : { verdict: 'changed', why: objection, changes };
    changes.push(...gone.flatMap((one) => changesOf(request, one, new Date().toISOString(), LOST)));
    if (todo.length === 0) return { verdict: 'reverted', why: doneIn(changes, request), changes };
    const heldBack = await ask(means);
    if (heldBack) {
      if (isPart) return failed(`it was not the time to go on: ${heldBack.message}`);
      // Nothing is done yet: whoever asked need not be told of changes.
      if (changes.length === 0) throw heldBack;
      return { verdict: 'held-back', why: heldBack.message, changes, objection: heldBack.objection };
    }
    const { status, done, problems, isStale } = await tofu.apply(file);
    for (const one of todo) {
      const at = done.get(one.address) ?? (status === 0 ? new Date().toISOString() : undefined);
      if (at !== undefined) changes.push(...changesOf(request, one, at));
    }
    left = status === 0 ? [] : todo.filter(({ address }) => !done.has(address));
    if (status === 0) return { verdict: 'reverted', why: doneIn(changes, request), changes };
    const said = lastLines(withoutSource(redacted(problems, [...secrets, ...secretsIn(plan)])));
    if (pulse.signal.aborted) {
      // Nobody else will tell what was done.
      if (!pulse.isCancelled?.()) throw pulse.signal.reason;
      return { verdict: 'failed', why: `it was ended before it was done; ${leftIn(left)}`, changes };
    }
    if (isStale && !isPart)
      return { verdict: 'changed', why: `somebody else has written the state meanwhile (${said})`, changes };
    if (isStale || round === ROUNDS) return failed(said);
    await new Sleeper().sleep(BETWEEN_MS * round, pulse.signal);
  }
}

async function ask({ pulse }: DriftMeans): Promise<HeldBack | undefined> {
  try {
    await pulse.stillMine();
    return undefined;
  } catch (error) {
    if (error instanceof HeldBack) return error;
    throw error;
  }
}

const doneIn = (changes: readonly Change[], { reviewed }: RevertRequest): string =>
  changes.length === 0 ? 'nothing differs any more' : `${reviewed.length} addresses are as they were before`;

const leftIn = (left: readonly Difference[]): string =>
  `not reverted: ${left.map(({ address }) => address).join(', ')}; the state may have taken what is there, so look at a plan, and apply it by hand`;

/**
 * What was done, a change for each field. Its object is the stack, and the address within it: that is all that OpenTofu itself
 * knows it by.
 */
function changesOf(
  { step, stack }: RevertRequest,
  { address, action, fields }: Difference,
  at: string,
  lost = '',
): Change[] {
  const object = { key: formatTarget({ type: 'stack', name: stack.name }), uid: address };
  const each = fields.map(
    ({ path, live, source }): Change => ({
      ...{ step, what: `${address} ${path}${lost}`, object, field: path, before: live, after: source, at },
    }),
  );
  if (action === 'update' && each.length > 0) return each;
  return [{ step, what: `${action} ${address}${lost}`, object, field: action, before: null, after: null, at }, ...each];
}
