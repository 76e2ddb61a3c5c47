import { randomUUID } from 'node:crypto';
import {
  type Client,
  WithStartWorkflowOperation,
  type WorkflowExecutionDescription,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import type { BreakerOrder } from '../../model/breaker/options.ts';
import {
  BREAKER_ENDS,
  BREAKER_PENDING,
  BREAKER_REFUSED,
  type BreakerStanding,
  closedStanding,
  standingOf,
} from '../../model/breaker/standing.ts';
import type { Config } from '../../model/config.ts';
import { digest } from '../../model/digest.ts';
import { MESSAGE, remediationId, WORKFLOW } from '../../model/names.ts';
import type { DriveBeat } from '../../model/ports/switch.ts';
import type { Story } from '../../model/remediation.ts';
import type { Batch, RunAnswer } from '../../model/request.ts';
import { resolveRun } from '../../model/run.ts';
import { formatTarget } from '../../model/target.ts';
import { responderStart } from './responder.ts';
import { answered, isPassing, RefusedUpdateError, UnansweredError, untilAnswered } from './updates.ts';

/** Milliseconds in which a worker must answer a question; without one the server lets it hang. */
const ASK_WITHIN = 3_000;
/**
 * Milliseconds in which an order must have been obeyed: also the switch is set by then. A little more than its remediation takes to
 * notice that what drove it is dead, and to say that it is not done yet.
 */
const OBEY_WITHIN = 14_000;

const keyOf = (name: string): string => formatTarget({ type: 'dependency', name });

/**
 * How the breaker of a dependency stands. What drives it says so in its heartbeats, which the server has at hand: no worker is
 * asked, but in the moment between two activities.
 *
 * @throws UnansweredError where that moment lasts, for no worker runs; what Temporal answers, where it cannot be reached
 */
export async function readBreaker(client: Client, name: string): Promise<BreakerStanding> {
  const handle = client.workflow.getHandle(remediationId(keyOf(name)));
  const found = await handle.describe().catch((error: unknown) => {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  });
  if (found?.status.name !== 'RUNNING') return overStanding(name, found);
  const beat = beatOf(client, found);
  const story = beat ? undefined : (await storyOf(client, found)).breaker;
  const state = beat?.state ?? story?.state;
  // It may have gone on in a new run: people know it by its first.
  const first = found.raw.workflowExecutionInfo?.firstRunId || found.runId;
  return state ? standingOf(name, state, first, beat?.stands ?? story?.stands) : closedStanding(name);
}

/** Where it came to its end it has closed what it had opened, or has told people what it left. */
function overStanding(name: string, found: WorkflowExecutionDescription | undefined): BreakerStanding {
  const closed = closedStanding(name);
  const since = found?.closeTime && { since: found.closeTime.toISOString() };
  if (!found || !UNCLEAN.has(found.status.name)) return { ...closed, ...since };
  const first = found.raw.workflowExecutionInfo?.firstRunId || found.runId;
  const how = found.status.name.toLowerCase().replace('_', ' ');
  const reason = `its remediation ${first} ${how === 'failed' ? 'has failed' : `was ${how}`}, and may have left its switch open: look at it; \`salvor breaker close ${name}\` closes it`;
  return { ...closed, ...since, switch: 'unknown', reason };
}

const UNCLEAN: ReadonlySet<string> = new Set(['TERMINATED', 'TIMED_OUT', 'FAILED']);

/** The activity, as it is registered. */
const DRIVES = 'driveBreaker';

function beatOf({ options }: Client, { raw }: WorkflowExecutionDescription): DriveBeat | undefined {
  const drive = raw.pendingActivities?.find(({ activityType }) => activityType?.name === DRIVES);
  const [payload] = drive?.heartbeatDetails?.payloads ?? [];
  return payload && options.loadedDataConverter.payloadConverter.fromPayload<DriveBeat>(payload);
}

async function storyOf(client: Client, { workflowId, runId }: WorkflowExecutionDescription): Promise<Story> {
  const query = () => client.workflow.getHandle(workflowId, runId).query<Story>(MESSAGE.story);
  try {
    return await client.withDeadline(Date.now() + ASK_WITHIN, query);
  } catch (error) {
    throw new UnansweredError('how the breaker stands only a worker can tell, and none answers', { cause: error });
  }
}

/** Where the orders go. */
export interface BreakerPlace {
  client: Client;
  config: Config;
}

/** What became of an order. `waits`: a gate keeps it, and it is obeyed when that ends. */
export type Ordered = { breaker: BreakerStanding; waits?: { gate: string; reason: string } };

/**
 * Tells the remediation of the dependency, which is started where none is open. Resolves when the switch stands as ordered.
 *
 * @throws RefusedUpdateError with the type BREAKER_REFUSED, BREAKER_ENDS, or BREAKER_PENDING where it is not done in time; UnansweredError
 */
export async function orderBreaker(place: BreakerPlace, name: string, order: BreakerOrder): Promise<Ordered> {
  const { client, config } = place;
  const deadline = Date.now() + OBEY_WITHIN;
  for (;;) {
    const told = await tell(client, name, order, deadline);
    if (told) return { breaker: told };
    const { decision } = await untilAnswered(client, () => start(client, config, name, order), OBEY_WITHIN);
    if (decision.answer === 'wait') {
      const { gate, reason } = decision;
      if (gate !== 'target-busy') return { breaker: await readBreaker(client, name), waits: { gate, reason } };
      // One has just been started for an alert, and may be told.
    } else if (decision.answer === 'refuse') {
      throw new RefusedUpdateError(`${decision.gate}: ${decision.reason}`, { type: BREAKER_REFUSED });
    } else return { breaker: await untilStands(client, name, order, deadline) };
    if (Date.now() > deadline) throw new UnansweredError('the order was not taken in time');
    await pause();
  }
}

/** @returns undefined where none is open */
async function tell(
  client: Client,
  name: string,
  order: BreakerOrder,
  deadline: number,
): Promise<BreakerStanding | undefined> {
  const handle = client.workflow.getHandle(remediationId(keyOf(name)));
  const ask = () => handle.executeUpdate<BreakerStanding, [BreakerOrder]>(MESSAGE.breaker, { args: [order] });
  try {
    return await answered(client, ask, deadline);
  } catch (error) {
    if (isPassing(error)) return undefined;
    if (!(error instanceof RefusedUpdateError) || error.type !== BREAKER_ENDS || Date.now() > deadline) throw error;
    // One that takes back what it did may take long; what is ordered of another one waits for it.
    await pause();
    return await tell(client, name, order, deadline);
  }
}

/** Through the responder of the runs by hand, whose gates ask nothing but whether all is paused. */
function start(client: Client, config: Config, name: string, order: BreakerOrder): Promise<RunAnswer> {
  const batch = batchOf(config, name, order);
  return client.workflow.executeUpdateWithStart<Workflow, RunAnswer, [Batch]>(MESSAGE.run, {
    args: [batch],
    updateId: batch.delivery,
    startWorkflowOperation: new WithStartWorkflowOperation(WORKFLOW.responder, {
      ...responderStart(batch, config.temporal.taskQueue),
      workflowIdConflictPolicy: 'USE_EXISTING',
    }),
  });
}

function batchOf(config: Config, name: string, order: BreakerOrder): Batch {
  const run = { runbook: 'circuit-breaker', target: keyOf(name), with: {}, mode: 'act' } as const;
  const resolved = resolveRun(run, config);
  if (!resolved.ok) throw new RefusedUpdateError(resolved.problems.join('; '), { type: BREAKER_REFUSED });
  const { rule, target, scope } = resolved;
  if (rule.runbook !== 'circuit-breaker') throw new Error(`a breaker is not for ${rule.runbook}`);
  const gates = { ...rule.gates, cooldown: 0, windows: [], maxInFlight: 1_000, retries: { max: 1_000, per: 60_000 } };
  const ordered = { ...rule, gates, with: { ...rule.with, order } };
  const delivery = `breaker-${randomUUID()}`;
  const about = { fingerprint: delivery, startsAt: new Date().toISOString(), status: 'firing' as const, target };
  const request = { ...about, alertname: `salvor breaker ${order.order}`, by: order.by };
  return {
    delivery,
    rule: ordered,
    ruleDigest: digest(ordered),
    scope,
    requests: [{ ...request, digest: digest(request) }],
  };
}

async function untilStands(
  client: Client,
  name: string,
  { order, by }: BreakerOrder,
  deadline: number,
): Promise<BreakerStanding> {
  const wanted = order === 'open' ? 'open' : 'closed';
  for (;;) {
    const now = await readBreaker(client, name);
    if (now.state === wanted && now.switch === wanted && now.by === by) return now;
    if (Date.now() > deadline)
      throw new RefusedUpdateError(`it was ordered, and is not done yet: its switch is ${now.switch}; ${now.reason}`, {
        type: BREAKER_PENDING,
      });
    await pause();
  }
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200));
