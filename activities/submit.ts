import type { Client } from '@temporalio/client';
import type { SubmitActivities } from '../model/approval.ts';
import { MESSAGE } from '../model/names.ts';
import { signalResponder } from '../providers/temporal/responder.ts';

export interface SubmitOptions {
  client: Client;
  taskQueue: string;
}

/** What a person has approved goes the way of every request: through its responder and all gates. */
export function submitActivities({ client, taskQueue }: SubmitOptions): SubmitActivities {
  return {
    async submit({ responder, batch }) {
      const { rule, scope } = batch;
      await signalResponder(
        { client, taskQueue },
        { rule, scope, workflowId: responder },
        { signal: MESSAGE.alerts, argument: batch },
      );
    },
  };
}
