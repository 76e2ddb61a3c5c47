import type { WorkflowHandle } from '@temporalio/client';
import { MESSAGE, proposalId, remediationId, TRAFFIC_LABEL } from '../../model/names.ts';
import type { Story } from '../../model/remediation.ts';
import type { Complaint } from '../e2e/exporter.ts';
import { PATIENCE } from '../e2e/support.ts';
import { budget } from '../support/kubernetes.ts';
import { Pool, placed } from '../support/nodes.ts';
import { eventually } from '../support/wait.ts';
import { answered, end, type Group, inPhase, namedAll } from './group.ts';
import { heldBy, type Rule, salvor, stack, start, thisRun, workload } from './pods.ts';
import { responders } from './responder.ts';
import { ticks } from './tick.ts';

/** The remediation of a broken pod, to its end. */
async function toItsEnd(it: Complaint): Promise<WorkflowHandle> {
  await stack.breakPod(it);
  const handle = stack.remediation(it);
  await end(handle);
  stack.exporter.set(it, false);
  return handle;
}

/** The alert alone: nothing is done to the pod, if there is one. */
async function alertOnly(it: Complaint): Promise<WorkflowHandle> {
  stack.exporter.set(it, true);
  const handle = stack.remediation(it);
  await end(handle);
  stack.exporter.set(it, false);
  return handle;
}

/** The proposal about a broken pod. */
async function proposed(rule: Rule): Promise<{ it: Complaint; proposal: WorkflowHandle }> {
  const { it, namespace } = await workload(rule);
  await stack.breakPod(it);
  const proposal = stack.client.workflow.getHandle(proposalId(it.rule, stack.cluster.target(namespace, it.pod)));
  await eventually('a proposal', () => proposal.describe(), PATIENCE);
  return { it, proposal };
}

/** One that waits for a person. */
async function asking(): Promise<{ it: Complaint; proposal: WorkflowHandle }> {
  const made = await proposed('proposed');
  await eventually('it waits', async () => (await made.proposal.query<Story>(MESSAGE.story)).waits, PATIENCE);
  return made;
}

/** One that comes to its end by itself. */
async function ended(rule: Rule): Promise<WorkflowHandle> {
  const { it, proposal } = await proposed(rule);
  await end(proposal);
  stack.exporter.set(it, false);
  return proposal;
}

/** A node with pods turns sick. @returns its pool, and its remediation, which has begun */
async function sickNode(rule: Rule): Promise<{ pool: Pool; handle: WorkflowHandle; mend(): Promise<void> }> {
  const pool = await Pool.make(stack.cluster);
  await pool.run('web', 2, placed({ namespace: pool.namespace, name: 'web' }));
  await pool.setUnready(true);
  const it: Complaint = { namespace: pool.namespace, pod: pool.first, rule };
  stack.exporter.set(it, true);
  const handle = stack.client.workflow.getHandle(remediationId(pool.key()));
  await eventually('its remediation', () => handle.describe(), PATIENCE);
  const mend = async () => {
    await pool.setUnready(false);
    stack.exporter.set(it, false);
  };
  return { pool, handle, mend };
}

