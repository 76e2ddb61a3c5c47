import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { Config } from '../model/config.ts';
import { action, type Context } from './command.ts';
import { note, paint, print, printJson } from './output.ts';
import { AS_PAGE, writePage } from './report.ts';
import { type CliError, EXIT, type ExitStatus } from './status.ts';

export function show(program: Command): void {
  program
    .command('show')
    .description("one run's story: what was found, decided and changed")
    .argument('<id>', 'at least 8 characters of its ID, or a target key, which means its latest run')
    .option(...AS_PAGE)
    .action(
      action(async (context, meant: string, { html }: { html?: string }) => {
        // The page is that of `salvor report`: one piece of code, so that the two never tell different things.
        if (html !== undefined) return await writePage(context, meant, html);
        const [{ loadConfig }, { reached }, { withClient }, { NoRunError, UnknownRunError }] = await Promise.all([
          import('./configuration.ts'),
          import('./store.ts'),
          import('./temporal.ts'),
          import('./runs.ts'),
        ]);
        const { config } = await loadConfig(context);
        const shown = await reached(withClient(config, (client) => tell(context, client, meant))).catch(
          (error: unknown) => {
            if (error instanceof UnknownRunError || error instanceof NoRunError) return { out: error };
            throw error;
          },
        );
        return shown.out ? await tellFromStore(context, config, meant, shown.out) : shown.answer;
      }),
    );
}

/** As Temporal knows it. @throws UnknownRunError, NoRunError where it does not */
async function tell(context: Context, client: Client, meant: string): Promise<ExitStatus> {
  const [
    { findRun, NoRunError, waitingAbout, waitingLines },
    { describe, fetchStory },
    { Trouble },
    { proposalJson, proposalLines, proposalOf },
  ] = await Promise.all([import('./runs.ts'), import('./story.ts'), import('./trouble.ts'), import('./proposal.ts')]);
  const run = await findRun(client, meant).catch((error: unknown) => {
    if (error instanceof NoRunError && error.pending.length > 0) return error;
    throw error;
  });
  if (run instanceof NoRunError) {
    if (context.json) printJson({ target: run.target, pending: run.pending });
    else print(run.message, ...(run.advice ? [paint('dim', run.advice)] : []));
    return EXIT.done;
  }
  const [told, waiting] = await Promise.all([
    fetchStory(client, run),
    // Whoever names a run by its ID means that one only.
    meant.includes('/') ? waitingAbout(client, run.target) : [],
  ]);
  const trouble = await new Trouble(client, run).look(true);
  const proposal = told.story && proposalOf(run, told.story);
  const more = [...(trouble === undefined ? [] : [trouble]), ...waitingLines(waiting)];
  if (context.json) {
    const beside = { ...(trouble !== undefined && { trouble }), ...(waiting.length > 0 && { waiting }) };
    printJson({ ...run, ...told, ...beside, ...(proposal && { proposal: proposalJson(proposal) }) });
    return EXIT.done;
  }
  print(...describe(run, told), ...more.flatMap((line) => ['', paint('yellow', line)]));
  if (proposal) print('', ...proposalLines(proposal));
  return EXIT.done;
}

/** As the audit store has it, where Temporal has forgotten it or is out of reach. @throws `instead` where it has not */
async function tellFromStore(context: Context, config: Config, meant: string, instead: CliError): Promise<ExitStatus> {
  const [{ reached, withStore }, { findStream }, { runOf, storyOfRecords }, { describe }] = await Promise.all([
    import('./store.ts'),
    import('./audit-find.ts'),
    import('./audit-story.ts'),
    import('./story.ts'),
  ]);
  const { answer: found, out } = await reached(
    withStore(config, async (store) => {
      const stream = await findStream(store, meant);
      return stream && { stream, records: await store.records(stream.id) };
    }),
  );
  if (out) note(out.message);
  if (found?.stream.kind !== 'remediation') throw instead;
  const { records } = found;
  const run = runOf(found.stream);
  const told = { story: storyOfRecords(run, records), source: 'audit' } as const;
  note(`${instead.status === EXIT.unknown ? instead.message : 'Temporal knows it no more'}: told from the audit store`);
  if (context.json) printJson({ ...run, ...told });
  else print(...describe(run, { ...told, records }));
  return EXIT.done;
}
