import { isCancellation } from '@temporalio/workflow';
import { RULE_STOPS } from '../../model/clearance.ts';
import { type Course, untold } from '../../model/drift/course.ts';
import { countsOf, type Difference } from '../../model/drift/difference.ts';
import {
  DECLINED,
  keyOf,
  rememberFor,
  type Sighting,
  sightingOf,
  UNFIT,
  type Unfit,
} from '../../model/drift/memory.ts';
import type { Stack } from '../../model/drift/options.ts';
import { described, named } from '../../model/drift/words.ts';
import { formatDuration } from '../../model/duration.ts';
import { shortId } from '../../model/names.ts';
import type { Plan } from '../../model/plan.ts';
import type { RevertResult } from '../../model/ports/desired-state.ts';
import type { Ending } from '../../model/remediation.ts';
import { explain } from '../failures.ts';
import { ask, type Compared, type DriftLife, declined, optionsOf, planOf } from './drift-steps.ts';

const DAY = 86_400_000;

/** It must not be compared, and a person has to mend that: people are told once for as long as it is so. */
export function unfit(life: DriftLife, why: string, done: readonly Difference[]): Ending {
  const { per } = life.input.rule.gates.retries;
  const known = life.memory[UNFIT]?.value as Unfit | undefined;
  if (known?.why !== why) life.needsAPerson();
  if (known && known.why !== why) life.alerts.takeOver([known.alert]);
  const value: Unfit = known?.why === why ? known : { why, alert: life.runId };
  life.remember({ [UNFIT]: { until: Date.now() + rememberFor(per), value } });
  if (done.length === 0) return life.end('refused', why);
  return life.end('failed', `${named(done)}: reverted, and could not be compared after that: ${why}`);
}

/** A person has denied the plan, or nobody has answered: the next look does not ask for just that again. */
export function turnedDown(life: DriftLife, { digest }: Plan, { outcome, reason }: Ending): void {
  if (outcome === 'refused') life.remember({ [DECLINED]: { until: Date.now() + DAY, value: { digest, why: reason } } });
}

export function heldBack(life: DriftLife, { objection, why }: Extract<RevertResult, { verdict: 'held-back' }>): Ending {
  if (RULE_STOPS.has(objection.gate)) return life.end('refused', `stopped before it acted: ${why}`);
  return life.again(objection.gate, `it was not the time to act: ${why}`);
}

/** Nothing is left that this run does: what was done, and what of the rest a person, or the next look, has to do with. */
export async function settled(
  life: DriftLife,
  stack: Stack,
  { seen, now, done }: { seen: Compared; now: Course; done: readonly Difference[] },
): Promise<Ending> {
  const counts = countsOf(seen.differences);
  const open = [
    ...asked(await proposal(life, now.destructive, seen), now.destructive),
    ...fought(life, stack, now.contested),
    ...(now.young.length > 0 ? [`left alone, for it is still being changed: ${named(now.young)}`] : []),
  ];
  const rest = described(counts);
  if (done.length > 0) {
    const reverted = `${done.length} of stack ${stack.name} reverted: ${named(done)}`;
    return life.end('remediated', [reverted, ...open, ...(rest === 'nothing differs' ? [] : [rest])].join('; '));
  }
  // What is reported only is a difference all the same.
  const differs = open.length > 0 || counts.mixed + counts.extra > 0;
  return life.end(differs ? 'refused' : 'not-needed', [...open, rest].join('; '));
}

const asked = (how: string | undefined, destructive: readonly Difference[]): string[] =>
  how === undefined ? [] : [`is reverted with an approval only: ${named(destructive)} (${how})`];

/** Of a rule that acts: what it does not do by itself is proposed. @returns what has become of that, for people */
async function proposal(
  life: DriftLife,
  destructive: readonly Difference[],
  seen: Compared,
): Promise<string | undefined> {
  if (destructive.length === 0 || life.input.rule.mode !== 'act' || life.needsApproval) return undefined;
  const known = declined(life, await planOf(life, destructive, seen));
  if (known) return `${known.why}; it is not asked for again for a day`;
  try {
    const started = await ask(life);
    const [id, what] = 'started' in started ? [started.started, 'asks for it'] : [started.busy, 'waits already'];
    return `its proposal ${shortId(id)} ${what}`;
  } catch (error) {
    if (isCancellation(error)) throw error;
    return `it could not be asked for now: ${explain(error)}`;
  }
}

/** Somebody keeps changing it: people are told once, and it is not fought about. */
function fought(life: DriftLife, stack: Stack, contested: readonly Difference[]): string[] {
  if (contested.length === 0) return [];
  const options = optionsOf(life, stack);
  const { now, retries } = options;
  const news = untold(contested, options);
  if (news.length > 0) life.needsAPerson();
  const until = now + rememberFor(retries.per);
  life.remember(
    Object.fromEntries(
      news.map(({ address }) => {
        const known = sightingOf(life.memory, address) ?? { reverts: [] };
        return [keyOf(address), { until, value: { ...known, told: now, alert: life.runId } satisfies Sighting }];
      }),
    ),
  );
  return [
    `somebody keeps changing it, ${retries.max} reverts within ${formatDuration(retries.per)} did not last, and it is left to a person: ${named(contested)}`,
  ];
}
