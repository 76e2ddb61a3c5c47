import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { Story } from '../model/remediation.ts';
import { action, type Context } from './command.ts';
import { note, print } from './output.ts';
import type { Run } from './runs.ts';
import type { ExitStatus } from './status.ts';

/** Milliseconds between two looks: a query costs a worker a replay at most, and writes no history. */
const EVERY = 1_000;

export function watch(program: Command): void {
  program
    .command('watch')
    .description("one run's story, live until its end; the exit status tells how it ended")
    .argument('<id>', 'at least 8 characters of its ID, or a target key, which means its latest run')
    .action(
      action(async (context, meant: string) => {
        const [{ withTemporal }, { findRun, waitingAbout, waitingLines }] = await Promise.all([
          import('./temporal.ts'),
          import('./runs.ts'),
        ]);
        return await withTemporal(context, async ({ client }) => {
          const run = await findRun(client, meant);
          // What has ended is not what somebody who names a target waits for.
          if (run.endedAt !== undefined && meant.includes('/'))
            note(...waitingLines(await waitingAbout(client, run.target)));
          return await follow(context, client, run);
        });
      }),
    );
}

/** Prints the story of a run as it grows (with `--json`: one object a line), until the run ends. */
export async function follow(context: Context, client: Client, run: Run): Promise<ExitStatus> {
  const [
    { endingOf, readRun, statusOf },
    { askStory, fetchStory, paintOutcome, planLines, timelineLine },
    { Trouble },
    { localized, zone },
    { printable },
  ] = await Promise.all([
    import('./runs.ts'),
    import('./story.ts'),
    import('./trouble.ts'),
    import('./times.ts'),
    import('./report/text.ts'),
  ]);
  if (!context.json) print(`${run.target}  ${run.runbook}  id ${run.id}  (times in ${zone()})`);
  let told = 0;
  const tell = (story: Story | undefined): void => {
    for (const line of story?.lines.slice(told) ?? []) print(context.json ? JSON.stringify(line) : timelineLine(line));
    told = Math.max(told, story?.lines.length ?? 0);
  };

  const end = new AbortController();
  const ended = endingOf(client, run).finally(() => end.abort());
  const trouble = new Trouble(client, run);
  let noted: string | undefined;
  while (!end.signal.aborted) {
    const story = await askStory(client, run);
    tell(story);
    const seen = end.signal.aborted ? undefined : await trouble.look(story !== undefined);
    if (seen !== undefined && seen !== noted) note(seen);
    noted = seen ?? noted;
    await pause(EVERY, end.signal);
  }
  const plan = (await ended)?.plan;

  const { story, cancel } = await fetchStory(client, run);
  tell(story);
  const over = await readRun(client, run.workflowId, run.id);
  if (context.json) print(JSON.stringify({ ...over, ...(cancel && { cancel }), ...(plan && { plan }) }));
  else {
    const by = cancel ? ` (asked for by ${cancel.by}${cancel.reason ? `: ${cancel.reason}` : ''})` : '';
    print(
      `${paintOutcome(over.outcome)}${over.reason ? `: ${localized(printable(over.reason))}` : ''}${by}`,
      ...planLines(plan),
    );
  }
  return statusOf(over.outcome);
}

/** Ends early when the signal is given. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
