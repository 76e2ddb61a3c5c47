import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { AuditStore } from '../audit/store.ts';
import type { Config } from '../model/config.ts';
import type { HoldingRegistry } from '../providers/registry.ts';
import type { Altered, Gathered } from './audit-held.ts';
import type { Released } from './audit-release.ts';
import { action, type Context } from './command.ts';
import { note, paintError, print, printJson, table } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

interface Options {
  all?: boolean;
  yes?: boolean;
  dryRun?: boolean;
  force?: boolean;
}

export function release(program: Command): void {
  program
    .command('release')
    .description(
      'give back what Salvor has altered, from the audit store and the objects themselves; needs no Temporal',
    )
    .argument('[id]', 'a remediation: at least 8 characters of its ID, or a target key; `salvor held` shows them')
    .option('--all', 'all that is held')
    .option('-y, --yes', 'do not ask')
    .option('--dry-run', 'say what would be given back, and touch nothing')
    .option('--force', 'also what a remediation holds that still runs')
    .action(action(run));
}

async function run(context: Context, meant: string | undefined, options: Options): Promise<ExitStatus> {
  if ((meant === undefined) !== (options.all === true)) {
    throw new CliError('give either the ID of a remediation, or --all', {
      status: EXIT.usage,
      advice: '`salvor held` shows what is held, and by which.',
    });
  }
  const [{ loadConfig }, { openStore }, { createRegistry }, { gather, messageOf }] = await Promise.all([
    import('./configuration.ts'),
    import('./store.ts'),
    import('../providers/registry.ts'),
    import('./audit-held.ts'),
  ]);
  const { config } = await loadConfig(context);
  const registry = createRegistry(config);
  // Whatever is the matter with the store, the objects themselves say what is held on them.
  const store = await openStore(config).catch(messageOf);
  try {
    const found = await gather(store, registry.places());
    const chosen = meant === undefined ? found.altered : choose(found.altered, meant);
    const given = { config, registry, store: typeof store === 'string' ? undefined : store, options, meant };
    return await giveBack(context, given, found, chosen);
  } finally {
    await Promise.all([typeof store === 'string' ? undefined : store.close(), registry.close()]);
  }
}

interface Given {
  config: Config;
  registry: HoldingRegistry;
  store: AuditStore | undefined;
  options: Options;
  /** undefined: all that is held */
  meant: string | undefined;
}

/** @throws CliError where more than one remediation is meant, or too little of an ID is given */
function choose(altered: Altered[], meant: string): Altered[] {
  if (meant.includes('/')) return altered.filter(({ held, target }) => target === meant || held.object.key === meant);
  if (!/^[0-9a-f-]{8,36}$/.test(meant)) {
    throw new CliError(`"${meant}" names no remediation`, {
      status: EXIT.usage,
      advice: 'Give a target key (k8s/prod/shop/pod/web-0) or at least 8 characters of an ID from `salvor held`.',
    });
  }
  const chosen = altered.filter(({ held }) => held.remediation.startsWith(meant));
  const ids = [...new Set(chosen.map(({ held }) => held.remediation))];
  if (ids.length < 2) return chosen;
  throw new CliError(
    `"${meant}" begins the ID of more than one remediation:\n${ids.map((id) => `  ${id}`).join('\n')}`,
    {
      status: EXIT.usage,
      advice: 'Give more characters of it.',
    },
  );
}

