import { proxyLocalActivities, workflowInfo } from '@temporalio/workflow';
import type { SubmitActivities } from '../model/approval.ts';
import { responderId } from '../model/names.ts';
import { batchOf, type TickInput } from '../model/tick.ts';

const { submit } = proxyLocalActivities<SubmitActivities>({
  summary: 'hand it to the responder',
  startToCloseTimeout: '20 seconds',
  localRetryThreshold: '5 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '10 seconds' },
});

/**
 * One time of the schedule of a rule: a schedule can only start a workflow, so this one tells the responder, which is started where
 * it does not run. From there on it is as if an alert had come.
 */
export async function tick(input: TickInput): Promise<void> {
  const { runId } = workflowInfo();
  const batch = batchOf(input, nominalTime(), `tick-${runId}`);
  await submit({ responder: responderId(batch.rule.name, batch.scope), batch });
}

/** For which it was scheduled, whenever it was started: so that what is handed over twice is one and the same. */
function nominalTime(): Date {
  const { searchAttributes, startTime } = workflowInfo();
  const [scheduled] = searchAttributes['TemporalScheduledStartTime'] ?? [];
  return scheduled instanceof Date ? scheduled : startTime;
}
