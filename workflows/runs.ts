import { makeContinueAsNewFunc, workflowInfo } from '@temporalio/workflow';
import { FIRST_RUN_MEMO, type FirstRun, WORKFLOW } from '../model/names.ts';
import type { CarriedRun, Ending, RemediationInput, Story } from '../model/remediation.ts';

/** The story of a remediation that begins. */
export function newStory({ target, rule, alert, proposes }: RemediationInput): Story {
  return {
    target,
    rule: rule.name,
    runbook: rule.runbook,
    mode: proposes ? 'propose' : rule.mode,
    alert: { name: alert.alertname, startsAt: alert.startsAt },
    phase: 'diagnose',
    next: { what: 'look at it' },
    lines: [],
    changes: [],
    held: [],
  };
}

/** Of the story, the latest that a next run is given. */
const MOST_LINES = 300;
const MOST_CHANGES = 300;

/** Ends this run, and begins the next one, whose memo says of which it is a part. */
export function goOnAsNew(input: RemediationInput, { story, ...run }: CarriedRun): Promise<never> {
  const { lines, changes } = story;
  const kept = { ...story, lines: lines.slice(-MOST_LINES), changes: changes.slice(-MOST_CHANGES) };
  const { memo, firstExecutionRunId: id, startTime } = workflowInfo();
  const first: FirstRun = (memo?.[FIRST_RUN_MEMO] as FirstRun | undefined) ?? {
    id,
    startedAt: startTime.toISOString(),
  };
  const next = makeContinueAsNewFunc<(input: RemediationInput) => Promise<Ending>>({
    workflowType: WORKFLOW.remediation,
    memo: { ...memo, [FIRST_RUN_MEMO]: first },
  });
  return next({ ...input, carried: { ...run, story: kept } });
}

/** Events of a history from which a run goes on in a new one, where the server does not say so before. */
const MOST_EVENTS = 2_000;

/** Whether the history of this run has become long. */
export function isLong(most = MOST_EVENTS): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo();
  return continueAsNewSuggested || historyLength >= most;
}
