import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  ContinueAsNew,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  isCancellation,
  setHandler,
  setWorkflowOptions,
  workflowInfo,
} from '@temporalio/workflow';
import type { Verdict } from '../model/approval.ts';
import type { BreakerOrder } from '../model/breaker/options.ts';
import { BREAKER_ENDS, BREAKER_REFUSED, type BreakerStanding } from '../model/breaker/standing.ts';
import { MESSAGE } from '../model/names.ts';
import { INSTANCE_ERRORS } from '../model/ports/instance.ts';
import type { CancelRequest, Ending, RemediationInput, Story } from '../model/remediation.ts';
import type { Runbook } from '../model/rule.ts';
import { explain, failureType, objectionOf } from './failures.ts';
import { Life } from './life.ts';
import { runbookOf } from './runbooks/registry.ts';

const resolved = defineSignal(MESSAGE.resolved);
const cancel = defineSignal<[CancelRequest]>(MESSAGE.cancel);
const decide = defineUpdate<void, [Verdict]>(MESSAGE.decide);
const breaker = defineUpdate<BreakerStanding, [BreakerOrder]>(MESSAGE.breaker);
const story = defineQuery<Story>(MESSAGE.story);

/**
 * One per episode. Its Workflow ID is `remediation/<target>`, so the server itself allows one open remediation per
 * target. The life is the same for every runbook: diagnose, plan, act, verify, or undo; then settle. A
 * proposal (`proposal/<rule>/<target>`) is the same life, which ends, or waits for a person, at its plan.
 */
export async function remediation(input: RemediationInput): Promise<Ending> {
  const life = new Life(input);
  setHandler(resolved, () => life.hint());
  setHandler(cancel, (request) => life.cancelledBy(request));
  setHandler(decide, (verdict) => life.proposal.decide(verdict), {
    validator: (verdict) => life.proposal.validate(verdict),
  });
  setHandler(story, () => life.story);
  setHandler(breaker, (order) => orderOf(life)(order), {
    validator: (_order) => {
      orderOf(life);
    },
  });
  let ending: Ending;
  let cancellation: unknown;
  try {
    ending = await runbookOf(life);
    if (ending.outcome === 'failed') {
      // What ends so while it is being cancelled (somebody else gave it back meanwhile) was cancelled first.
      if (CancellationScope.current().consideredCancelled) {
        cancellation = new CancelledFailure(life.whoCancelled);
        ending = { ...ending, outcome: 'cancelled', reason: `${life.whoCancelled}; ${ending.reason}` };
      }
      ending = await life.giveUp(ending);
    }
  } catch (error) {
    if (error instanceof ContinueAsNew) throw error;
    // A wait whose worker dies while it is being cancelled ends by its timeout: cancelled it is all the same.
    if (isCancellation(error)) cancellation = error;
    else if (CancellationScope.current().consideredCancelled) cancellation = new CancelledFailure(explain(error));
    ending = await life.giveUp(endOf(life, cancellation ?? error));
  }
  await CancellationScope.nonCancellable(async () => {
    await life.settle(ending);
    await condition(allHandlersFinished);
  });
  if (cancellation) throw cancellation; // the server records it as cancelled, as it was asked
  if (ending.outcome === 'failed') throw ApplicationFailure.nonRetryable(ending.reason, 'RemediationFailed', ending);
  return ending;
}

/** Runbooks that may take days: theirs goes on under the build that is current, whatever it began with. */
const UPGRADES: ReadonlySet<unknown> = new Set<Runbook>(['scale-on-backlog', 'circuit-breaker']);

/**
 * Under Worker Versioning it ends on the build that it began with. A worker without a version may not say so: the
 * server refuses it.
 */
setWorkflowOptions(() => {
  const { currentDeploymentVersion, memo } = workflowInfo();
  if (!currentDeploymentVersion?.deploymentName) return {};
  return { versioningBehavior: UPGRADES.has(memo?.['runbook']) ? 'AUTO_UPGRADE' : 'PINNED' };
}, remediation);

/** @throws ApplicationFailure for the person who ordered */
function orderOf(life: Life): NonNullable<Life['onOrder']> {
  const { onOrder, over, givesUp, input } = life;
  if (over || givesUp) throw ApplicationFailure.nonRetryable('it is about to end: order it again', BREAKER_ENDS);
  if (onOrder) return onOrder;
  throw ApplicationFailure.nonRetryable(`${input.target} has no breaker that can be set now`, BREAKER_REFUSED);
}

function endOf(life: Life, error: unknown): Ending {
  if (isCancellation(error)) return life.end('cancelled', life.whoCancelled);
  const objection = objectionOf(error)?.objection;
  if (objection?.gate === 'observing') return life.end('refused', `stopped before it acted: ${objection.reason}`);
  if (objection) return life.again(objection.gate, `it was not the time to act: ${objection.reason}`);
  if (failureType(error) === INSTANCE_ERRORS.replaced) return life.end('not-needed', explain(error));
  return life.end('failed', explain(error));
}
