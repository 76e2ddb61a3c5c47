import type { WorkflowHandle } from '@temporalio/client';
import { responderId, runRule } from '../../model/names.ts';
import type { Complaint } from '../e2e/exporter.ts';
import { PATIENCE } from '../e2e/support.ts';
import { eventually } from '../support/wait.ts';
import { end, namedAll, type Recording } from './group.ts';
import { heldBy, type Rule, salvor, stack, thisRun, workload } from './pods.ts';

const responderOf = ({ namespace, rule }: Complaint) =>
  stack.client.workflow.getHandle(responderId(rule, `sandbox/${namespace}`));

/** The first one is held; the second one, of the same scope, has to do without the only slot. */
async function heldAndAnother(rule: Rule): Promise<{ it: Complaint; other: Complaint }> {
  const { it, other } = await workload(rule);
  await stack.breakPod(it);
  await heldBy(it);
  await stack.breakPod(other);
  return { it, other };
}

/** Both are well again; the responder's run ends when it has nothing left to remember. */
async function mended(...all: Complaint[]): Promise<void> {
  for (const one of all) await stack.mendPod(one);
}

const tally = async (it: Complaint): Promise<{ refuse: number }> => (await stack.responder(it)).tally;
const queued = async (it: Complaint): Promise<number> => Object.keys((await stack.responder(it)).queue).length;

const RESPONDERS: Record<string, () => Promise<WorkflowHandle>> = {
  /** Admits one, coalesces its repeats, hears of its end, and ends itself after the cooldown. */
  async ended() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    const body = await stack.webhookOf(it);
    for (let repeats = 0; repeats < 2; repeats++) await stack.deliver(body);
    await stack.mendPod(it);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** The second one waits for the only slot, and gets it. */
  async waited() {
    const { it, other } = await heldAndAnother('recovers');
    await eventually('it waits', async () => (await queued(it)) === 1, PATIENCE);
    await mended(it);
    await heldBy(other);
    await mended(other);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** No other may wait for the only slot. */
  async refused() {
    const { it, other } = await heldAndAnother('unqueued');
    await eventually('it is refused', async () => (await tally(it)).refuse === 1, PATIENCE);
    await mended(it, other);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** The second one waits for the only slot, for too long. */
  async overdue() {
    const { it, other } = await heldAndAnother('impatient');
    await eventually('it is refused', async () => (await tally(it)).refuse === 1, PATIENCE);
    await mended(it, other);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** The second one is well again while it waits. */
  async dropped() {
    const { it, other } = await heldAndAnother('recovers');
    await eventually('it waits', async () => (await queued(it)) === 1, PATIENCE);
    await mended(other);
    await eventually('it waits no more', async () => (await queued(it)) === 0, PATIENCE);
    await mended(it);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** By a person, while a remediation is open; its end starts the next run. */
  async cancelled() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    const run = await thisRun(responderOf(it));
    await run.cancel();
    await end(run);
    await mended(it);
    await end(stack.remediation(it));
    return run;
  },
  /** A person's request, by `salvor run`. */
  async run() {
    const { it, namespace } = await workload('recovers');
    await stack.cluster.setUnready(namespace, it.pod, true);
    const target = stack.cluster.target(namespace, it.pod);
    const options = ['--mode', 'act', '--wait', '--with', 'recoverWithin=1s', '--with', 'stableFor=1s'];
    await salvor('run', 'drain-instance', target, ...options, '--with', 'quietFor=0s');
    return responderOf({ ...it, rule: runRule('drain-instance') });
  },
};

/** Two runs of one responder: the one that continues as new, and the one that goes on with what it carried. */
async function continued(): Promise<Record<string, WorkflowHandle>> {
  const { it } = await workload('recovers');
  await stack.breakPod(it);
  await heldBy(it);
  const body = await stack.webhookOf(it);
  const { runId } = await responderOf(it).describe();
  const second = await eventually(
    'it continues as new',
    async () => {
      await stack.deliver(body);
      const now = (await responderOf(it).describe()).runId;
      return now !== runId && now;
    },
    PATIENCE,
  );
  await stack.mendPod(it);
  await end(responderOf(it));
  const { workflow } = stack.client;
  const { workflowId } = responderOf(it);
  return {
    'responder-continued-as-new': workflow.getHandle(workflowId, runId),
    'responder-carried-on': workflow.getHandle(workflowId, second),
  };
}

export const responders: Record<string, Recording> = {
  ...namedAll('responder', RESPONDERS),
  'responder-continued': continued,
};
