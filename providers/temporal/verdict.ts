import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { VERDICT_ERRORS, type Verdict } from '../../model/approval.ts';
import { MESSAGE } from '../../model/names.ts';
import { isProposed, type Run } from './runs.ts';
import { answered, RefusedUpdateError } from './updates.ts';

/** Milliseconds in which a worker must answer; a verdict takes it a few. */
const ANSWER_WITHIN = 10_000;

/**
 * Tells a proposal what a person has decided about its plan.
 *
 * @throws RefusedUpdateError with a type of {@link VERDICT_ERRORS}; UnansweredError
 */
export async function decide(client: Client, run: Run, verdict: Verdict): Promise<void> {
  const { workflowId, id, outcome, mode } = run;
  if (outcome !== 'running') throw nothingWaits(run, `it has ended: ${outcome}`);
  if (!isProposed(run)) throw nothingWaits(run, mode === 'propose' ? 'it was approved' : `its mode is ${mode}`);
  const ask = (): Promise<unknown> =>
    client.workflow.getHandle(workflowId, id).executeUpdate<unknown, [Verdict]>(MESSAGE.decide, { args: [verdict] });
  try {
    await answered(client, ask, Date.now() + ANSWER_WITHIN);
  } catch (error) {
    // It has ended meanwhile.
    if (error instanceof WorkflowNotFoundError) throw nothingWaits(run, 'it has just ended', error);
    throw error;
  }
}

function nothingWaits({ target }: Run, why: string, cause?: unknown): RefusedUpdateError {
  const message = `nothing waits for an approval in this run of ${target}: ${why}`;
  return new RefusedUpdateError(message, { type: VERDICT_ERRORS.nothingWaits, cause });
}
