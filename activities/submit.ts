import type { Client } from '@temporalio/client';
import type { SubmitActivities } from '../model/approval.ts';
import { code } from '../model/markdown.ts';
import { MESSAGE, WORKFLOW } from '../model/names.ts';
import type { ResponderInput } from '../model/responder.ts';

export interface SubmitOptions {
  client: Client;
  taskQueue: string;
}

/** What a person has approved goes the way of every request: through its responder and all gates. */
export function submitActivities({ client, taskQueue }: SubmitOptions): SubmitActivities {
  return {
    async submit({ responder, batch }) {
      const { rule, scope } = batch;
      const input: ResponderInput = { rule: rule.name, scope };
      await client.workflow.signalWithStart(WORKFLOW.responder, {
        workflowId: responder,
        taskQueue,
        signal: MESSAGE.alerts,
        signalArgs: [batch],
        staticSummary: `${rule.name} in ${code(scope)}`,
        args: [input],
      });
    },
  };
}
