import { randomUUID } from 'node:crypto';
import { type Client, WithStartWorkflowOperation } from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import { CONTROL_ID, MESSAGE, WORKFLOW } from '../../model/names.ts';
import {
  type ControlInput,
  isUnder,
  type Pause,
  type PauseOrder,
  type ResumeAnswer,
  type ResumeOrder,
  standing,
} from '../../model/pause.ts';
import { readPauses } from './pauses.ts';
import { untilAnswered } from './updates.ts';

/** Milliseconds in which a worker must answer; an order takes it a few. */
const ANSWER_WITHIN = 10_000;

/** Where `salvor/control` runs. */
export interface ControlPlace {
  client: Client;
  taskQueue: string;
}

/** @throws RefusedUpdateError where the order is none; UnansweredError where no worker answers: then nothing is paused */
export const pause = (place: ControlPlace, order: PauseOrder): Promise<Pause> => give(place, MESSAGE.pause, order);

export interface Resumed extends ResumeAnswer {
  /** What holds the prefix back still, for it was paused as part of something larger. */
  still: Pause[];
}

/** @throws as {@link pause} */
export async function resume(place: ControlPlace, order: ResumeOrder): Promise<Resumed> {
  const { ended } = await give<ResumeAnswer>(place, MESSAGE.resume, order);
  const pauses = standing(await readPauses(place.client), Date.now());
  return { ended, still: pauses.filter(({ prefix }) => isUnder(order.prefix, prefix)) };
}

/** Asks the control, which is started where it does not run. */
function give<T>({ client, taskQueue }: ControlPlace, name: string, order: PauseOrder | ResumeOrder): Promise<T> {
  const updateId = randomUUID();
  const input: ControlInput = {};
  return untilAnswered(
    client,
    () =>
      client.workflow.executeUpdateWithStart<Workflow, T, [PauseOrder | ResumeOrder]>(name, {
        args: [order],
        updateId,
        startWorkflowOperation: new WithStartWorkflowOperation(WORKFLOW.control, {
          workflowId: CONTROL_ID,
          taskQueue,
          args: [input],
          staticSummary: 'what is paused',
          workflowIdConflictPolicy: 'USE_EXISTING',
        }),
      }),
    ANSWER_WITHIN,
  );
}
