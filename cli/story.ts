import { type Client, QueryNotRegisteredError } from '@temporalio/client';
import type { Change, FieldValue } from '../model/change.ts';
import { formatDuration } from '../model/duration.ts';
import { MESSAGE } from '../model/names.ts';
import type { Story } from '../model/remediation.ts';
import { askedFor, type CancelRequest, cancelOf, storyOf } from './history.ts';
import { paint, table } from './output.ts';
import type { Run } from './runs.ts';
import { isUnanswered } from './silence.ts';
import { clock, dateAndTime, localized, zone } from './times.ts';

/** Milliseconds that a worker has to tell a story; without one the server lets a query hang. */
const ANSWER_WITHIN = 3_000;

export interface Told {
  /** Undefined where the history is not one of a remediation. */
  story?: Story;
  /** Who told it: a worker, or, where none answers, the history. */
  source: 'worker' | 'history';
  cancel?: CancelRequest;
}

/** All that is known of a run. */
export async function fetchStory(client: Client, run: Run): Promise<Told> {
  const [told, history] = await Promise.all([
    askStory(client, run),
    client.workflow.getHandle(run.workflowId, run.id).fetchHistory(),
  ]);
  const story = told ?? storyOf(history);
  const cancel = cancelOf(history);
  return { ...(story && { story }), source: told ? 'worker' : 'history', ...(cancel && { cancel }) };
}

/** @returns undefined where no worker answers */
export async function askStory(client: Client, run: Run): Promise<Story | undefined> {
  try {
    return await client.withDeadline(Date.now() + ANSWER_WITHIN, () =>
      client.workflow.getHandle(run.workflowId, run.id).query<Story>(MESSAGE.story),
    );
  } catch (error) {
    if (error instanceof QueryNotRegisteredError || isUnanswered(error)) return undefined;
    throw error;
  }
}

const COLOURS: Record<string, 'green' | 'yellow' | 'red' | 'cyan'> = {
  remediated: 'green',
  recovered: 'green',
  'not-needed': 'green',
  observed: 'cyan',
  running: 'cyan',
  refused: 'yellow',
  waiting: 'yellow',
};

export const paintOutcome = (outcome: string): string => paint(COLOURS[outcome.trim()] ?? 'red', outcome);

/** `salvor show` for people. */
export function describe(run: Run, { story, source, cancel }: Told): string[] {
  const took = run.endedAt ? `, took ${lasted(run.startedAt, run.endedAt)}` : '';
  const started = `${dateAndTime(run.startedAt)} (${zone()})`;
  const lines = [
    `${paint('bold', run.target)}  ${run.runbook}  ${paintOutcome(run.outcome)}`,
    paint('dim', `id ${run.id}  rule ${run.rule}  mode ${run.mode}  started ${started}${took}`),
    ...(source === 'history' ? [paint('yellow', 'no worker answers; read from the history')] : []),
    '',
    ...linesOf(story, source === 'worker' ? cancel : undefined).map(timelineLine),
  ];
  if (story && story.changes.length > 0) lines.push('', paint('bold', 'Changes'), ...changeLines(story.changes));
  if (story && story.held.length > 0) {
    lines.push('', paint('bold', source === 'worker' ? 'Still altered' : 'Still altered, as far as the history tells'));
    for (const { object, field, before, set, until } of story.held)
      lines.push(`  ${object.key}  ${field}: ${show(before)} → ${show(set)}, until ${dateAndTime(until)}`);
  }
  return [...lines, ...planLines(story?.ending?.plan)];
}

/** What a run that observes would have done. */
export const planLines = (plan: string[] | undefined): string[] =>
  plan ? ['', paint('bold', 'It would have'), ...plan.map((step, at) => `  ${at + 1}. ${step}`)] : [];

/** A worker tells what it did; who cancelled it the server knows. */
function linesOf(story: Story | undefined, cancel: CancelRequest | undefined): Story['lines'] {
  const lines = story?.lines ?? [];
  if (!cancel) return lines;
  return [...lines, { at: cancel.at, text: askedFor(cancel) }].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

export const timelineLine = ({ at, text }: Story['lines'][number]): string =>
  `  ${paint('dim', clock(at))}  ${localized(text)}`;

const changeLines = (changes: Change[]): string[] =>
  table(
    changes.map(({ at, object, field, before, after }) => [
      `  ${clock(at)}`,
      object.key,
      field,
      `${show(before)} → ${show(after)}`,
    ]),
    (text, column) => (column === 0 ? paint('dim', text) : text),
  );

const show = (value: FieldValue): string => (value === null ? 'absent' : JSON.stringify(value));

/** `1m12s`, `850ms`; whole seconds from a minute on. */
export function lasted(from: string, to: string): string {
  const ms = Math.max(0, Date.parse(to) - Date.parse(from));
  return formatDuration(ms < 10_000 ? ms : Math.round(ms / 1000) * 1000);
}
