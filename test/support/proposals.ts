import { randomUUID } from 'node:crypto';
import { Client } from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { controlActivities } from '../../activities/control.ts';
import type { AuditEntry, AuditPage } from '../../model/audit.ts';
import { proposalId, WORKFLOW, watchQueue } from '../../model/names.ts';
import type { RemediationInput } from '../../model/remediation.ts';
import type { Batch } from '../../model/request.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import type { SettleRequest } from '../../model/settle.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';
import { instance, pod, request, rule } from './workflows.ts';

/** A worker with the product's workflows, for what people order: the control, and proposals of an instance that is sick. */
export interface Ordered {
  client: Client;
  taskQueue: string;
  /** What was approved, as it was handed to a responder. */
  submitted: Batch[];
  /** All that was noted. */
  recorded(): AuditEntry[];
  /** A proposal of a target of this name; it waits at once, or nearly. */
  propose(
    name: string,
    more?: Partial<ResolvedRule<'drain-instance'>>,
  ): Promise<{ id: string; target: string; workflowId: string }>;
  stop(): Promise<void>;
}

export interface OrderedOptions {
  address: string;
  taskQueue?: string;
  searchAttributes?: boolean;
}

/** The digest of the plan of every proposal here. */
export const DIGEST = 'd-plan';

export async function startOrdered(options: OrderedOptions): Promise<Ordered> {
  const { address, taskQueue = `test-${randomUUID()}`, searchAttributes = false } = options;
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const connection = await NativeConnection.connect({ address });
  const client = new Client({ connection });
  const submitted: Batch[] = [];
  const pages: AuditPage[] = [];
  const activities = {
    ...instance(),
    ...controlActivities({ client }),
    record: async (page: AuditPage) => void pages.push(page),
    settle: async ({ ending, page }: SettleRequest) => {
      pages.push(page);
      return ending;
    },
    submit: async ({ batch }: { batch: Batch }) => void submitted.push(batch),
    herald: async () => undefined,
  };
  const workers = [
    await Worker.create({ connection, taskQueue, activities, workflowBundle: await bundleWorkflows() }),
    await Worker.create({ connection, taskQueue: watchQueue(taskQueue), activities }),
  ];
  const running = workers.map((worker) => worker.run());
  return {
    client,
    taskQueue,
    submitted,
    recorded: () => pages.flatMap(({ notes }) => notes.map(({ entry }) => entry)),
    async propose(name, more) {
      const target = pod(name);
      const proposed: ResolvedRule<'drain-instance'> = { ...rule('propose-it', {}, 'propose'), ...more };
      const { status: _, target: __, ...alert } = request(name);
      const input: RemediationInput = {
        target,
        rule: proposed,
        ruleDigest: 'd',
        scope: 'shop',
        alert,
        episode: `e-${name}`,
        searchAttributes,
      };
      const handle = await client.workflow.start(WORKFLOW.remediation, {
        workflowId: proposalId(proposed.name, target),
        taskQueue,
        args: [input],
        memo: { rule: proposed.name, runbook: proposed.runbook, mode: proposed.mode, target },
        ...(searchAttributes && {
          typedSearchAttributes: [
            { key: defineSearchAttributeKey('SalvorTarget', SearchAttributeType.KEYWORD), value: target },
          ],
        }),
      });
      return { id: handle.firstExecutionRunId, target, workflowId: handle.workflowId };
    },
    async stop() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await connection.close();
    },
  };
}
