import {
  ActivityCancellationType,
  condition,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
  upsertMemo,
} from '@temporalio/workflow';
import type { ProposeActivities, Started } from '../../model/dispatch.ts';
import { fitting } from '../../model/drift/bounded.ts';
import { type Course, type CourseOptions, courseOf } from '../../model/drift/course.ts';
import { countsOf, type Difference, isDrift } from '../../model/drift/difference.ts';
import { alertsOver, DECLINED, type Declined, reverted, sightingOf, sightings } from '../../model/drift/memory.ts';
import type { Stack } from '../../model/drift/options.ts';
import { DRIFT_MEMO, type DriftStanding } from '../../model/drift/standing.ts';
import { described, named } from '../../model/drift/words.ts';
import { formatDuration } from '../../model/duration.ts';
import { alertKey } from '../../model/gates.ts';
import type { Plan } from '../../model/plan.ts';
import type { Comparison, DesiredStatePort, RevertResult } from '../../model/ports/desired-state.ts';
import type { RemediationInput } from '../../model/remediation.ts';
import { parseTarget } from '../../model/target.ts';
import { explain } from '../failures.ts';
import type { Life } from '../life.ts';
import { ownWatchQueue } from '../waits.ts';

export type DriftLife = Life<'revert-drift'>;
export type Compared = Exclude<Comparison, { verdict: 'refused' }>;

const WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
const RETRY = { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' } as const;
const MINUTE = 60_000;

/** Reverted by one activity at most: what is left comes with the next look. */
const MOST_AT_ONCE = 50;
/** Characters of JSON that the differences of one look take on record. */
const MOST_EVIDENCE = 16 * 1024;
/** Of each of them. */
const MOST_FIELDS = 5;

const { planRevert } = proxyLocalActivities<DesiredStatePort>({
  summary: 'make the plan',
  startToCloseTimeout: '10 seconds',
  scheduleToCloseTimeout: '5 minutes',
  retry: RETRY,
});

/** Who cannot be asked in this time does not tell: then drift is only reported. */
const { alertsWhile } = proxyLocalActivities<DesiredStatePort>({
  summary: 'ask whether an alert fires that holds it',
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '2 seconds',
  scheduleToCloseTimeout: '1 minute',
  retry: RETRY,
});

const { startProposal } = proxyLocalActivities<ProposeActivities>({
  summary: 'ask for an approval of what it does not do by itself',
  startToCloseTimeout: '20 seconds',
  localRetryThreshold: '2 seconds',
  scheduleToCloseTimeout: '1 minute',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '10 seconds' },
});

/** On the queue of the waits: a plan may take minutes, and a worker that dies is noticed within ten seconds. */
const working = (summary: string, stack: Stack): DesiredStatePort =>
  proxyActivities<DesiredStatePort>({
    summary,
    taskQueue: ownWatchQueue(),
    scheduleToCloseTimeout: stack.lockWithin + 30 * MINUTE,
    heartbeatTimeout: '10 seconds',
    cancellationType: WAIT,
    retry: RETRY,
  });

export function stackOf({ input: { target, rule } }: DriftLife): Stack | undefined {
  const parsed = parseTarget(target);
  return parsed.type === 'stack' ? rule.with.stacks[parsed.name] : undefined;
}

/** @param revision compared with; absent: with what the source is now */
export async function look(life: DriftLife, stack: Stack, revision?: string): Promise<Comparison> {
  const about = { stack, actor: life.actor, ...kindsOf(life), ...(revision !== undefined && { revision }) };
  const seen = await working('compare it with its source', stack).compareState(about);
  if (seen.verdict !== 'refused') {
    const { memory } = life;
    life.remember(sightings(memory, seen.differences, timeOf(life)));
    life.alerts.takeOver(alertsOver(memory, life.memory));
  }
  stands(life, seen);
  life.evidence('drift', seen.verdict, seen.why, seen.verdict === 'refused' ? undefined : factsOf(seen));
  life.say(seen.verdict === 'refused' ? seen.why : told(seen));
  return seen;
}

/** Kinds that the rule names; one that was started by an older version names none to create. */
const kindsOf = ({ input: { rule } }: DriftLife) => {
  const { prune, create = [] } = rule.with;
  return { prune, create };
};

/** For people: what there is, and what of it is drift. */
export function told({ why, differences }: Compared): string {
  const drift = differences.filter(isDrift);
  return drift.length === 0 ? `${why} (${described(countsOf(differences))})` : `${why}: ${named(drift)}`;
}

function factsOf({ revision, differences, more }: Compared): Record<string, unknown> {
  const telling = differences.filter((one) => isDrift(one) || one.class === 'unapplied');
  return {
    ...(revision !== undefined && { revision }),
    counts: countsOf(differences),
    differences: fitting(telling, MOST_EVIDENCE, MOST_FIELDS),
    ...(more !== undefined && { more }),
  };
}

