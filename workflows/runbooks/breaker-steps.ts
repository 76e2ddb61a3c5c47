import type { SwitchPort } from '../../model/ports/switch.ts';
import { changing, DAY, MINUTE, reading, undoing, waiting } from './steps.ts';

export const { readSwitch } = reading<SwitchPort>('look at its switch');

export const opening: SwitchPort['setSwitch'] = (request) => changing<SwitchPort>('open the switch').setSwitch(request);

export const closing: SwitchPort['setSwitch'] = (request) => undoing<SwitchPort>('close the switch').setSwitch(request);

/** Tried for a minute: orders, and the dependency itself, are not to wait for a switch that does not answer. */
export const closingForNow: SwitchPort['setSwitch'] = (request) =>
  undoing<SwitchPort>('close the switch', MINUTE).setSwitch(request);

/** @param summary what is waited for, as Temporal's UI shows it */
export const driving = (summary: string): SwitchPort['driveBreaker'] => waiting<SwitchPort>(summary, DAY).driveBreaker;
