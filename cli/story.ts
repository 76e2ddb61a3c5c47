import { type Client, isGrpcServiceError, QueryNotRegisteredError, ServiceError } from '@temporalio/client';
import type { Change, FieldValue } from '../model/change.ts';
import { formatDuration } from '../model/duration.ts';
import { MESSAGE } from '../model/names.ts';
import type { Story } from '../model/remediation.ts';
import { storyOf } from './history.ts';
import { paint, table } from './output.ts';
import type { Run } from './runs.ts';

/** Milliseconds that a worker has to tell a story; without one the server lets a query hang. */
const ANSWER_WITHIN = 3_000;

/** The story of a run: told by a worker, or, where none answers, read from the history. */
export async function fetchStory(client: Client, run: Run): Promise<Story | undefined> {
  return (
    (await askStory(client, run)) ?? storyOf(await client.workflow.getHandle(run.workflowId, run.id).fetchHistory())
  );
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

/** gRPC DEADLINE_EXCEEDED, FAILED_PRECONDITION (no poller seen lately), CANCELLED. */
const UNANSWERED: ReadonlySet<number> = new Set([1, 4, 9]);

function isUnanswered(error: unknown): boolean {
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) && UNANSWERED.has(cause.code);
}

const COLOURS: Record<string, 'green' | 'yellow' | 'red' | 'cyan'> = {
  remediated: 'green',
  recovered: 'green',
  'not-needed': 'green',
  observed: 'cyan',
  running: 'cyan',
  refused: 'yellow',
};

export const paintOutcome = (outcome: string): string => paint(COLOURS[outcome.trim()] ?? 'red', outcome);

/** `salvor show` for people. */
export function describe(run: Run, story: Story | undefined): string[] {
  const took = run.endedAt ? `, took ${lasted(run.startedAt, run.endedAt)}` : '';
  const lines = [
    `${paint('bold', run.target)}  ${run.runbook}  ${paintOutcome(run.outcome)}`,
    paint('dim', `id ${run.id}  rule ${run.rule}  mode ${run.mode}  started ${run.startedAt}${took}`),
    '',
    ...(story?.lines ?? []).map(timelineLine),
  ];
  if (story && story.changes.length > 0) lines.push('', paint('bold', 'Changes'), ...changeLines(story.changes));
  if (story && story.held.length > 0) {
    lines.push('', paint('bold', 'Still altered'));
    for (const { object, field, before, set, until } of story.held)
      lines.push(`  ${object.key}  ${field}: ${show(before)} → ${show(set)}, until ${until}`);
  }
  const plan = story?.ending?.plan;
  if (plan) lines.push('', paint('bold', 'It would have'), ...plan.map((step, at) => `  ${at + 1}. ${step}`));
  return lines;
}

export const timelineLine = ({ at, text }: Story['lines'][number]): string =>
  `  ${paint('dim', new Date(at).toLocaleTimeString('en-GB'))}  ${text}`;

const changeLines = (changes: Change[]): string[] =>
  table(
    changes.map(({ at, object, field, before, after }) => [
      `  ${new Date(at).toLocaleTimeString('en-GB')}`,
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
