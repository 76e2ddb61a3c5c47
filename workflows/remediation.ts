import {
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  defineSignal,
  isCancellation,
  setHandler,
} from '@temporalio/workflow';
import { MESSAGE } from '../model/names.ts';
import { INSTANCE_ERRORS } from '../model/ports/instance.ts';
import type { Ending, RemediationInput, Story } from '../model/remediation.ts';
import { explain, failureType, Life } from './life.ts';
import { RUNBOOKS } from './runbooks/registry.ts';

const resolved = defineSignal(MESSAGE.resolved);
const story = defineQuery<Story>(MESSAGE.story);

/**
 * One per episode. Its Workflow ID is `remediation/<target>`, so the server itself allows one open remediation per
 * target. The life is the same for every runbook: diagnose, plan, act, verify, or undo; then settle.
 */
export async function remediation(input: RemediationInput): Promise<Ending> {
  const life = new Life(input);
  setHandler(resolved, () => life.hint());
  setHandler(story, () => life.story);
  let ending: Ending;
  let cancellation: unknown;
  try {
    ending = await RUNBOOKS[input.rule.runbook](life);
    if (ending.outcome === 'failed') ending = await life.giveUp(ending);
  } catch (error) {
    if (isCancellation(error)) cancellation = error;
    ending = await life.giveUp(endOf(life, error));
  }
  await CancellationScope.nonCancellable(() => life.settle(ending));
  if (cancellation) throw cancellation; // the server records it as cancelled, as it was asked
  if (ending.outcome === 'failed') throw ApplicationFailure.nonRetryable(ending.reason, 'RemediationFailed', ending);
  return ending;
}

function endOf(life: Life, error: unknown): Ending {
  if (isCancellation(error)) return life.end('cancelled', 'cancelled by a person');
  if (failureType(error) === INSTANCE_ERRORS.replaced) return life.end('not-needed', explain(error));
  return life.end('failed', explain(error));
}
