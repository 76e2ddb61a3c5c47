import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { AuditWriter } from '../model/audit.ts';
import { code } from '../model/markdown.ts';
import { MESSAGE, WORKFLOW } from '../model/names.ts';
import type { ResponderInput } from '../model/responder.ts';
import type { SettleActivities, SettleRequest } from '../model/settle.ts';
import { asFailure } from './errors.ts';

export interface SettleOptions {
  client: Client;
  taskQueue: string;
  store: AuditWriter;
}

/** What an attempt tells the next one. */
interface Progress {
  told: true;
}

/** The last step of a remediation: its responder learns of the end, also one that has to be started again for it. */
export function settleActivities({ client, taskQueue, store }: SettleOptions): SettleActivities {
  async function tell({ responder, report }: NonNullable<SettleRequest['tell']>): Promise<void> {
    const input: ResponderInput = { rule: report.rule.name, scope: report.scope };
    await client.workflow.signalWithStart(WORKFLOW.responder, {
      workflowId: responder,
      taskQueue,
      signal: MESSAGE.ended,
      signalArgs: [report],
      staticSummary: `${report.rule.name} in ${code(report.scope)}`,
      args: [input],
    });
  }
  return {
    async settle({ ending, page, tell: toTell }) {
      const { heartbeatDetails, taskToken } = Context.current().info;
      if (toTell && !(heartbeatDetails as Progress | undefined)?.told) await tell(toTell);
      try {
        await store.append(page);
      } catch (error) {
        // Sent at once, unlike the activity's own: while the store is down the responder is not told with every try. Where
        // this is lost, it is: the same report twice changes nothing more.
        const told: Progress = { told: true };
        await client.activity.heartbeat(taskToken, told).catch(() => undefined);
        throw asFailure(error);
      }
      return ending;
    },
  };
}