/** By name of the file; each answers whose history is to be kept. */
const REMEDIATIONS: Record<string, () => Promise<WorkflowHandle>> = {
  async recovered() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await stack.mendPod(it);
    await end(stack.remediation(it));
    return stack.remediation(it);
  },
  async 'recovered-uncut'() {
    const { it } = await workload('recovers', { trafficLabel: false });
    await stack.breakPod(it);
    await heldBy(it);
    await stack.mendPod(it);
    await end(stack.remediation(it));
    return stack.remediation(it);
  },
  async 'recovered-after-resolved'() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    stack.exporter.set(it, false);
    const handle = stack.remediation(it);
    await eventually('the look after it was resolved', async () => {
      const { events } = await handle.fetchHistory();
      return events?.some((event) => event.workflowExecutionSignaledEventAttributes?.signalName === 'resolved');
    });
    await stack.mendPod(it);
    await end(handle);
    return handle;
  },
  remediated: async () => toItsEnd((await workload('replaced')).it),
  'not-needed-healthy': async () => alertOnly((await workload('replaced')).it),
  'not-needed-gone': async () => alertOnly({ ...(await workload('replaced')).it, pod: 'web-gone' }),
  async 'not-needed-deleted'() {
    const { it, namespace } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await stack.cluster.core.deleteNamespacedPod({ namespace, name: it.pod });
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
  async 'refused-protected'() {
    const namespace = await stack.cluster.namespace('history');
    const spec = { nodeName: 'node-0', containers: [{ name: 'app', image: 'app:1' }] };
    await stack.cluster.core.createNamespacedPod({ namespace, body: { metadata: { name: 'alone' }, spec } });
    return toItsEnd({ namespace, pod: 'alone', rule: 'replaced' });
  },
  observed: async () => ended('observed'),
  'proposal-unanswered': async () => ended('unanswered'),
  async 'proposal-approved'() {
    const { it, proposal } = await asking();
    await answered(proposal, 'approve');
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return proposal;
  },
  /** The remediation that acts on what was approved. */
  async 'remediated-as-approved'() {
    const { it, proposal } = await asking();
    await answered(proposal, 'approve');
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
  async 'proposal-denied'() {
    const { it, proposal } = await asking();
    await answered(proposal, 'deny');
    stack.exporter.set(it, false);
    return proposal;
  },
  async 'proposal-resolved'() {
    const { it, proposal } = await asking();
    await stack.mendPod(it);
    await end(proposal);
    return proposal;
  },
  async 'failed-blocked'() {
    const { it, namespace } = await workload('blocked');
    await stack.cluster.create(budget(namespace, 'web', 2));
    return toItsEnd(it);
  },
  'failed-unverified': async () => toItsEnd((await workload('unverified', { broken: true })).it),
  /** Somebody lets the traffic in again, each time that Salvor has cut it. */
  async 'failed-contested'() {
    const { it, namespace } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    const run = await thisRun(stack.remediation(it));
    const contest = async () => {
      if ((await run.describe()).status.name !== 'RUNNING') return true;
      if ((await stack.cluster.trafficLabel(namespace, it.pod)) === 'off')
        await stack.cluster.patchPod(namespace, it.pod, { metadata: { labels: { [TRAFFIC_LABEL]: 'on' } } });
      return false;
    };
    await eventually('it gives up', contest, PATIENCE);
    stack.exporter.set(it, false);
    return run;
  },
  /** Its replacement serves; it is kept for a second, and deleted. */
  'remediated-quarantine-deleted': async () => toItsEnd((await workload('quarantined')).it),
  'remediated-quarantine-given-back': async () => toItsEnd((await workload('lent')).it),
  /** Drained, and uncordoned when it is well again. */
  async 'remediated-node-recovered'() {
    const { pool, handle, mend } = await sickNode('drained');
    await inPhase(handle, 'keep');
    await mend();
    await end(handle);
    await pool.stop();
    return handle;
  },
  /** Drained, and still sick after its time: it stays cordoned. */
  async 'failed-node-kept'() {
    const { pool, handle, mend } = await sickNode('drained-in-vain');
    await end(handle);
    await mend();
    await pool.stop();
    return handle;
  },
  async 'cancelled-node-kept'() {
    const { pool, handle, mend } = await sickNode('drained');
    await inPhase(handle, 'keep');
    await salvor('cancel', pool.key(), '--reason', 'it is wanted');
    await end(handle);
    await mend();
    await pool.stop();
    return handle;
  },
  'failed-kept': async () => toItsEnd((await workload('kept')).it),
  async cancelled() {
    const { it, namespace } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await salvor('cancel', stack.cluster.target(namespace, it.pod), '--reason', 'wrong pod');
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
  /** In Temporal's UI, which leaves no word of why. */
  async 'cancelled-without-a-word'() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await stack.remediation(it).cancel();
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
};

export const drainGroup: Group = {
  start,
  stop: () => stack.stop(),
  recordings: { ...namedAll('drain-instance', REMEDIATIONS), ...responders, ...ticks },
};
