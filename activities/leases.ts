import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import type { BudgetInput, ReserveAnswer, ReserveRequest } from '../model/budget.ts';
import type { GiveBack, Holder, HolderActivities, LeaseAnswer, LeaseRequest, LimitsInput } from '../model/limits.ts';
import { code } from '../model/markdown.ts';
import { budgetId, limitsId, MESSAGE, WORKFLOW } from '../model/names.ts';
import { UnavailableError } from '../providers/errors.ts';
import { isPassing } from '../providers/temporal/updates.ts';

export interface EntityOptions {
  client: Client;
  /**
   * On which limits and budgets run. Not that of the responders: each waits for an answer within a workflow task, so a worker
   * whose slots were all taken by them could not give it.
   */
  taskQueue: string;
}

export interface Leases {
  /**
   * Asks `limits/<key>`, which is started where it does not run. The same question is granted once.
   *
   * @throws UnavailableError where it does not answer in time
   */
  lease(key: string, request: LeaseRequest, question: string): Promise<LeaseAnswer>;
  give(key: string, back: GiveBack): Promise<void>;
}

export interface Budgets {
  /** Asks `budget/<workload>`, likewise. @throws UnavailableError where it does not answer in time */
  reserve(workload: string, request: ReserveRequest): Promise<ReserveAnswer>;
  /** @param runId of the holder */
  free(workload: string, runId: string): Promise<void>;
}

export function leasesOf({ client, taskQueue }: EntityOptions): Leases {
  const ask = asking<LimitsInput>(client, {
    type: WORKFLOW.limits,
    taskQueue,
    update: MESSAGE.lease,
    within: LEASE_WITHIN,
  });
  return {
    lease: (key, request, question) => {
      const entity = { workflowId: limitsId(key), input: { key }, name: `limits of ${code(key)}` };
      return ask<LeaseAnswer>(entity, request, `${question}/${key}`);
    },
    give: (key, back) => tell(client, limitsId(key), MESSAGE.give, back),
  };
}

export function budgetsOf({ client, taskQueue }: EntityOptions): Budgets {
  const ask = asking<BudgetInput>(client, {
    type: WORKFLOW.budget,
    taskQueue,
    update: MESSAGE.reserve,
    within: RESERVE_WITHIN,
  });
  return {
    reserve: (workload, request) => {
      const name = `unavailable budget of ${code(workload)}`;
      return ask<ReserveAnswer>({ workflowId: budgetId(workload), input: { workload }, name }, request);
    },
    free: (workload, runId) => tell(client, budgetId(workload), MESSAGE.free, runId),
  };
}

/** To be registered where limits and budgets run. */
export function holderActivities({ client }: Pick<EntityOptions, 'client'>): HolderActivities {
  return { over: (holders) => Promise.all(holders.map((holder) => isOver(client, holder))) };
}

/**
 * Milliseconds in which an entity must have answered, waiting for its turn included; it takes a few. A lease has less than the
 * activity that asks waits for it: a question that nobody waits for any more must not come after the next one.
 */
const LEASE_WITHIN = 4_500;
const RESERVE_WITHIN = 8_000;
/** Between two tries. */
const PAUSE = 50;

interface Kind {
  type: string;
  taskQueue: string;
  update: string;
  within: number;
}

interface Entity<Input> {
  workflowId: string;
  input: Input;
  name: string;
}

/** @returns what asks an entity of the kind, and starts it where it does not run */
function asking<Input>(client: Client, { type, taskQueue, update, within }: Kind) {
  const turns = new Turns();

  return async <Answer>({ workflowId, input, name }: Entity<Input>, request: unknown, updateId?: string) => {
    const deadline = Date.now() + within;
    const once = (): Promise<Answer> =>
      client.withDeadline(deadline, () =>
        client.workflow.executeUpdateWithStart<Workflow, Answer, [unknown]>(update, {
          args: [request],
          startWorkflowOperation: new WithStartWorkflowOperation(type, {
            workflowId,
            taskQueue,
            args: [input],
            staticSummary: name,
            workflowIdConflictPolicy: 'USE_EXISTING',
          }),
          ...(updateId !== undefined && { updateId }),
        }),
      );
    return await turns.take(workflowId, async () => {
      for (;;) {
        try {
          return await once();
        } catch (error) {
          if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError || Date.now() >= deadline)
            throw new UnavailableError(
              `${workflowId} did not answer within ${within / 1_000} s: is a worker running for the task queue ${taskQueue}?`,
              { cause: error },
            );
          if (!isPassing(error)) throw error;
          await sleep(PAUSE);
        }
      }
    });
  };
}

async function tell(client: Client, workflowId: string, signal: string, argument: unknown): Promise<void> {
  try {
    await client.workflow.getHandle(workflowId).signal(signal, argument);
  } catch (error) {
    // It has ended, or was terminated: it holds nothing that could be given back.
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
}

async function isOver(client: Client, { workflowId, runId, since }: Holder): Promise<boolean> {
  try {
    const now = await client.workflow.getHandle(workflowId, runId).describe();
    if (now.status.name !== 'RUNNING') return true;
    if (since === undefined || now.startTime.getTime() <= since + CLOCKS_DIFFER) return false;
    // A run that began since then: the same execution goes on, or another one has begun in its place.
    const first = now.raw.workflowExecutionInfo?.firstRunId;
    const began = first ? await startOf(client, workflowId, first) : undefined;
    return began !== undefined && began > since + CLOCKS_DIFFER;
  } catch (error) {
    // Ended so long ago that the server has forgotten it.
    if (error instanceof WorkflowNotFoundError) return true;
    throw error;
  }
}

/** Milliseconds since the epoch; undefined where it is so long ago that the server has forgotten it. */
async function startOf(client: Client, workflowId: string, runId: string): Promise<number | undefined> {
  try {
    return (await client.workflow.getHandle(workflowId, runId).describe()).startTime.getTime();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

/** Those of the server's machines, in milliseconds. */
const CLOCKS_DIFFER = 1_000;

/** The server takes 10 updates of one workflow at once, and lets who comes with more wait a second: here they queue. */
const AT_ONCE = 5;

class Turns {
  readonly #queues = new Map<string, { active: number; waiting: (() => void)[] }>();

  async take<T>(key: string, act: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? { active: 0, waiting: [] };
    this.#queues.set(key, queue);
    if (queue.active < AT_ONCE) queue.active += 1;
    else await new Promise<void>((resolve) => queue.waiting.push(resolve));
    try {
      return await act();
    } finally {
      const next = queue.waiting.shift();
      // The turn goes over to the next one, or comes back.
      if (next) next();
      else if (--queue.active === 0) this.#queues.delete(key);
    }
  }
}
