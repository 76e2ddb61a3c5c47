import type { WorkflowHandle } from '@temporalio/client';
import { UNREADY_ANNOTATION } from '../../sandbox/kubernetes.ts';
import type { Complaint } from '../e2e/exporter.ts';
import { Stack } from '../e2e/support.ts';
import { deployment, nameOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { byHand } from './group.ts';

/** Where drain-instance, its responders and a tick are recorded: one stack, and on it a workload for each scenario. */

const EVICT_AT_ONCE = { recoverWithin: '0s', stableFor: '0s', quietFor: '0s' };
/** Both of two pods may be sick. */
const BOTH = { maxUnavailable: '100%', storm: { above: '100%' } };
const OF_NODES = { target: `k8s/sandbox/node/\${labels.pod}` };
const AFTER_A_SECOND = { keepFor: '1s' };

const RULES = {
  recovers: { with: { recoverWithin: '5m', stableFor: '1s' }, gates: { cooldown: '1s', ...BOTH } },
  replaced: { with: EVICT_AT_ONCE },
  observed: { mode: 'observe' },
  proposed: { mode: 'propose', with: EVICT_AT_ONCE },
  unanswered: { mode: 'propose', approveWithin: '1s', onFailure: { escalate: true } },
  blocked: { with: { ...EVICT_AT_ONCE, evictWithin: '1s' } },
  unverified: { with: { ...EVICT_AT_ONCE, verifyWithin: '1s' }, gates: BOTH },
  kept: { with: { recoverWithin: '1s', stableFor: '1s', replace: false } },
  unqueued: { with: { recoverWithin: '5m', stableFor: '1s' }, gates: { cooldown: '1s', maxQueue: 0, ...BOTH } },
  impatient: { with: { recoverWithin: '5m', stableFor: '1s' }, gates: { cooldown: '1s', waitAtMost: '1s', ...BOTH } },
  quarantined: {
    with: { traffic: 'quarantine', quarantine: { ...AFTER_A_SECOND, afterwards: 'delete' } },
    gates: BOTH,
  },
  lent: { with: { traffic: 'quarantine', quarantine: { ...AFTER_A_SECOND, afterwards: 'give-back' } }, gates: BOTH },
  drained: { ...OF_NODES, with: { ...EVICT_AT_ONCE, stableFor: '1s', node: { keepFor: '10m' } }, gates: BOTH },
  'drained-in-vain': { ...OF_NODES, with: { ...EVICT_AT_ONCE, node: AFTER_A_SECOND }, gates: BOTH },
} as const;
export type Rule = keyof typeof RULES;

/** Events after which the server suggests to continue as new: few, so that this history is small too. */
const CONTINUE_AT = 60;

export const stack = new Stack();

export const start = (): Promise<void> =>
  stack.start(RULES, { dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': CONTINUE_AT } });

export async function workload(rule: Rule, options: { trafficLabel?: boolean; broken?: boolean } = {}) {
  const { trafficLabel = true, broken = false } = options;
  const namespace = await stack.cluster.namespace('history');
  const web = deployment({ namespace, name: 'web', trafficLabel });
  // Its pods never become ready, so that no replacement does.
  if (broken) web.spec!.template.metadata!.annotations = { [UNREADY_ANNOTATION]: 'true' };
  await stack.cluster.create(stack.exposed(namespace, 'web'), web);
  const pods = await eventually('the pods', async () => {
    const found = await stack.cluster.pods(namespace, 'web');
    return found.length === 2 && found.every(({ status }) => status?.podIP) && found;
  });
  const [first, second] = pods.map((pod): Complaint => ({ namespace, pod: nameOf(pod), rule }));
  if (!broken) await stack.cluster.readyPods(namespace, 'web', 2);
  return { namespace, it: first!, other: second! };
}

export const heldBy = (it: Complaint) => stack.untilAt(it, 'hold');

/** Of this very run, whatever goes by its Workflow ID later. */
export async function thisRun(handle: WorkflowHandle): Promise<WorkflowHandle> {
  return stack.client.workflow.getHandle(handle.workflowId, (await handle.describe()).runId);
}

/** A command of a person. */
export const salvor = (...args: string[]): Promise<void> => byHand(stack.configFile, args);
