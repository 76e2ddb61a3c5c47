import { type ClearanceActivities, type ClearanceRequest, type Objection, RULE_STOPS } from '../../model/clearance.ts';
import type { CutRequest, HoldResult, InstancePort } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import type { Life } from '../life.ts';
import { untilOneEnds } from '../race.ts';
import { describe, look, undone } from './drain-steps.ts';
import { wordsOf } from './drain-words.ts';
import { DAY, waiting } from './steps.ts';

const YEAR = 365 * DAY;

/** @param ms how long it may take to recover */
export const holding = (
  life: Life<'drain-instance'>,
  request: CutRequest,
  ms: number,
  deadline: string,
): Promise<HoldResult> =>
  waiting<InstancePort>(`wait for it to recover, then ${wordsOf(life).back}`, ms).hold({
    ...request,
    step: 'restore',
    deadline,
    stableFor: life.input.rule.with.stableFor,
  });

/** How it ends with that; nothing where it is still sick. */
export function afterHold(life: Life<'drain-instance'>, held: HoldResult): Ending | undefined {
  life.record(held.changes);
  life.evidence('hold', held.verdict, held.why);
  if (held.verdict === 'contested') return life.end('failed', held.why);
  if (held.verdict === 'given-back') {
    // Whoever released it decided about it: it is neither cut nor replaced on the strength of an older diagnosis.
    life.released();
    return life.end('failed', `${held.why}; it is left alone, and a repeat of the alert looks at it anew`);
  }
  if (held.verdict !== 'sick') {
    life.released();
    return life.end(held.verdict === 'recovered' ? 'recovered' : 'not-needed', held.why);
  }
  life.say(held.why);
  return undefined;
}

/** What keeps it from being replaced, and until when that is waited for (ISO time) unless it is a pause. */
export interface NotNow {
  objection: Objection;
  clearance: ClearanceRequest;
  deadline: string;
}

/**
 * It is not the time to replace it. It stays held until nothing objects any more, and gets its traffic back as soon as it
 * has recovered meanwhile.
 */
export async function heldBack(
  life: Life<'drain-instance'>,
  request: CutRequest,
  { objection, clearance, deadline }: NotNow,
): Promise<{ end?: Ending; flapped?: boolean }> {
  const { until, left, wait } = waitFor(life, { objection, clearance, deadline });
  life.phase('held back', objection.reason, {
    what: 'go on when nothing objects any more, or put it back when it has recovered',
    ...(objection.gate !== 'paused' && { until }),
  });
  const ended = untilOneEnds(() => holding(life, request, left, until), wait);
  const [held, first] = await life.looking(ended, async () => describe(await look(life, request.instance.uid)));
  const end = held && afterHold(life, held);
  if (end) return { end };
  // One that has come and gone too often is sick before its time is over: nothing but its replacement is waited for.
  const flapped = held?.verdict === 'sick' && held.flapped === true;
  const cleared = flapped && !first ? await wait() : first;
  if (cleared?.cleared) return { flapped };
  const { gate, reason } = cleared ?? objection;
  if (RULE_STOPS.has(gate)) return { end: await undone(life, request, { verdict: 'protected', why: reason }) };
  return { end: life.end('failed', `it could not be replaced before ${deadline}: ${reason}`) };
}

/** A pause has no deadline: a person made it, and a person ends it. */
export function waitFor(life: Life<'drain-instance'>, { objection, clearance, deadline }: NotNow) {
  const paused = objection.gate === 'paused';
  const until = paused ? life.in(YEAR) : deadline;
  const left = Math.max(0, Date.parse(until) - Date.now());
  const wait = () =>
    waiting<ClearanceActivities>('wait until nothing objects to it', left).untilCleared({
      ...clearance,
      ...(!paused && { deadline }),
    });
  return { until, left, wait };
}