/** Read by gauges, which ask no worker. */
function stands(life: DriftLife, seen: Comparison): void {
  const isRefused = seen.verdict === 'refused';
  const differences = isRefused ? [] : seen.differences;
  const since = differences.filter(isDrift).flatMap(({ address }) => sightingOf(life.memory, address)?.since ?? []);
  const standing: DriftStanding = {
    ...{ at: new Date().toISOString(), verdict: seen.verdict, counts: countsOf(differences) },
    ...(!isRefused && seen.revision !== undefined && { revision: seen.revision }),
    ...(since.length > 0 && { oldest: new Date(Math.min(...since)).toISOString() }),
  };
  upsertMemo({ [DRIFT_MEMO]: standing });
}

const timeOf = ({ input }: DriftLife) => ({ now: Date.now(), per: input.rule.gates.retries.per });

export function optionsOf(life: DriftLife, stack: Stack): CourseOptions {
  const { with: options, gates } = life.input.rule;
  const about = { memory: life.memory, now: Date.now(), urgent: options.urgent, retries: gates.retries };
  return { ...about, minAge: stack.minAge };
}

export const course = (life: DriftLife, stack: Stack, { differences }: Compared): Course =>
  courseOf(differences, optionsOf(life, stack));

/** Of what is to be done, what this run does, or proposes: what it does not is left to others, or to a person. */
export function chosen(life: DriftLife, { reversible, destructive, young }: Course): Difference[] {
  const { rule, proposes, approval } = life.input;
  const some = () => {
    // It waits for nothing: what it would do, it would do when that is old enough.
    if (rule.mode === 'observe') return [...destructive, ...reversible, ...young];
    if (proposes || approval?.needed) return destructive;
    return rule.mode === 'propose' ? [...destructive, ...reversible] : reversible;
  };
  return atOnce(some());
}

const atOnce = (differences: readonly Difference[]): Difference[] => differences.slice(0, MOST_AT_ONCE);

export const planOf = (life: DriftLife, reviewed: readonly Difference[], { revision }: Compared): Promise<Plan> =>
  planRevert({
    ...{ target: life.input.target, reviewed: atOnce(reviewed) },
    ...(revision !== undefined && { revision }),
  });

/** One timer, however long; a resolved alert is a reason to look at once. */
export async function oldEnough(life: DriftLife, stack: Stack, { young, oldAt }: Course): Promise<void> {
  const seen = life.hints;
  const until = new Date(oldAt).toISOString();
  const age = formatDuration(stack.minAge);
  life.phase('wait', `${named(young)}: younger than ${age}, and left alone until then`, { what: 'look again', until });
  await condition(() => life.hints > seen, Math.max(1, oldAt - Date.now()), { summary: `wait until it is ${age} old` });
}

/** Why it is not the time to act; nothing where it is. */
export async function heldBy(life: DriftLife, stack: Stack): Promise<string | undefined> {
  try {
    const alerts = await alertsWhile({ stack, except: life.input.alert.fingerprint });
    return alerts.length > 0 ? `drift is only reported while ${alerts.join(', ')} fires` : undefined;
  } catch (error) {
    if (isCancellation(error)) throw error;
    return `drift is only reported where nobody can tell whether an alert fires that holds it: ${explain(error)}`;
  }
}

/** Exactly these, at the commit that was looked at. */
export function revert(
  life: DriftLife,
  stack: Stack,
  { reviewed, revision }: { reviewed: Difference[]; revision: string | undefined },
): Promise<RevertResult> {
  const { target } = life.input;
  const clearance = life.clearance(target, 'nothing');
  const words = `revert ${reviewed.length} of stack ${stack.name}`;
  life.phase('revert', `${words}: ${named(reviewed)}`, { what: 'compare again' });
  return working(words, stack).revertDrift({
    ...{ step: 'revert', stack, actor: life.actor, ...kindsOf(life), reviewed, audit: life.page() },
    ...(revision !== undefined && { revision }),
    ...(clearance && { clearance }),
  });
}

/** How often somebody changes it again is counted from here. */
export const keepInMind = (life: DriftLife, done: Difference[]): void =>
  life.remember(reverted(life.memory, done, timeOf(life)));

/** Of what was reverted, what is not as the source says after all. */
export function stillThere(seen: Comparison, reviewed: readonly Difference[]): Difference[] {
  if (seen.verdict === 'refused') return [];
  const addresses = new Set(reviewed.map(({ address }) => address));
  return seen.differences.filter((one) => isDrift(one) && one.class !== 'extra' && addresses.has(one.address));
}

/** Not asked again where a person has denied just that, or nobody has answered. */
export const declined = (life: DriftLife, { digest }: Plan): Declined | undefined => {
  const known = life.memory[DECLINED]?.value as Declined | undefined;
  return known?.digest === digest ? known : undefined;
};

/** A plan that a rule which acts does not act on by itself is proposed beside it, and holds neither target nor slot. */
export function ask(life: DriftLife): Promise<Started> {
  const { approval: _, since: __, carried: ___, ...input } = life.input as RemediationInput;
  const { approval: ____, ...asked } = input.alert;
  // It is a request of its own: what becomes of the one that found it says nothing of it.
  const alert = { ...asked, startsAt: new Date().toISOString() };
  const episode = `${alertKey(alert)}/${life.runId}`;
  return startProposal({ ...input, alert, episode, memory: life.memory, proposes: true });
}
