import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { AuditWriter } from '../model/audit.ts';
import type { HeraldOrder } from '../model/herald.ts';
import { MESSAGE } from '../model/names.ts';
import type { SettleActivities, SettleRequest, ToTell } from '../model/settle.ts';
import { signalResponder } from '../providers/temporal/responder.ts';
import { announcing } from './audit.ts';
import { asFailure } from './errors.ts';

export interface SettleOptions {
  client: Client;
  taskQueue: string;
  store: AuditWriter;
  /** Gives a place in the unavailable budget of a workload back; nothing to do where the run has none. */
  free: (workload: string, runId: string) => Promise<void>;
  /** Raises and clears alerts of Salvor's own. */
  herald: (order: HeraldOrder) => Promise<void>;
}

/** What an attempt tells the next one. */
interface Progress {
  told: true;
}

/**
 * The last step of a remediation: its responder learns of the end, also one that has to be started again for it; its
 * place in the budget is free; people are told. Each of these may be said twice.
 */
export function settleActivities({ client, taskQueue, store, free, herald }: SettleOptions): SettleActivities {
  async function tell({ responder, report }: NonNullable<SettleRequest['tell']>): Promise<void> {
    const { rule, scope } = report;
    await signalResponder(
      { client, taskQueue },
      { rule, scope, workflowId: responder },
      { signal: MESSAGE.ended, argument: report },
    );
  }
  const announce = announcing(store);
  async function tellAll({
    tell: toTell,
    budget,
    herald: order,
  }: ToTell & Pick<SettleRequest, 'herald'>): Promise<void> {
    // The place first: whoever waits in the responder for room in the workload finds it.
    if (budget) await free(budget.workload, budget.runId);
    await Promise.all([toTell && tell(toTell), order && herald(order)]);
  }
  return {
    async handOver(request) {
      await tellAll(request);
      await announce(request.page);
    },
    async settle(request) {
      const { heartbeatDetails, taskToken } = Context.current().info;
      if (!(heartbeatDetails as Progress | undefined)?.told) await tellAll(request);
      try {
        await store.append(request.page);
      } catch (error) {
        // Sent at once, unlike the activity's own: while the store is down nobody is told with every try. Where this is
        // lost, they are: the same report twice changes nothing more.
        const told: Progress = { told: true };
        await client.activity.heartbeat(taskToken, told).catch(() => undefined);
        throw asFailure(error);
      }
      return request.ending;
    },
  };
}
