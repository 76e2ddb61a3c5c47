import { type Client, QueryNotRegisteredError } from '@temporalio/client';
import type { AuditRecord } from '../audit/store.ts';
import { MESSAGE } from '../model/names.ts';
import type { Story } from '../model/remediation.ts';
import { askedFor, type CancelRequest, cancelOf, storyOf } from './history.ts';
import { joined, pendingLooks } from './looks.ts';
import { paint } from './output.ts';
import { colourOf, planText, printable, reportText, type Style } from './report/text.ts';
import type { Run } from './runs.ts';
import { isUnanswered } from './silence.ts';
import { withPendingStates } from './states.ts';
import { type Entry, lasted, type Timeline, timelineOfRecords, timelineOfStory } from './timeline.ts';
import { clock, dateAndTime, localized, zone } from './times.ts';

export { lasted };

/** Milliseconds that a worker has to tell a story; without one the server lets a query hang. */
const ANSWER_WITHIN = 3_000;

export interface Told {
  /** Undefined where the history is not one of a remediation. */
  story?: Story;
  /** Who told it: a worker, or, where none answers, the history; or the audit store, where Temporal knows it no more. */
  source: 'worker' | 'history' | 'audit';
  /** Of the audit store: its records, which tell more than a story does. */
  records?: AuditRecord[];
  cancel?: CancelRequest;
}

/** All that is known of a run. */
export async function fetchStory(client: Client, run: Run): Promise<Told> {
  const [told, history, looks] = await Promise.all([
    askStory(client, run),
    client.workflow.getHandle(run.workflowId, run.runId ?? run.id).fetchHistory(),
    pendingLooks(client, run),
  ]);
  const found = told ?? storyOf(history);
  const story = found && (await withPendingStates(client, run, found));
  // A watch tells the workflow what it has seen only when a decision changes.
  if (story && looks) story.chart = joined(story.chart, looks);
  const cancel = cancelOf(history);
  return { ...(story && { story }), source: told ? 'worker' : 'history', ...(cancel && { cancel }) };
}

/** @returns undefined where no worker answers */
export async function askStory(client: Client, run: Run): Promise<Story | undefined> {
  try {
    return await client.withDeadline(Date.now() + ANSWER_WITHIN, () =>
      client.workflow.getHandle(run.workflowId, run.runId ?? run.id).query<Story>(MESSAGE.story),
    );
  } catch (error) {
    if (error instanceof QueryNotRegisteredError || isUnanswered(error)) return undefined;
    throw error;
  }
}

/** Columns of the terminal; what is no terminal is read at this width. */
const widthOf = ({ columns = 80 }: { columns?: number }): number => Math.max(20, columns);

export const paintOutcome = (outcome: string): string => paint(colourOf(outcome.trim()), outcome);

/** For people at a terminal: in its colours, and in this machine's time. */
export const TERMINAL: Style = {
  paint,
  clock,
  dateAndTime,
  sentence: localized,
  zone: zone(),
  width: widthOf(process.stdout),
};

/** What happened in a run, as far as it is told. A worker tells what it did; who cancelled it the server knows. */
export function timelineOf(run: Run, { story, source, cancel, records }: Told): Timeline {
  const recorded = records && timelineOfRecords(records);
  if (recorded) return recorded;
  const asked: Entry[] = cancel ? [{ at: cancel.at, part: 'decision', text: askedFor(cancel) }] : [];
  const now = source === 'audit' ? undefined : new Date().toISOString();
  return timelineOfStory(run, story, source, source === 'worker' ? asked : [], now);
}

/** `salvor show` for people. */
export const describe = (run: Run, told: Told): string[] => reportText(timelineOf(run, told), TERMINAL);

export const planLines = (plan: string[] | undefined): string[] => planText(plan, TERMINAL);

export const timelineLine = ({ at, text }: Story['lines'][number]): string =>
  `  ${paint('dim', clock(at))}  ${localized(printable(text))}`;
