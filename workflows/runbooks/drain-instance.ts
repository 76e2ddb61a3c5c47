import { ActivityCancellationType, proxyActivities, proxyLocalActivities, workflowInfo } from '@temporalio/workflow';
import type { Held } from '../../model/change.ts';
import { formatDuration } from '../../model/duration.ts';
import { watchQueue } from '../../model/names.ts';
import type { Assessment, CutRequest, InstancePort } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import type { Life } from '../life.ts';

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

/**
 * Waits run on a queue of their own, and are noticed dead within ten seconds.
 *
 * @param summary what is waited for, as Temporal's UI shows it
 * @param ms how long the wait itself may take
 */
function waiting(summary: string, ms: number): InstancePort {
  return proxyActivities<InstancePort>({
    summary,
    taskQueue: watchQueue(workflowInfo().taskQueue),
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
  const { target, rule } = life.input;
  const options = rule.with;
  const look = (uid?: string) => assess({ target, options, actor: life.actor, uid });

  const found = await look();
  life.evidence('diagnosis', found.verdict, found.why, found.verdict === 'sick' ? factsOf(found) : undefined);
  if (found.verdict !== 'sick') return life.end(found.verdict === 'protected' ? 'refused' : 'not-needed', found.why);
  life.because(found.why);
  if (rule.mode === 'observe') return life.end('observed', found.why, found.plan);
  const { uid } = found.instance;

  const cutRequest = await cutTraffic(life, found);

  const deadline = life.in(options.recoverWithin);
  life.phase('hold', `waiting up to ${formatDuration(options.recoverWithin)} for it to recover`, {
    what: `put it back when it has been healthy for ${formatDuration(options.stableFor)}, else ${options.replace ? 'replace it' : 'put it back and fail'}`,
    until: deadline,
  });
  const held = await life.looking(
    waiting('wait for it to recover, then give its traffic back', options.recoverWithin).hold({
      ...cutRequest,
      step: 'restore',
      deadline,
      stableFor: options.stableFor,
    }),
    async () => describe(await look(uid)),
  );
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
  if (!options.replace) return life.end('failed', `${held.why}; the rule does not allow to replace it`);

  // The wait was long: look again before the next mutation.
  const again = await look(uid);
  life.evidence('diagnosis', again.verdict, again.why);
  if (again.verdict === 'gone') {
    life.released();
    return life.end('not-needed', again.why);
  }
  if (again.verdict !== 'sick') return undone(life, cutRequest, again);

  return replaceIt(life, again, held.outSince);
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
  if (held.length > 0)
    await life.change('cut traffic', (audit) => cut({ ...request, audit }), {
      held,
      undo: () => restore({ ...request, step: 'restore' }),
    });
  return request;
}

/** Healthy, or not to be touched any more: give the traffic back and end. */
async function undone(life: Life, request: CutRequest, look: Exclude<Assessment, Sick>): Promise<Ending> {
  if (request.held.length > 0) life.record(await restore({ ...request, step: 'restore' }));
  life.released();
  return life.end(look.verdict === 'protected' ? 'refused' : 'recovered', look.why);
}

async function replaceIt(life: Life, found: Sick, outSince: string | undefined): Promise<Ending> {
  const { quietFor, evictWithin, verifyWithin } = life.input.rule.with;
  const { actor } = life;
  const { instance, owner } = found;
  const quietFrom = outSince ? Date.parse(outSince) : Date.now();
  const notBefore = new Date(quietFrom + quietFor).toISOString();
  const deadline = life.in(quietFor + evictWithin);
  life.phase('replace', 'asking for its eviction', { what: 'evict it within its disruption budgets', until: deadline });
  const replaced = await waiting('evict it within its disruption budgets', quietFor + evictWithin).replace({
    step: 'replace',
    actor,
    instance,
    owner,
    notBefore,
    deadline,
  });
  life.record(replaced.changes);
  life.evidence('replace', replaced.verdict, replaced.why);
  if (replaced.verdict === 'blocked') return life.end('failed', replaced.why);
  life.released();
  if (replaced.verdict === 'gone') return life.end('not-needed', replaced.why);

  const ready = life.in(verifyWithin);
  life.phase('verify', replaced.why, { what: 'see its replacement Ready', until: ready });
  const verified = await waiting('wait for its replacement', verifyWithin).verify({
    actor,
    instance,
    owner,
    deadline: ready,
  });
  life.evidence('verify', verified.verified ? 'verified' : 'unverified', verified.why);
  return life.end(verified.verified ? 'remediated' : 'failed', verified.why);
}

const factsOf = ({ instance, traffic, owner, plan }: Sick) => ({ instance, traffic, owner, plan });

const describe = (look: Assessment): string => `${look.verdict}: ${look.why}`;
