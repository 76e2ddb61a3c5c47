import type { Held } from '../../model/change.ts';
import { formatDuration } from '../../model/duration.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import { type DrainInstanceOptions, NODE_OPTIONS } from '../../model/rule.ts';
import type { Life } from '../life.ts';
import { afterHold, holding } from './drain-hold.ts';
import { replacedByCut } from './drain-keep.ts';
import { replaceIt } from './drain-replace.ts';
import { cutting, describe, giveBack, leftAlone, look, MINUTE, type Sick } from './drain-steps.ts';
import { wordsOf } from './drain-words.ts';

/**
 * Liveness is not readiness: an instance that is alive but not able to work is taken out of traffic and given time. If it
 * heals it is put back; if not, it is replaced. Where the cut alone makes its platform replace it, that is awaited instead.
 */
export async function drainInstance(life: Life<'drain-instance'>): Promise<Ending> {
  const options = life.input.rule.with;
  const found = await look(life);
  life.evidence('diagnosis', found.verdict, found.why, found.verdict === 'sick' ? factsOf(found) : undefined);
  if (found.verdict !== 'sick') return leftAlone(life, found);
  life.because(found.why);
  const { uid } = found.instance;
  const over = await life.propose(found.plan, found.why, () => lookedAgain(life, uid));
  if (over) return over;

  const cutRequest = await cutTraffic(life, found);
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
