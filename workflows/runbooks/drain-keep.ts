import { sleep } from '@temporalio/workflow';
import { RULE_STOPS } from '../../model/clearance.ts';
import { formatDuration } from '../../model/duration.ts';
import type { CutRequest, InstancePort } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import { NODE_OPTIONS } from '../../model/rule.ts';
import type { Life } from '../life.ts';
import { holding, waitFor } from './drain-hold.ts';
import { describe, giveBack, look, type Sick, verified } from './drain-steps.ts';
import { wordsOfEnd } from './drain-words.ts';
import { waiting } from './steps.ts';

/** What is out of traffic stays so for a while after the healing is done, and takes neither slot nor budget meanwhile. */

/**
 * A node that was drained and is still there: it comes back as soon as it has recovered. It stays cordoned where it does not,
 * for a person to decide. One that somebody else had cordoned is that person's.
 *
 * @param done what was seen of the replacements
 */
export async function keptUntilItRecovers(
  life: Life<'drain-instance'>,
  request: CutRequest,
  done: string,
): Promise<Ending> {
  if (request.held.length === 0)
    return life.end('remediated', `${done}; it was cordoned before, not by this remediation, and stays so`);
  const { node: { keepFor } = NODE_OPTIONS, stableFor } = life.input.rule.with;
  life.keeps();
  await life.handOver('remediated', done);
  const deadline = life.in(keepFor);
  const kept = `drained (${done}), and done but for this: it stays cordoned for up to ${formatDuration(keepFor)}`;
  const what = `uncordon it when it has been healthy for ${formatDuration(stableFor)}, else leave it so and tell people`;
  keeping(life, kept, { what, until: deadline });
  const wait = holding(life, request, keepFor, deadline);
  const { verdict, why, changes } = await life.looking(wait, async () =>
    describe(await look(life, request.instance.uid)),
  );
  life.record(changes);
  life.evidence('keep', verdict, why);
  switch (verdict) {
    case 'sick':
      return life.end('failed', `it was drained (${done}), and is still sick: ${why}`);
    case 'contested':
      // What somebody else has set stays: nothing but Salvor's own note is taken back.
      life.record(await giveBack(life, request));
      life.released();
      return life.end('failed', `it was drained (${done}); since then ${why}`);
    default:
      life.released();
      return life.end('remediated', `${done}; ${AFTERWARDS[verdict]}: ${why}`);
  }
}

/** Lists of runs tell why it is still open. */
function keeping(life: Life<'drain-instance'>, kept: string, next: { what: string; until: string }): void {
  life.phase('keep', kept, next);
  life.attribute('SalvorReason', `${kept}; until ${next.until}`);
}

const AFTERWARDS = {
  recovered: 'it has recovered, and is uncordoned',
  gone: 'it is gone by now',
  'given-back': 'it was given back by hand',
};

type Course = Extract<NonNullable<Sick['course']>, { kind: 'replacement' }>;

/** The cut alone has made its platform start a replacement: that is seen to serve, then it is kept, then done with. */
export async function replacedByCut(
  life: Life<'drain-instance'>,
  request: CutRequest,
  found: Sick,
  course: Course,
): Promise<Ending> {
  const { keepFor, afterwards } = course;
  const { owner, traffic } = found;
  const seen = await verified(life, request, { why: `out of traffic (${traffic.way}): its replacement is due`, owner });
  if (!seen.verified) return life.end('failed', seen.why);
  // There is one too many from here on: putting it back would make its platform end one of its own choice.
  life.keeps();
  if (keepFor > 0) {
    await life.handOver('remediated', seen.why);
    const what = afterwards === 'delete' ? 'do away with it' : 'give it back';
    const kept = `replaced (${seen.why}), and done but for this: it is kept for ${formatDuration(keepFor)}`;
    keeping(life, kept, { what, until: life.in(keepFor) });
    await sleep(keepFor, { summary: 'keep it for the inquest' });
  }
  return afterwards === 'delete' ? doneAwayWith(life, request, found, seen.why) : givenBack(life, request, seen.why);
}

async function givenBack(life: Life<'drain-instance'>, request: CutRequest, done: string): Promise<Ending> {
  life.phase('give back', 'its time is over: giving it back', { what: 'put it back as it was' });
  const changes = await giveBack(life, request);
  life.record(changes);
  life.released();
  const what = changes.length > 0 ? 'it was kept, and given back' : 'nothing was left to be given back';
  return life.end('remediated', `${done}; ${what}`);
}

async function doneAwayWith(
  life: Life<'drain-instance'>,
  request: CutRequest,
  { owner }: Sick,
  done: string,
): Promise<Ending> {
  const { with: options } = life.input.rule;
  const { instance, held } = request;
  const words = wordsOfEnd(life);
  for (let deadline: string | undefined; ; ) {
    // It was kept for long: whoever has put it back meanwhile counts on it.
    const now = await look(life, instance.uid);
    life.evidence('diagnosis', now.verdict, now.why);
    if (now.verdict === 'healthy' || (now.verdict === 'sick' && now.course?.kind !== 'replacement')) {
      life.released();
      return life.end('remediated', `${done}; it was put back by hand meanwhile, and is left alone: ${now.why}`);
    }
    deadline ??= life.in(options.evictWithin);
    const clearance = life.clearance(owner.workload, 'nothing');
    life.phase('replace', words.asking, { what: words.replace, until: deadline });
    const ended = await waiting<InstancePort>(words.replace, options.evictWithin).replace({
      ...{ step: 'replace', actor: life.actor, instance, owner, held, options, deadline, notBefore: life.in(0) },
      ...(clearance && { clearance }),
    });
    life.record(ended.changes);
    life.evidence('replace', ended.verdict, ended.why);
    if (ended.verdict === 'replaced' || ended.verdict === 'gone') {
      life.released();
      return life.end('remediated', `${done}; ${ended.why}`);
    }
    if (ended.verdict !== 'held-back' || !clearance) return stillThere(life, done, ended.why);

    const { objection } = ended;
    life.phase('held back', objection.reason, { what: 'do away with it when nothing objects any more' });
    const isOver = objection.gate === 'excluded' || RULE_STOPS.has(objection.gate);
    const cleared = isOver
      ? { cleared: false as const, ...objection }
      : await waitFor(life, { objection, clearance, deadline }).wait();
    if (!cleared.cleared && (isOver || RULE_STOPS.has(cleared.gate))) {
      // Nobody gives it back by itself any more, and nothing else would tell of it.
      life.needsAPerson();
      return life.end('remediated', `${done}; it is left alone: ${cleared.reason}. ${life.staysHeld}`);
    }
    if (!cleared.cleared) return stillThere(life, done, cleared.reason);
    if (objection.gate === 'paused') deadline = undefined;
  }
}

const stillThere = (life: Life<'drain-instance'>, done: string, why: string): Ending =>
  life.end('failed', `it was replaced (${done}), but could not be done away with: ${why}`);
