import { ActivityCancellationType, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { SwitchPort } from '../../model/ports/switch.ts';
import { ownWatchQueue } from '../waits.ts';

const WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
const RETRY = { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' } as const;
export const MINUTE = 60_000;
export const DAY = 1_440 * MINUTE;

export const { readSwitch } = proxyLocalActivities<SwitchPort>({
  summary: 'look at its switch',
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '2 seconds',
  scheduleToCloseTimeout: '5 minutes',
  retry: RETRY,
});

export const opening: SwitchPort['setSwitch'] = (request) =>
  proxyActivities<SwitchPort>({
    summary: 'open the switch',
    startToCloseTimeout: '20 seconds',
    scheduleToCloseTimeout: '5 minutes',
    cancellationType: WAIT,
    retry: RETRY,
  }).setSwitch(request);

/** As an undo it is tried for a day: giving up leaves somebody else's traffic cut. */
export const closing: SwitchPort['setSwitch'] = (request) =>
  proxyActivities<SwitchPort>({
    summary: 'close the switch',
    startToCloseTimeout: '20 seconds',
    scheduleToCloseTimeout: '1 day',
    retry: { ...RETRY, maximumInterval: '1 minute' },
  }).setSwitch(request);

/** @param summary what is waited for, as Temporal's UI shows it */
export const driving = (summary: string): SwitchPort['driveBreaker'] =>
  proxyActivities<SwitchPort>({
    summary,
    taskQueue: ownWatchQueue(),
    scheduleToCloseTimeout: DAY + 10 * MINUTE,
    heartbeatTimeout: '10 seconds',
    cancellationType: WAIT,
    retry: RETRY,
  }).driveBreaker;
