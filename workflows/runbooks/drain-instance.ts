import {
  ActivityCancellationType,
  type ActivityInterfaceFor,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow';
import type { Held } from '../../model/change.ts';
import type { ClearanceActivities, ClearanceRequest, Objection } from '../../model/clearance.ts';
import { formatDuration } from '../../model/duration.ts';
import type { Assessment, CutRequest, HoldResult, InstancePort, ReplaceResult } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import type { Life } from '../life.ts';
import { untilOneEnds } from '../race.ts';
import { ownWatchQueue } from '../waits.ts';

type Sick = Extract<Assessment, { verdict: 'sick' }>;

const WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
const RETRY = { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' } as const;

const { assess } = proxyLocalActivities<InstancePort>({
  summary: 'look at its live state',
  startToCloseTimeout: '10 seconds',
  // Beyond it a retry waits by a timer of the server, so that no worker has to keep its task open.
  localRetryThreshold: '2 seconds',
  scheduleToCloseTimeout: '5 minutes',
  retry: RETRY,
});
const { cut } = proxyActivities<InstancePort>({
  summary: 'cut its traffic',
  startToCloseTimeout: '20 seconds',
  scheduleToCloseTimeout: '5 minutes',
  cancellationType: WAIT,
  retry: RETRY,
});
/** An undo is tried for a day: giving up leaves somebody else's traffic cut. */
const { restore } = proxyActivities<InstancePort>({
  summary: 'give its traffic back',
  startToCloseTimeout: '20 seconds',
  scheduleToCloseTimeout: '1 day',
  retry: { ...RETRY, maximumInterval: '1 minute' },
});
const MINUTE = 60_000;
const YEAR = 365 * 24 * 60 * MINUTE;

/**
 * Waits run on a queue of their own, and are noticed dead within ten seconds.
 *
 * @param summary what is waited for, as Temporal's UI shows it
 * @param ms how long the wait itself may take
 */
function waiting<A = InstancePort>(summary: string, ms: number): ActivityInterfaceFor<A> {
  return proxyActivities<A>({
    summary,
    taskQueue: ownWatchQueue(),
    scheduleToCloseTimeout: ms + 10 * MINUTE,
    heartbeatTimeout: '10 seconds',
    cancellationType: WAIT,
    retry: RETRY,
  });
}

/**
 * Liveness is not readiness: an instance that is alive but not able to work is taken out of traffic and given time. If it
 * heals it is put back; if not, it is replaced.
 */
export async function drainInstance(life: Life): Promise<Ending> {
  const options = life.input.rule.with;
  const found = await look(life);
  life.evidence('diagnosis', found.verdict, found.why, found.verdict === 'sick' ? factsOf(found) : undefined);
  if (found.verdict !== 'sick') return leftAlone(life, found);
  life.because(found.why);
  const { uid } = found.instance;
  const over = await life.propose(found.plan, found.why, () => lookedAgain(life, uid));
  if (over) return over;

  const cutRequest = await cutTraffic(life, found);

  const deadline = life.in(options.recoverWithin);
  life.phase('hold', `waiting up to ${formatDuration(options.recoverWithin)} for it to recover`, {
    what: `put it back when it has been healthy for ${formatDuration(options.stableFor)}, else ${options.replace ? 'replace it' : 'put it back and fail'}`,
    until: deadline,
  });
  const held = await life.looking(holding(life, cutRequest, options.recoverWithin, deadline), async () =>
    describe(await look(life, uid)),
  );
  const end = afterHold(life, held);
  if (end) return end;
  if (!options.replace) return life.end('failed', `${held.why}; the rule does not allow to replace it`);
  return replaceIt(life, cutRequest, held.verdict === 'sick' ? held.outSince : undefined);
}

const look = (life: Life, uid?: string): Promise<Assessment> => {
  const { target, rule } = life.input;
  return assess({ target, options: rule.with, actor: life.actor, uid });
};

/** Nothing was done yet, and nothing is to be done. */
const leftAlone = (life: Life, { verdict, why }: Exclude<Assessment, Sick>): Ending =>
  life.end(verdict === 'protected' ? 'refused' : 'not-needed', why);

/** While it waits for a person: how it ends, where it is not sick any more. */
async function lookedAgain(life: Life, uid: string): Promise<Ending | undefined> {
  const found = await look(life, uid);
  life.evidence('diagnosis', found.verdict, found.why);
  life.say(describe(found));
  return found.verdict === 'sick' ? undefined : leftAlone(life, found);
}

async function cutTraffic(life: Life, found: Sick): Promise<CutRequest> {
  const { recoverWithin, evictWithin } = life.input.rule.with;
  const held: Held[] = found.held.map((field) => ({
    ...field,
    object: found.instance,
    ...life.actor,
    until: life.in(recoverWithin + evictWithin + 10 * MINUTE),
  }));
  const request: CutRequest = { step: 'cut', actor: life.actor, instance: found.instance, held };
  life.phase('cut', `traffic: ${found.traffic.way} (${found.traffic.why})`, { what: 'take it out of traffic' });
  if (held.length > 0) {
    const clearance = life.clearance(found.owner.workload);
    await life.change('cut traffic', (audit) => cut({ ...request, audit, ...(clearance && { clearance }) }), {
      held,
      undo: () => restore({ ...request, step: 'restore' }),
    });
  }
  return request;
}

/** @param ms how long it may take to recover */
const holding = (life: Life, request: CutRequest, ms: number, deadline: string): Promise<HoldResult> =>
  waiting('wait for it to recover, then give its traffic back', ms).hold({
    ...request,
    step: 'restore',
    deadline,
    stableFor: life.input.rule.with.stableFor,
  });

/** How it ends with that; nothing where it is still sick. */
function afterHold(life: Life, held: HoldResult): Ending | undefined {
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

/** Healthy, or not to be touched any more: give the traffic back and end. */
async function undone(
  life: Life,
  request: CutRequest,
  now: Pick<Exclude<Assessment, Sick>, 'verdict' | 'why'>,
): Promise<Ending> {
  if (request.held.length > 0) life.record(await restore({ ...request, step: 'restore' }));
  life.released();
  return life.end(now.verdict === 'protected' ? 'refused' : 'recovered', now.why);
}

async function replaceIt(life: Life, request: CutRequest, outSince: string | undefined): Promise<Ending> {
  const { quietFor, evictWithin } = life.input.rule.with;
  const { instance } = request;
  const quietFrom = outSince ? Date.parse(outSince) : Date.now();
  const notBefore = new Date(quietFrom + quietFor).toISOString();
  for (let deadline: string | undefined; ; ) {
    // The wait was long: look again before the next mutation.
    const now = await look(life, instance.uid);
    life.evidence('diagnosis', now.verdict, now.why);
    if (now.verdict === 'gone') {
      life.released();
      return life.end('not-needed', now.why);
    }
    if (now.verdict !== 'sick') return undone(life, request, now);

    deadline ??= life.in(quietFor + evictWithin);
    const { owner } = now;
    const clearance = life.clearance(owner.workload);
    life.phase('replace', 'asking for its eviction', {
      what: 'evict it within its disruption budgets',
      until: deadline,
    });
    const replaced = await waiting('evict it within its disruption budgets', quietFor + evictWithin).replace({
      ...{ step: 'replace', actor: life.actor, instance, owner, notBefore, deadline },
      ...(clearance && { clearance }),
    });
    life.record(replaced.changes);
    life.evidence('replace', replaced.verdict, replaced.why);
    if (replaced.verdict === 'blocked') return life.end('failed', replaced.why);
    if (replaced.verdict !== 'held-back' || !clearance) return verifyIt(life, now, replaced);

    const { objection } = replaced;
    if (objection.gate === 'excluded') return undone(life, request, { verdict: 'protected', why: objection.reason });
    const end = await heldBack(life, request, { objection, clearance, deadline });
    if (end) return end;
    // The time of a pause is not its own.
    if (objection.gate === 'paused') deadline = undefined;
  }
}

async function verifyIt(life: Life, { instance, owner }: Sick, replaced: ReplaceResult): Promise<Ending> {
  life.released();
  if (replaced.verdict === 'gone') return life.end('not-needed', replaced.why);
  const { verifyWithin } = life.input.rule.with;
  const ready = life.in(verifyWithin);
  life.phase('verify', replaced.why, { what: 'see its replacement Ready', until: ready });
  const verified = await waiting('wait for its replacement', verifyWithin).verify({
    actor: life.actor,
    instance,
    owner,
    deadline: ready,
  });
  life.evidence('verify', verified.verified ? 'verified' : 'unverified', verified.why);
  return life.end(verified.verified ? 'remediated' : 'failed', verified.why);
}

/**
 * It is not the time to replace it. It stays held until nothing objects any more, and gets its traffic back as soon as it
 * has recovered meanwhile. A pause has no deadline: a person made it, and a person ends it.
 */
async function heldBack(
  life: Life,
  request: CutRequest,
  { objection, clearance, deadline }: { objection: Objection; clearance: ClearanceRequest; deadline: string },
): Promise<Ending | undefined> {
  const paused = objection.gate === 'paused';
  const until = paused ? life.in(YEAR) : deadline;
  const left = Math.max(0, Date.parse(until) - Date.now());
  life.phase('held back', objection.reason, {
    what: 'go on when nothing objects any more, or put it back when it has recovered',
    ...(!paused && { until }),
  });
  const ended = untilOneEnds(
    () => holding(life, request, left, until),
    () =>
      waiting<ClearanceActivities>('wait until nothing objects to it', left).untilCleared({
        ...clearance,
        ...(!paused && { deadline }),
      }),
  );
  const [held, cleared] = await life.looking(ended, async () => describe(await look(life, request.instance.uid)));
  const end = held && afterHold(life, held);
  if (end || cleared?.cleared) return end;
  const reason = cleared?.reason ?? objection.reason;
  return life.end('failed', `it could not be replaced before ${deadline}: ${reason}`);
}

const factsOf = ({ instance, traffic, owner, plan }: Sick) => ({ instance, traffic, owner, plan });

const describe = (look: Assessment): string => `${look.verdict}: ${look.why}`;
