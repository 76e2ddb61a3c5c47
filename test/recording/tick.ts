import { readFile } from 'node:fs/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { parseConfig } from '../../model/config.ts';
import { tickId } from '../../model/names.ts';
import { tickOf } from '../../model/routing.ts';
import { parseTargetTemplate } from '../../model/target.ts';
import { keepSchedule } from '../../providers/temporal/schedules.ts';
import { eventually } from '../support/wait.ts';
import { end, named, type Recording } from './group.ts';
import { stack } from './pods.ts';

/** One time of a schedule, of a rule about a pod that is not there. */
async function ticked(): Promise<WorkflowHandle> {
  const parsed = parseConfig(await readFile(stack.configFile, 'utf8'), stack.configFile);
  const configured = parsed.ok && parsed.config.rules.find(({ rule }) => rule.name === 'observed');
  if (!parsed.ok || !configured) throw new Error('there is no such rule');
  const schedule = { every: 3_600_000, jitter: 0, overlap: 'skip' as const, catchUp: 60_000 };
  const target = parseTargetTemplate('k8s/sandbox/default/pod/web-0');
  const tick = tickOf({ ...configured, schedule, target }, parsed.config);
  if (!tick) throw new Error('there is no schedule');
  const place = { client: stack.client, taskQueue: parsed.config.temporal.taskQueue };
  await keepSchedule(place, { rule: 'observed', schedule, tick, digest: '' });
  const handle = stack.client.schedule.getHandle(tickId('observed'));
  await handle.trigger();
  const { workflow } = await eventually(
    'it is started',
    async () => (await handle.describe()).info.recentActions[0]?.action,
  );
  await handle.delete();
  const run = stack.client.workflow.getHandle(workflow.workflowId, workflow.firstExecutionRunId);
  await end(run);
  return run;
}

export const ticks: Record<string, Recording> = { tick: named('tick', ticked) };
