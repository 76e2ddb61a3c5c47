import { type Command, InvalidArgumentError, Option } from 'commander';
import type { AuditStore, StreamSummary, Verification } from '../audit/store.ts';
import type { Format } from './audit-export.ts';
import { count, type FilterOptions, filterOf, withFilters } from './audit-filter.ts';
import { action, type Context } from './command.ts';
import { note, paint, print, printJson, table } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

export function audit(program: Command): void {
  const group = program
    .command('audit')
    .description('the record of every decision and change, kept after Temporal has forgotten');
  withFilters(group.command('list'))
    .description(
      'remediations, what was made to wait or was refused, and what people have paused or resumed, the latest first',
    )
    .option('--limit <n>', 'at most so many', count, 50)
    .action(action(list));
  group
    .command('show')
    .description('all records of one run, or of one responder')
    .argument('<id>', 'at least 8 characters of its ID, or a target key, which means its latest run')
    .action(action(show));
  withFilters(group.command('export'))
    .description('all records, in the order in which they were written')
    .addOption(new Option('--format <format>', 'JSON Lines, or CSV').choices(['jsonl', 'csv']).default('jsonl'))
    .option('-o, --output <file>', 'write to this file, not to standard output')
    .action(action(exportRecords));
  group
    .command('verify')
    .description('check every record and the chain; exits with 1 where one was altered, removed, inserted or moved')
    .option('--anchor <number:hash>', 'the head that an earlier verification gave: it must be in the chain', anchor)
    .addOption(new Option('--anchor-file <file>', 'likewise, in a file kept elsewhere').conflicts('anchor'))
    .action(action(verify));
}

/** The store is opened with the configuration that the command line means. */
async function inStore<T>(context: Context, use: (store: AuditStore) => Promise<T>): Promise<T> {
  const [{ loadConfig }, { withStore }] = await Promise.all([import('./configuration.ts'), import('./store.ts')]);
  const { config } = await loadConfig(context);
  return await withStore(config, use);
}

async function list(context: Context, options: FilterOptions): Promise<ExitStatus> {
  const lines = await inStore(context, (store) => store.list(filterOf(options)));
  if (context.json) printJson(lines);
  else if (lines.length === 0) note('nothing on record');
  else {
    const [{ printable }, { paintOutcome }, { shortId }, { dateAndTime, localized, zone }] = await Promise.all([
      import('./report/text.ts'),
      import('./story.ts'),
      import('./runs.ts'),
      import('./times.ts'),
    ]);
    const head = ['ID', `AT (${zone()})`, 'OUTCOME', 'RULE', 'TARGET', 'BY', 'REASON'];
    const rows = lines.map(({ stream, at, outcome, rule, target, by, reason }) => [
      shortId(stream),
      dateAndTime(at),
      outcome,
      rule,
      target ?? '-',
      printable(by ?? '-'),
      localized(printable(reason)),
    ]);
    print(
      ...table([head, ...rows], (text, column, row) => {
        if (row === 0) return paint('bold', text);
        if (column === 2) return paintOutcome(text);
        return column === 1 ? paint('dim', text) : text;
      }),
    );
    if (lines.length === options.limit) note('there may be more: --limit N');
  }
  return EXIT.done;
}

async function show(context: Context, meant: string): Promise<ExitStatus> {
  const { findStream } = await import('./audit-find.ts');
  const [stream, records] = await inStore(context, async (store) => {
    const found = await findStream(store, meant);
    if (!found) throw nothingOf(meant);
    return [found, await store.records(found.id)] as const;
  });
  if (context.json) {
    printJson({ ...stream, recorded: records });
    return EXIT.done;
  }
  const [{ printable }, { wordsOf }, { dateAndTime, localized, zone }] = await Promise.all([
    import('./report/text.ts'),
    import('./audit-text.ts'),
    import('./times.ts'),
  ]);
  const rows = records.map(({ seq, at, entry }) => [
    `  ${seq}`,
    dateAndTime(at),
    entry.kind,
    localized(printable(wordsOf(entry))),
  ]);
  print(
    ...headOf(stream),
    paint('dim', `times in ${zone()}`),
    ...table(rows, (text, column) => (column < 2 ? paint('dim', text) : text)),
  );
  return EXIT.done;
}

