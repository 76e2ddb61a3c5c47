import { workflowInfo } from '@temporalio/workflow';
import { watchQueue } from '../model/names.ts';

/** The task queue of the waits that belongs to the one on which this workflow runs. */
export const ownWatchQueue = (): string => watchQueue(workflowInfo().taskQueue);