async function giveBack(
  context: Context,
  { config, registry, store, options, meant }: Given,
  found: Gathered,
  chosen: Altered[],
): Promise<ExitStatus> {
  const { dryRun = false, force = false } = options;
  note(...problemsOf(found));
  const [{ isOver, Recorder, releaseOne, stillRunning }, { person }, { messageOf }] = await Promise.all([
    import('./audit-release.ts'),
    import('./temporal.ts'),
    import('./audit-held.ts'),
  ]);
  const running = chosen.length === 0 ? new Set<string>() : await stillRunning(config, chosen);
  if (typeof running === 'string') note(`${running}; so nobody can tell which remediations still run there`);
  const isFree = ({ held }: Altered): boolean => force || typeof running === 'string' || !running.has(held.remediation);
  if (!dryRun && !options.yes && !(await isWanted(chosen.filter(isFree)))) {
    note('nothing was given back');
    return EXIT.refused;
  }
  const recorder = store && found.storeProblem === undefined ? new Recorder(store, person()) : undefined;
  let lost: string | undefined;
  const results: Released[] = [];
  for (const altered of chosen) {
    if (!isFree(altered)) {
      results.push({ altered, result: 'running', why: STILL_RUNS, changes: [], recorded: false });
      continue;
    }
    const released = await releaseOne(registry, altered, dryRun);
    const recorded =
      !dryRun && isOver(released) && lost === undefined && recorder !== undefined
        ? await recorder.record(released).catch((error: unknown) => {
            lost = messageOf(error);
            return false;
          })
        : false;
    results.push({ ...released, recorded });
  }
  if (lost !== undefined) note(lost);
  await tell(context, results, { dryRun, unknown: typeof running === 'string' });
  if (results.length === 0 && !context.json)
    note(
      meant === undefined
        ? `nothing is ${isBlind(found) ? 'known to be ' : ''}held`
        : `nothing is known to be held by ${meant}; \`salvor held\` shows all that is held`,
    );
  return statusOf(results, found, options.all === true);
}

const STILL_RUNS =
  'its remediation still runs: `salvor cancel` stops it and gives it back; --force does not wait for that';

function problemsOf({ storeProblem, placeProblems, unreadable }: Gathered): string[] {
  const alone = storeProblem === undefined ? [] : [`${storeProblem}: going on with what the objects themselves say`];
  return [...alone, ...placeProblems, ...unreadable.map((one) => `${one}: a person must look`)];
}

/** Asks where somebody is there to answer. */
async function isWanted(altered: Altered[]): Promise<boolean> {
  if (altered.length === 0 || !process.stdin.isTTY || !process.stderr.isTTY) return true;
  const { alteredTable } = await import('./audit-held.ts');
  note(...alteredTable(altered));
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((resolve) => asking.once('close', () => resolve('')));
  asking.once('SIGINT', () => process.exit(EXIT.interrupted));
  const question = asking.question(`Give ${altered.length === 1 ? 'it' : `these ${altered.length}`} back? [y/N] `);
  const answer = await Promise.race([question, closed]);
  asking.close();
  return /^y(es)?$/i.test(answer.trim());
}

async function tell(
  context: Context,
  results: Released[],
  { dryRun, unknown }: { dryRun: boolean; unknown: boolean },
): Promise<void> {
  if (context.json) {
    printJson(results.map(({ altered, ...rest }) => ({ ...altered.held, ...rest, dryRun })));
    return;
  }
  if (results.length > 0) {
    const [{ printable }, { localized }, { shortId }] = await Promise.all([
      import('./report/text.ts'),
      import('./times.ts'),
      import('./runs.ts'),
    ]);
    const rows = results.map(({ altered: { held }, result, why }) => [
      dryRun && result === 'given-back' ? 'would be given back' : result.replace('-', ' '),
      printable(held.object.key),
      printable(shortId(held.remediation)),
      localized(printable(why)),
    ]);
    print(...table(rows, (text) => text));
  }
  const { isOver } = await import('./audit-release.ts');
  const missing = dryRun ? [] : results.filter((one) => isOver(one) && !one.recorded);
  if (missing.length > 0) {
    const of = missing.length === 1 ? 'One of these is' : `${missing.length} of these are`;
    note(
      paintError(
        'yellow',
        `${of} missing from the audit: the store was not there, or knows nothing of the remediation.`,
      ),
    );
  }
  if (unknown && !dryRun && results.length > 0)
    note(
      'When Temporal is back: `salvor list --outcome running` shows what goes on there, `salvor cancel ID` ends it.',
    );
}

/** The worst of them decides. @param all whether everything was meant, also what nobody could read */
function statusOf(results: Released[], found: Gathered, all: boolean): ExitStatus {
  const has = (...some: Released['result'][]): boolean => results.some(({ result }) => some.includes(result));
  if (has('failed', 'unclear') || (all && found.unreadable.length > 0)) return EXIT.failed;
  if (has('unreached') || ((all || results.length === 0) && isBlind(found))) return EXIT.unknown;
  return has('running') ? EXIT.refused : EXIT.done;
}

/** Whether there may be more that nobody knows of: the store and a cluster were silent, or there was nobody to ask. */
const isBlind = ({ storeProblem, placeProblems, answered }: Gathered): boolean =>
  !answered || (storeProblem !== undefined && placeProblems.length > 0);
