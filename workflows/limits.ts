import {
  allHandlersFinished,
  condition,
  continueAsNew,
  currentUpdateInfo,
  defineQuery,
  defineSignal,
  defineUpdate,
  getExternalWorkflowHandle,
  log,
  proxyLocalActivities,
  setHandler,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import { STORM_MEMO, type StormMemo } from '../model/clearance.ts';
import type { GiveBack, HolderActivities, LeaseAnswer, LeaseRequest, LimitsInput } from '../model/limits.ts';
import { MESSAGE } from '../model/names.ts';
import type { LookAgain } from '../model/responder.ts';
import { LimitsLedger, type LimitsState } from './limits-ledger.ts';

const lease = defineUpdate<LeaseAnswer, [LeaseRequest]>(MESSAGE.lease);
const give = defineSignal<[GiveBack]>(MESSAGE.give);
const state = defineQuery<LimitsState>(MESSAGE.state);

/** The server refuses more than 10,000 signals and 2,000 updates of one run; stay well below. */
const MAX_SIGNALS = 8_000;
const MAX_UPDATES = 1_500;

const { over } = proxyLocalActivities<HolderActivities>({
  summary: 'find those who ended without giving back',
  startToCloseTimeout: '20 seconds',
  localRetryThreshold: '2 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '10 seconds' },
});

/**
 * `limits/<key>`, one per cluster or account: what all rules together may have in flight and do in an hour, and the storm
 * over all of them. Requests are decided at once by their handlers, in the order in which they come; the loop tells those
 * that were denied when there is room, and finds holders that are gone. It ends when nothing is held or counted, and the next
 * request starts it again.
 */
export async function limits(input: LimitsInput): Promise<void> {
  const ledger = new LimitsLedger(input, Date.now());
  let [heard, signals, updates] = [input.state !== undefined, 0, 0];
  setHandler(lease, (request) => {
    heard = true;
    updates += 1;
    return ledger.lease(request, currentUpdateInfo()?.id ?? '', Date.now());
  });
  setHandler(give, (back) => {
    signals += 1;
    ledger.give(back);
  });
  setHandler(state, () => ledger.carry());

  const isFull = (): boolean =>
    workflowInfo().continueAsNewSuggested || signals >= MAX_SIGNALS || updates >= MAX_UPDATES;
  const memo = new Memo();
  await condition(() => heard);
  for (;;) {
    const { due } = ledger;
    const awake = (): boolean => isFull() || ledger.idle || ledger.due < due || memo.isStale(ledger);
    const wait = due - Date.now();
    if (wait === Number.POSITIVE_INFINITY) await condition(awake);
    else if (wait > 0) await condition(awake, wait);

    const now = Date.now();
    ledger.pass(now);
    memo.show(ledger); // before anybody is told that it is over
    await Promise.all(ledger.tell(now).map((responder) => tell(responder, ledger)));
    const suspects = ledger.suspects(now);
    if (suspects.length > 0) ledger.checked(suspects, await over(suspects), Date.now());

    await condition(allHandlersFinished);
    if (isFull()) await continueAsNew<typeof limits>({ key: input.key, state: ledger.carry() });
    if (ledger.idle) return;
  }
}

/** There is room: it asks again. What is told is with the server before the run may end. */
async function tell(responder: string, ledger: LimitsLedger): Promise<void> {
  const look: LookAgain = {};
  try {
    await getExternalWorkflowHandle(responder).signal(MESSAGE.look, look);
  } catch (error) {
    log.info('a responder that waited for room is gone', { responder, error });
    ledger.gone(responder);
  }
}

/** The storm, for everybody who reads the memo: it is carried over continue-as-new by the server. */
class Memo {
  #since = (workflowInfo().memo?.[STORM_MEMO] as StormMemo | null | undefined)?.since;

  isStale({ storm }: LimitsLedger): boolean {
    return storm?.since !== this.#since;
  }

  show(ledger: LimitsLedger): void {
    if (!this.isStale(ledger)) return;
    const { storm } = ledger;
    this.#since = storm?.since;
    upsertMemo({ [STORM_MEMO]: storm ?? null });
    if (storm) log.warn('storm', { ...storm });
  }
}
