import type { Evidence, LookRequest } from '../model/evidence.ts';
import { decide, holds } from '../model/gates.ts';
import type { LookAgain } from '../model/responder.ts';
import type { Delivered, Desk, Undecided } from './desk.ts';

/**
 * Who waited for one of these asks for no slot of the limits before it is over: a slot that comes to nothing is given back, and
 * offered again, and so on without end.
 */
const SLOTLESS: ReadonlySet<string> = new Set(['paused', 'windows', 'storm', 'unavailable']);

/** What is not decided yet. */
interface Pending {
  /** Is decided with this look; none: it is about the storm. */
  hand: readonly Undecided[];
  /** Came, and is decided later. */
  fresh: readonly Delivered[];
  now: number;
  /** Of the question, in this run. */
  number: number;
}

/** What to look at: for those in hand, or, where none is, whether the storm is over. */
export function questionOf(desk: Desk, { hand, fresh, now, number }: Pending): LookRequest {
  const { execution, queue, room, rule, scope, slots, state, storm } = desk;
  const inHand = hand.map(({ request }) => request.target);
  const waiting = [...queue.all(), ...fresh].map(({ target }) => target);
  const suspects = [
    ...new Set([...inHand, ...Object.keys(state.open), ...waiting, ...Object.keys(state.proposed ?? {})]),
  ];
  const candidates = hand.map(({ request, queued }) => {
    const speaksAgainst = decide({ request, rule, state, now, waiting: queued !== undefined }).answer !== 'admit';
    const isNew = queued === undefined || queued.undecided === true;
    const isOffered = holds(rule, request) && !speaksAgainst;
    return { target: request.target, wants: isOffered && !(queued && SLOTLESS.has(queued.gate)), isNew };
  });
  const responder = execution.workflowId;
  return {
    responder,
    scope,
    rule,
    targets: inHand.length > 0 ? [...new Set(inHand)] : storm.targets(suspects),
    suspects,
    leases: rule.limits ? slots.ask(candidates, { limits: rule.limits, responder, room }) : {},
    question: `${execution.runId}/${number}`,
  };
}

/** Whether it is a storm, or none any more, by what was counted. */
export function weigh(desk: Desk, evidence: Evidence, suspects: readonly string[], now: number): void {
  const { escalations, note, queue, rule, state, storm } = desk;
  const was = state.storm;
  const turn = storm.weigh(evidence, rule.gates, { now, suspects });
  if (turn === 'begins' && state.storm) {
    const { live, unhealthy, why } = state.storm;
    note({ kind: 'storm', state: 'begins', live, unhealthy, why });
    escalations.stormBegins(now);
  } else if (turn === 'ends' && was) {
    const { live, unhealthy } = was;
    const why = `${unhealthy} of ${live} are unhealthy, and it was calm for long enough (settleFor)`;
    note({ kind: 'storm', state: 'ends', live, unhealthy, why });
    escalations.stormEnds(was);
    queue.wake('all');
  }
}

/** A word from outside: some of those who wait are decided anew; a person's ends the storm. */
export function lookAgain({ escalations, note, queue, storm }: Desk, { resume }: LookAgain): void {
  queue.wake('word');
  const was = resume && storm.resume();
  if (!was) return;
  queue.wake('all');
  const { live, unhealthy } = was;
  const why = `resumed by ${resume.by}${resume.reason ? `: ${resume.reason}` : ''}`;
  note({ kind: 'storm', state: 'ends', live, unhealthy, why, by: resume.by });
  escalations.stormEnds(was);
}
