import { RULE_STOPS } from '../../model/clearance.ts';
import type { CutRequest, HoldResult, InstancePort, Owner, ReplaceResult } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import { NODE_OPTIONS } from '../../model/rule.ts';
import type { Life } from '../life.ts';
import { heldBack } from './drain-hold.ts';
import { keptUntilItRecovers } from './drain-keep.ts';
import { giveBack, look, type Sick, undone, verified } from './drain-steps.ts';
import { wordsOf } from './drain-words.ts';
import { waiting } from './steps.ts';

/** Since when it gets no traffic (ISO time), where that was seen; and whether it came and went too often. */
type Held = Pick<Extract<HoldResult, { verdict: 'sick' }>, 'outSince' | 'flapped'>;

/** It did not recover. @param found the diagnosis on which it was cut */
export async function replaceIt(
  life: Life<'drain-instance'>,
  request: CutRequest,
  found: Sick,
  { outSince, flapped = false }: Held,
): Promise<Ending> {
  const { with: options } = life.input.rule;
  const { quietFor, evictWithin } = options;
  const { instance, held } = request;
  const words = wordsOf(life);
  const quietFrom = outSince ? Date.parse(outSince) : Date.now();
  const notBefore = new Date(quietFrom + quietFor).toISOString();
  const moved: Owner[] = [];
  for (let deadline: string | undefined; ; ) {
    // The wait was long: look again before the next mutation.
    const now = await look(life, instance.uid);
    life.evidence('diagnosis', now.verdict, now.why);
    if (now.verdict === 'gone') {
      // Its group is one smaller by Salvor's doing, also without it.
      if (found.traffic.way === 'standby') life.record(await giveBack(life, request));
      life.released();
      return life.end('not-needed', now.why);
    }
    // Of what flaps a healthy moment is part of the sickness.
    if (now.verdict === 'protected' || (now.verdict === 'healthy' && !flapped)) return undone(life, request, now);

    deadline ??= life.in(quietFor + evictWithin);
    const { owner } = now.verdict === 'sick' ? now : found;
    const clearance = life.clearance(owner.workload);
    life.phase('replace', words.asking, { what: words.replace, until: deadline });
    const replaced = await waiting<InstancePort>(words.replace, quietFor + evictWithin).replace({
      ...{ step: 'replace', actor: life.actor, instance, owner, notBefore, deadline, held, options },
      ...(clearance && { clearance }),
    });
    life.record(replaced.changes);
    life.evidence('replace', replaced.verdict, replaced.why);
    if (replaced.verdict === 'blocked' || replaced.verdict === 'failed') return life.end('failed', replaced.why);
    if ('moved' in replaced) moved.push(...(replaced.moved ?? []));
    if (replaced.verdict !== 'held-back' || !clearance)
      return afterReplacing(life, request, { owner, moved, replaced });

    const { objection } = replaced;
    const { gate, reason } = objection;
    if (gate === 'excluded' || RULE_STOPS.has(gate))
      return undone(life, request, { verdict: 'protected', why: reason });
    const wait = await heldBack(life, request, { objection, clearance, deadline });
    if (wait.end) return wait.end;
    flapped ||= wait.flapped === true;
    // The time of a pause is not its own.
    if (gate === 'paused') deadline = undefined;
  }
}

async function afterReplacing(
  life: Life<'drain-instance'>,
  request: CutRequest,
  { owner, moved, replaced }: { owner: Owner; moved: Owner[]; replaced: ReplaceResult },
): Promise<Ending> {
  const { why, stays } = { stays: false, ...replaced };
  if (!stays) life.released();
  if (replaced.verdict === 'gone') return life.end('not-needed', why);
  const { with: options } = life.input.rule;
  // One that recovered while it was drained is not terminated, whatever the rule says.
  const node = stays && { node: { ...(options.node ?? NODE_OPTIONS), terminate: false } };
  const seen = await verified(life, request, { why, owner, moved, options: { ...options, ...node } });
  if (!seen.verified) return life.end('failed', seen.why);
  return stays ? keptUntilItRecovers(life, request, seen.why) : life.end('remediated', seen.why);
}
