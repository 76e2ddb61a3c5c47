import type { Client } from '@temporalio/client';
import { failingOf } from './history.ts';
import type { Run } from './runs.ts';

/** `temporal.api.enums.v1.PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED` */
const AT_A_WORKER = 2;

/** Finds what keeps a run that is under way from going on; reads its history only where that has grown. */
export class Trouble {
  readonly #client: Client;
  readonly #run: Run;
  #length = 0;
  #failing: string | undefined;

  constructor(client: Client, run: Run) {
    this.#client = client;
    this.#run = run;
  }

  /**
   * @param answered whether a worker has told the story just now
   * @returns a sentence, or undefined where all is well
   */
  async look(answered: boolean): Promise<string | undefined> {
    const handle = this.#client.workflow.getHandle(this.#run.workflowId, this.#run.runId ?? this.#run.id);
    const { raw, historyLength, status } = await handle.describe();
    if (status.name !== 'RUNNING') return undefined;
    for (const { activityType, lastFailure } of raw.pendingActivities ?? [])
      if (lastFailure) {
        const failed = tried(activityType?.name ?? 'an activity', lastFailure.message ?? 'no message');
        return answered ? failed : `${failed}; ${NO_WORKER}`;
      }
    if (historyLength !== this.#length) {
      const failing = failingOf(await handle.fetchHistory());
      this.#failing = failing && tried(failing.activity, failing.message);
      this.#length = historyLength;
    }
    if (this.#failing !== undefined || answered) return this.#failing;
    return raw.pendingWorkflowTask?.state === AT_A_WORKER ? 'a worker is at it, and has not answered yet' : NO_WORKER;
  }
}

const NO_WORKER = 'no worker answers; waiting for one (is `salvor worker` or `salvor up` running?)';

const tried = (activity: string, message: string): string => `${activity} is tried again: ${message}`;
