import type { Client } from '@temporalio/client';

/** What a run costs: events of its history, its size, and the actions that Temporal Cloud would bill for it. */
export interface Cost {
  events: number;
  bytes: number;
  actions: number;
}

/**
 * Counts as Temporal Cloud does (https://docs.temporal.io/cloud/actions): a start, a signal (a signal with start is one
 * in all), each attempt of an activity, a timer, a call that upserts search attributes, an update, and the local
 * activities of one workflow task together, are one action each. Heartbeats are not in the history: see cost.ts.
 */
export async function costOf(client: Client, workflowId: string): Promise<Cost> {
  const handle = client.workflow.getHandle(workflowId);
  const [{ events }, { raw }] = await Promise.all([handle.fetchHistory(), handle.describe()]);
  let actions = 0;
  const tasksWithMarkers = new Set<string>();
  for (const event of events ?? []) {
    if (event.workflowExecutionStartedEventAttributes) actions += 1;
    if (event.workflowExecutionSignaledEventAttributes) actions += 1;
    if (event.timerStartedEventAttributes) actions += 1;
    if (event.upsertWorkflowSearchAttributesEventAttributes) actions += 1;
    if (event.workflowExecutionUpdateAcceptedEventAttributes) actions += 1;
    actions += event.activityTaskStartedEventAttributes?.attempt ?? 0;
    const marker = event.markerRecordedEventAttributes;
    if (marker) tasksWithMarkers.add(String(marker.workflowTaskCompletedEventId));
  }
  // The first signal of a responder started it: the two are one action.
  const [first, second] = events ?? [];
  if (first?.workflowExecutionStartedEventAttributes && second?.workflowExecutionSignaledEventAttributes) actions -= 1;
  return {
    events: events?.length ?? 0,
    bytes: Number(raw.workflowExecutionInfo?.historySizeBytes ?? 0),
    actions: actions + tasksWithMarkers.size,
  };
}

export const minus = (after: Cost, before: Cost): Cost => ({
  events: after.events - before.events,
  bytes: after.bytes - before.bytes,
  actions: after.actions - before.actions,
});
