import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
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
        const [{ withTemporal }, { findRun }] = await Promise.all([import('./temporal.ts'), import('./runs.ts')]);
        return await withTemporal(context, async ({ client }) => follow(context, client, await findRun(client, meant)));
      }),
    );
}

/** Prints the story of a run as it grows (with `--json`: one object a line), until the run ends. */
export async function follow(context: Context, client: Client, run: Run): Promise<ExitStatus> {
  const [{ endingOf, readRun, statusOf }, { askStory, fetchStory, paintOutcome, timelineLine }] = await Promise.all([
    import('./runs.ts'),
    import('./story.ts'),
  ]);
  if (!context.json) print(`${run.target}  ${run.runbook}  id ${run.id}`);
  let told = 0;
  const tell = (story: Awaited<ReturnType<typeof askStory>>): void => {
    for (const line of story?.lines.slice(told) ?? []) print(context.json ? JSON.stringify(line) : timelineLine(line));
    told = Math.max(told, story?.lines.length ?? 0);
  };

  const end = new AbortController();
  const ended = endingOf(client, run).finally(() => end.abort());
  let silent = false;
  while (!end.signal.aborted) {
    const story = await askStory(client, run);
    if (story) tell(story);
    else if (!silent && !end.signal.aborted)
      note('no worker answers; waiting for one (is `salvor worker` or `salvor up` running?)');
    silent = story === undefined;
    await pause(EVERY, end.signal);
  }
  await ended;

  tell(await fetchStory(client, run));
  const over = await readRun(client, run.workflowId, run.id);
  if (context.json) print(JSON.stringify(over));
  else print(`${paintOutcome(over.outcome)}${over.reason ? `: ${over.reason}` : ''}`);
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
