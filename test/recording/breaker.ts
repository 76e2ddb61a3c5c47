import type { WorkflowHandle } from '@temporalio/client';
import { PATIENCE } from '../e2e/support.ts';
import { BreakerStack, NAME, TARGET } from '../support/breaker.ts';
import { eventually } from '../support/wait.ts';
import { byHand, end, type Group, namedAll } from './group.ts';

const stack = new BreakerStack();
const { dependency } = stack;

/** This very run: the next scenario is of the same dependency. */
async function thisRun(): Promise<WorkflowHandle> {
  const { workflowId, runId } = await stack.remediation.describe();
  return stack.client.workflow.getHandle(workflowId, runId);
}

/** The dependency fails, an alert tells so, and it is opened. */
async function opened(): Promise<WorkflowHandle> {
  await dependency.is('well');
  await eventually('callers are served', async () => (await stack.call()).status === 200, PATIENCE);
  await dependency.is('refuses');
  await stack.heal();
  await stack.untilState('open');
  return thisRun();
}

const REMEDIATIONS: Record<string, () => Promise<WorkflowHandle>> = {
  /** Opened, tried in vain, tried again, closed, and watched. */
  async recovered() {
    const run = await opened();
    await eventually(
      'it was tried in vain',
      async () => (await stack.timeline()).some(({ cause }) => cause === 'failures'),
      PATIENCE,
    );
    await dependency.is('well');
    await end(run);
    return run;
  },
  /** It fails again soon after it was closed. */
  async 'recovered-relapsed'() {
    const run = await opened();
    await dependency.is('well');
    await stack.untilState('closed');
    await dependency.is('refuses');
    await eventually(
      'a relapse',
      async () => (await stack.timeline()).some(({ cause }) => cause === 'relapse'),
      PATIENCE,
    );
    await dependency.is('well');
    await end(run);
    return run;
  },
  async 'not-needed'() {
    await dependency.is('well');
    await stack.heal();
    const run = await thisRun();
    await end(run);
    return run;
  },
  async cancelled() {
    const run = await opened();
    await byHand(stack.configFile, ['cancel', TARGET, '--reason', 'it is well']);
    await end(run);
    await dependency.is('well');
    return run;
  },
  /** A person opens it, and closes it. */
  async 'by-hand'() {
    await dependency.is('well');
    await byHand(stack.configFile, ['breaker', 'open', NAME, '--for', '30m', '--reason', 'their maintenance']);
    await stack.untilState('open');
    const run = await thisRun();
    await byHand(stack.configFile, ['breaker', 'close', NAME]);
    await end(run);
    return run;
  },
};

export const breakerGroup: Group = {
  // What a person has closed is respected for so long, and then it is over.
  start: () => stack.start({ timeout: 3_000, dependency: { respectClose: '2s' } }),
  stop: () => stack.stop(),
  recordings: namedAll('circuit-breaker', REMEDIATIONS),
};
