import { CancellationScope, condition, defineQuery, defineSignal, setHandler, upsertMemo } from '@temporalio/workflow';
import { STORM_MEMO } from '../../model/clearance.ts';
import { MESSAGE } from '../../model/names.ts';
import type { CancelRequest } from '../../model/remediation.ts';
import type { LookAgain, ResponderState } from '../../model/responder.ts';

export { control } from '../../workflows/control.ts';

const look = defineSignal<[LookAgain]>(MESSAGE.look);
const state = defineQuery<Partial<ResponderState>>(MESSAGE.state);
const looks = defineQuery<LookAgain[]>('looks');
const cancel = defineSignal<[CancelRequest]>(MESSAGE.cancel);
const cancels = defineQuery<CancelRequest[]>('cancels');

/** Hears what a responder hears of the control. */
export async function responder(said: Partial<ResponderState>): Promise<void> {
  const heard: LookAgain[] = [];
  setHandler(look, (order) => {
    heard.push(order);
  });
  setHandler(looks, () => heard);
  setHandler(state, () => said);
  if (said.storm) upsertMemo({ [STORM_MEMO]: { since: said.storm.since, reason: said.storm.why } });
  await condition(() => false);
}

/** Runs until it is cancelled. */
export async function remediation(): Promise<void> {
  const heard: CancelRequest[] = [];
  setHandler(cancel, (request) => {
    heard.push(request);
  });
  setHandler(cancels, () => heard);
  await CancellationScope.current().cancelRequested;
}
