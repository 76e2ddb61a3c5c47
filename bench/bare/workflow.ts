import { proxyLocalActivities } from '@temporalio/workflow';
import type { BareActivities } from './messages.ts';

const { touch } = proxyLocalActivities<BareActivities>({ startToCloseTimeout: '10 seconds' });

/** The least that a durable reaction can be: its first step is one local activity, and it has no other. */
export async function bare(id: string): Promise<void> {
  await touch(id);
}
