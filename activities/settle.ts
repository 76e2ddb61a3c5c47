import type { Client } from '@temporalio/client';
import { code } from '../model/markdown.ts';
import { MESSAGE, WORKFLOW } from '../model/names.ts';
import type { ResponderInput } from '../model/responder.ts';
import type { SettleActivities } from '../model/settle.ts';

/** The last step of a remediation: its responder learns of the end, also one that has to be started again for it. */
export function settleActivities({ client, taskQueue }: { client: Client; taskQueue: string }): SettleActivities {
  return {
    async settle(responder, report, ending) {
      const input: ResponderInput = { rule: report.rule.name, scope: report.scope };
      await client.workflow.signalWithStart(WORKFLOW.responder, {
        workflowId: responder,
        taskQueue,
        signal: MESSAGE.ended,
        signalArgs: [report],
        staticSummary: `${report.rule.name} in ${code(report.scope)}`,
        args: [input],
      });
      return ending;
    },
  };
}