function headOf({ id, workflowId, target, rule, outcome, records, head, sealed }: StreamSummary): string[] {
  const chained = sealed ? 'in the log' : 'not in the log yet';
  return [
    `${paint('bold', target ?? workflowId)}  rule ${rule}  ${outcome}`,
    paint('dim', `id ${id}  ${records} records, ${chained}, the last one's hash ${head}`),
  ];
}

const nothingOf = (meant: string): CliError =>
  new CliError(`nothing is on record of "${meant}"`, {
    status: EXIT.failed,
    advice: '`salvor audit list` shows what is; an ID is that of a run, with at least 8 characters of it.',
  });

interface ExportOptions extends FilterOptions {
  format: Format;
  output?: string;
}

async function exportRecords(context: Context, { format, output, ...options }: ExportOptions): Promise<ExitStatus> {
  const { writeRecords } = await import('./audit-export.ts');
  const records = await inStore(context, (store) => writeRecords(store.export(filterOf(options)), format, output));
  if (output !== undefined && context.json) printJson({ records, file: output });
  else note(`${records} records${output === undefined ? '' : ` in ${output}`}`);
  return EXIT.done;
}

async function verify(context: Context, options: { anchor?: string; anchorFile?: string }): Promise<ExitStatus> {
  const { anchorFile } = options;
  const meant = anchorFile === undefined ? options.anchor : await readAnchor(anchorFile);
  const [where, found] = await inStore(context, async (store) => [store.location, await store.verify(meant)] as const);
  if (context.json) printJson(found);
  else print(...verdictOf(where, found, meant));
  return found.faults.length === 0 ? EXIT.done : EXIT.failed;
}

function verdictOf(
  where: string,
  { streams, records, sealed, unsealed, head, faults }: Verification,
  anchored?: string,
) {
  const size = `${records} records of ${streams} streams, ${sealed} entries in the log`;
  const open = unsealed > 0 ? [`${unsealed} records are not in the log yet`] : [];
  const next = head ? [`head ${head.number}:${head.hash}`] : [];
  if (faults.length > 0) {
    const named = faults.map(({ kind, stream, message }) => {
      const where = stream === undefined ? '' : `stream ${stream}: `;
      return `  ${paint('red', kind)}  ${where}${message}`;
    });
    return [paint('red', `${where} is not as it was written: ${size}`), ...named, ...open, ...next];
  }
  const since = anchored === undefined ? '' : ', and goes on from the anchor';
  const keep = head ? [paint('dim', 'Keep the head elsewhere: it is the --anchor of the next verification.')] : [];
  return [`${paint('green', 'sound')}${since}: ${size}, in ${where}`, ...open, ...next, ...keep];
}

const ANCHOR = /^\d{1,15}:[0-9a-f]{64}$/;

function anchor(text: string): string {
  if (ANCHOR.test(text)) return text;
  throw new InvalidArgumentError('Give the head that an earlier verification printed: its number, a colon, its hash.');
}

/** A file that has the head, with or without the word that is printed before it. */
async function readAnchor(file: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`the anchor ${file} cannot be read (${error.code ?? 'unknown error'})`, {
      status: EXIT.usage,
      cause: error,
    });
  });
  const found = text.trim().replace(/^head\s+/, '');
  if (ANCHOR.test(found)) return found;
  throw new CliError(`${file} holds no anchor`, {
    status: EXIT.usage,
    advice: 'It is the head that an earlier `salvor audit verify` printed: its number, a colon, its hash.',
  });
}
