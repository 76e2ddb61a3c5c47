import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  proxyLocalActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { BudgetInput, ReserveAnswer, ReserveRequest } from '../model/budget.ts';
import type { HolderActivities } from '../model/limits.ts';
import { MESSAGE } from '../model/names.ts';
import { BudgetLedger, type BudgetState } from './budget-ledger.ts';

const reserve = defineUpdate<ReserveAnswer, [ReserveRequest]>(MESSAGE.reserve);
const free = defineSignal<[string]>(MESSAGE.free);
const state = defineQuery<BudgetState>(MESSAGE.state);

/** The server refuses more than 10,000 signals and 2,000 updates of one run; stay well below. */
const MAX_SIGNALS = 8_000;
const MAX_UPDATES = 1_500;
/** How often holders are looked at where nobody is denied. */
const CHECK = '10 minutes';

const { over } = proxyLocalActivities<HolderActivities>({
  summary: 'find those who ended without giving back',
  startToCloseTimeout: '20 seconds',
  localRetryThreshold: '2 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '10 seconds' },
});

/**
 * `budget/<workload key>`, one per workload that is under remediation: no two remediations, of whichever rules and runbooks,
 * take more of it than may be unavailable. It ends when nobody has a place, and the next request starts it again.
 */
export async function budget(input: BudgetInput): Promise<void> {
  const ledger = new BudgetLedger(input);
  let [heard, signals, updates] = [input.state !== undefined, 0, 0];
  let checking: Promise<void> | undefined;
  /** Those who are denied at the same time share a look. */
  const check = (): Promise<void> => {
    checking ??= look(ledger).finally(() => {
      checking = undefined;
    });
    return checking;
  };

  setHandler(reserve, async (request) => {
    heard = true;
    updates += 1;
    if (ledger.isSuspicious(request, Date.now())) await check();
    return ledger.reserve(request);
  });
  setHandler(free, (runId) => {
    signals += 1;
    ledger.free(runId);
  });
  setHandler(state, () => ledger.carry());

  const isFull = (): boolean =>
    workflowInfo().continueAsNewSuggested || signals >= MAX_SIGNALS || updates >= MAX_UPDATES;
  await condition(() => heard);
  for (;;) {
    if (!(await condition(() => isFull() || ledger.idle, CHECK))) await check();
    // Who is being answered may take a place.
    await condition(allHandlersFinished);
    if (isFull()) await continueAsNew<typeof budget>({ workload: input.workload, state: ledger.carry() });
    if (ledger.idle) return;
  }
}

async function look(ledger: BudgetLedger): Promise<void> {
  const holders = ledger.holders();
  if (holders.length > 0) ledger.checked(holders, await over(holders), Date.now());
}
