import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { AuditRecord, AuditStore } from '../audit/store.ts';
import type { Config } from '../model/config.ts';
import { alertKey } from '../model/gates.ts';
import { action, type Context } from './command.ts';
import { note, print, printJson } from './output.ts';
import type { Run } from './runs.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { type Timeline, timelineOfRecords } from './timeline.ts';

/** The option of every command that can write the page. */
export const AS_PAGE = [
  '--html <file>',
  'as one page of HTML that needs nothing else, into this file (-: standard output)',
] as const;

interface Options {
  html?: string;
  text?: true;
}

export function remediationReport(program: Command): void {
  program
    .command('report')
    .description('what happened in one run, from the alert to the outcome, as text or as a page')
    .argument('<id>', 'at least 8 characters of its ID, or a target key, which means its latest run')
    .option(...AS_PAGE)
    .option('--text', 'as text, in UTC and without colours: to go along with a message')
    .action(action(report));
}

/** The page, for whichever command is asked for it. */
export async function writePage(context: Context, meant: string, file: string): Promise<ExitStatus> {
  await deliverPage(await timelineFor(context, meant), file);
  return EXIT.done;
}

async function report(context: Context, meant: string, { html, text }: Options): Promise<ExitStatus> {
  const timeline = await timelineFor(context, meant);
  if (html !== undefined) {
    await deliverPage(timeline, html);
    if (!text) return EXIT.done;
  }
  if (context.json) {
    printJson(timeline);
    return EXIT.done;
  }
  const [{ reportText }, { TERMINAL }] = await Promise.all([import('./report/text.ts'), import('./story.ts')]);
  print(...(text ? reportText(timeline) : reportText(timeline, TERMINAL)));
  return EXIT.done;
}

async function deliverPage(timeline: Timeline, file: string): Promise<void> {
  const { reportPage } = await import('./report/page.ts');
  const page = reportPage(timeline);
  if (file === '-') {
    process.stdout.write(page);
    return;
  }
  const { writeFile } = await import('node:fs/promises');
  try {
    await writeFile(file, page);
  } catch (error) {
    throw new CliError(`the report could not be written to ${file}: ${(error as Error).message}`, {
      status: EXIT.failed,
      advice: 'Name another file; `--html -` writes to standard output.',
      cause: error,
    });
  }
  note(`written to ${file}`);
}

/**
 * The audit store tells it, for its word can be proved; where it has no end of the run, Temporal does. The one is not
 * needed where the other knows.
 *
 * @throws CliError where neither knows of such a run, or whoever may know cannot be reached
 */
async function timelineFor(context: Context, meant: string): Promise<Timeline> {
  const [{ loadConfig }, { withClient }, { reached }] = await Promise.all([
    import('./configuration.ts'),
    import('./temporal.ts'),
    import('./store.ts'),
  ]);
  const { config } = await loadConfig(context);
  const told = await reached(
    withClient(config, (client) => ofRun(config, client, meant)).catch((error: unknown) => {
      if (error instanceof CliError && error.status === EXIT.failed) return error;
      throw error;
    }),
  );
  if (told.answer && !(told.answer instanceof CliError)) return told.answer;
  // Temporal has forgotten it, or cannot be reached.
  const unknown = told.answer ?? told.out;
  const kept = await reached(keptOf(config, meant));
  if (kept.answer) {
    if (told.out) note(`${told.out.message}: this is what the audit store has`);
    return kept.answer;
  }
  if (kept.out) note(kept.out.message);
  throw unknown;
}

async function ofRun(config: Config, client: Client, meant: string): Promise<Timeline> {
  const [{ findRun }, { fetchStory, timelineOf }, { reached }] = await Promise.all([
    import('./runs.ts'),
    import('./story.ts'),
    import('./store.ts'),
  ]);
  const run: Run = await findRun(client, meant);
  const kept = await reached(keptOf(config, run.id));
  if (kept.answer?.endedAt) return kept.answer;
  if (kept.out) note(`${kept.out.message}: this is what Temporal has`);
  return timelineOf(run, await fetchStory(client, run));
}

/** What the audit store has of it; undefined where it has nothing. */
async function keptOf(config: Config, meant: string): Promise<Timeline | undefined> {
  const [{ withStore }, { findStream }] = await Promise.all([import('./store.ts'), import('./audit-find.ts')]);
  return await withStore(config, async (store) => {
    const stream = await findStream(store, meant);
    if (stream?.kind !== 'remediation') return undefined;
    const records = await store.records(stream.id);
    return timelineOfRecords(records, await decisionsOn(store, records[0]));
  });
}

/** What its responder decided on the same request while it waited. */
async function decisionsOn(store: AuditStore, begun: AuditRecord | undefined): Promise<AuditRecord[]> {
  if (begun?.entry.kind !== 'begun') return [];
  const { target, rule, alert } = begun.entry;
  const decisions: AuditRecord[] = [];
  for await (const record of store.export({ target, rule: rule.name, to: begun.at })) {
    const { entry } = record;
    if (entry.kind === 'decision' && entry.target === target && alertKey(entry.alert) === alertKey(alert))
      decisions.push(record);
  }
  return decisions;
}
