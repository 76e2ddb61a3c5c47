import { patched } from '@temporalio/workflow';
import type { Held } from '../../model/change.ts';
import { formatDuration } from '../../model/duration.ts';
import { type CutRequest, INSTANCE_ERRORS } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import { type DrainInstanceOptions, NODE_OPTIONS } from '../../model/rule.ts';
import { parseTarget } from '../../model/target.ts';
import { explain, failureType } from '../failures.ts';
import type { Life } from '../life.ts';
import { afterHold, holding } from './drain-hold.ts';
import { replacedByCut } from './drain-keep.ts';
import { replaceIt } from './drain-replace.ts';
import { cutting, describe, giveBack, leftAlone, look, type Sick } from './drain-steps.ts';
import { wordsOf } from './drain-words.ts';
import { MINUTE } from './steps.ts';

/**
 * Liveness is not readiness: an instance that is alive but not able to work is taken out of traffic and given time. If it
 * heals it is put back; if not, it is replaced. Where the cut alone makes its platform replace it, that is awaited instead.
 */
export async function drainInstance(life: Life<'drain-instance'>): Promise<Ending> {
  const options = life.input.rule.with;
  const seen = await look(life);
  life.evidence('diagnosis', seen.verdict, seen.why, seen.verdict === 'sick' ? factsOf(seen) : undefined);
  if (seen.verdict !== 'sick') return leftAlone(life, seen);
  life.because(seen.why);
  const { uid } = seen.instance;
  const over = await life.propose(seen.plan, seen.why, () => lookedAgain(life, uid));
  if (over) return over;

  const done = await cutAsFound(life, seen);
  if ('outcome' in done) return done;
  const { found, cutRequest } = done;
  if (found.course?.kind === 'replacement') return replacedByCut(life, cutRequest, found, found.course);

  const deadline = life.in(options.recoverWithin);
  life.phase('hold', `waiting up to ${formatDuration(options.recoverWithin)} for it to recover`, {
    what: `put it back when it has been healthy for ${formatDuration(options.stableFor)}, else ${options.replace ? wordsOf(life).else : 'put it back and fail'}`,
    until: deadline,
  });
  const held = await life.looking(holding(life, cutRequest, options.recoverWithin, deadline), async () =>
    describe(await look(life, uid)),
  );
  const end = afterHold(life, held);
  if (end) return end;
  if (!options.replace) return life.end('failed', `${held.why}; the rule does not allow to replace it`);
  return replaceIt(life, cutRequest, found, held.verdict === 'sick' ? held : {});
}

/** While it waits for a person: how it ends, where it is not sick any more. */
async function lookedAgain(life: Life<'drain-instance'>, uid: string): Promise<Ending | undefined> {
  const found = await look(life, uid);
  life.evidence('diagnosis', found.verdict, found.why);
  life.say(describe(found));
  return found.verdict === 'sick' ? undefined : leftAlone(life, found);
}

/** How often a group that changes again and again is looked at anew. */
const CUTS = 5;

/**
 * The numbers of an Auto Scaling group change while nothing is wrong: when another of its instances is taken out at the same
 * moment, or when it scales. What was decided by the old ones is decided anew; nothing was touched by then.
 */
async function cutAsFound(
  life: Life<'drain-instance'>,
  found: Sick,
  tries = 1,
): Promise<Ending | { found: Sick; cutRequest: CutRequest }> {
  const { instance, plan } = found;
  try {
    return { found, cutRequest: await cutTraffic(life, found) };
  } catch (error) {
    const changes = failureType(error) === INSTANCE_ERRORS.contested && parseTarget(instance.key).type === 'asg';
    if (!changes || tries >= CUTS || !patched('cut-anew')) throw error;
    life.say(`${explain(error)}; it is looked at again`);
    // The note of an attempt that got no further is taken away.
    const undone = await life.giveUp(life.end('refused', explain(error)));
    if (undone.outcome === 'failed') return undone;
  }
  const now = await look(life, instance.uid);
  life.evidence('diagnosis', now.verdict, now.why, now.verdict === 'sick' ? factsOf(now) : undefined);
  if (now.verdict !== 'sick') return leftAlone(life, now);
  if (life.input.rule.mode === 'propose' && now.plan.digest !== plan.digest)
    return life.again(
      'plan-changed',
      `its group has changed since the approval, and the plan with it: ${now.plan.digest}`,
    );
  life.story.plan = now.plan;
  return cutAsFound(life, now, tries + 1);
}

async function cutTraffic(life: Life<'drain-instance'>, found: Sick): Promise<CutRequest> {
  const options = life.input.rule.with;
  const until = life.in(longest(found, options) + 10 * MINUTE);
  const held: Held[] = found.held.map((field) => ({ ...field, object: found.instance, ...life.actor, until }));
  const request: CutRequest = { step: 'cut', actor: life.actor, instance: found.instance, held, options };
  const words = wordsOf(life);
  life.phase('cut', `traffic: ${found.traffic.way} (${found.traffic.why})`, { what: words.cut });
  if (held.length > 0) {
    const clearance = life.clearance(found.owner.workload);
    await life.change(
      'cut traffic',
      (audit) => cutting(words.cut)({ ...request, audit, ...(clearance && { clearance }) }),
      {
        held,
        undo: () => giveBack(life, request),
      },
    );
  }
  return request;
}

/** Milliseconds for which it may be held when all goes its way. */
function longest(
  { course, traffic }: Sick,
  { recoverWithin, evictWithin, verifyWithin, node = NODE_OPTIONS }: DrainInstanceOptions,
): number {
  if (course?.kind === 'replacement') return verifyWithin + course.keepFor + evictWithin;
  const drained = traffic.way === 'cordon' && !node.terminate ? verifyWithin + node.keepFor : 0;
  return recoverWithin + evictWithin + drained;
}

const factsOf = ({ instance, traffic, owner, plan, course }: Sick) => ({
  ...{ instance, traffic, owner, plan },
  ...(course && { course }),
});
