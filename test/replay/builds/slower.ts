import { sleep } from '@temporalio/workflow';
import type { Ending, RemediationInput } from '../../../model/remediation.ts';
import type { ResponderInput } from '../../../model/responder.ts';
import type { TickInput } from '../../../model/tick.ts';
import { remediation as today } from '../../../workflows/remediation.ts';
import { responder as responderOfToday } from '../../../workflows/responder.ts';
import { tick as tickOfToday } from '../../../workflows/tick.ts';

export async function remediation(input: RemediationInput): Promise<Ending> {
  await sleep('1 second');
  return await today(input);
}

export async function responder(input: ResponderInput): Promise<void> {
  await sleep('1 second');
  await responderOfToday(input);
}

export async function tick(input: TickInput): Promise<void> {
  await sleep('1 second');
  await tickOfToday(input);
}
