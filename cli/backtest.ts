import type { Command } from 'commander';
import type { AuditRecord, AuditStore } from '../audit/store.ts';
import type { Recorded } from '../backtest/record.ts';
import type { Config } from '../model/config.ts';
import { nearest } from '../model/nearest.ts';
import { pointInTime } from './audit-filter.ts';
import { action, type Context } from './command.ts';
import { print, printJson } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { dateAndTime } from './times.ts';

interface Options {
  /** ISO time. */
  since?: string;
  rule?: string;
}

const SINCE = '30d';
const DAY = 86_400_000;

export function backtest(program: Command): void {
  program
    .command('backtest')
    .description('recorded alerts through a changed configuration: which decisions would differ; touches nothing')
    .argument('<file>', 'the changed configuration')
    .option('--since <time>', `alerts from then on: how long ago (7d, 12h), or a time (default: ${SINCE})`, pointInTime)
    .option('--rule <name>', 'only decisions of this rule, by the record or by the changed configuration')
    .action(action(run));
}

async function run(context: Context, file: string, { since = pointInTime(SINCE), rule }: Options): Promise<ExitStatus> {
  const changed = await readChanged(file);
  const { location, recorded } = await readStore(
    context,
    new Date(Date.parse(since) - lead(changed)).toISOString(),
    changed,
  );
  if (rule !== undefined) checkRule(rule, changed, recorded);
  const [{ backtest: compare }, { describe, unknownOf }] = await Promise.all([
    import('../backtest/backtest.ts'),
    import('./backtest-text.ts'),
  ]);
  const result = compare(recorded, changed, { from: Date.parse(since), ...(rule !== undefined && { rule }) });
  if (result.compared === 0) {
    const what = rule === undefined ? 'no decision' : `no decision of rule ${rule}`;
    const leftOut = result.unknown.leftOut > 0 ? `; ${unknownOf(result).join('; ')}` : '';
    throw new CliError(`${what} since ${dateAndTime(since)} is on record in ${location}${leftOut}`, {
      status: EXIT.unknown,
      advice: 'Choose an earlier --since; `salvor audit list` shows what is on record.',
    });
  }
  if (context.json) printJson({ file, ...result });
  else print(...describe(result));
  return result.differences.length === 0 ? EXIT.done : EXIT.failed;
}

async function readChanged(file: string): Promise<Config> {
  const [{ format, readConfigText }, { parseConfig }] = await Promise.all([
    import('./configuration.ts'),
    import('../model/config.ts'),
  ]);
  const text = await readConfigText(file);
  if (text === undefined) throw new CliError(`the changed configuration ${file} is not there`, { status: EXIT.usage });
  const result = parseConfig(text, file);
  if (result.ok) return result.config;
  const problems = result.problems.map((problem) => `  ${format(problem)}`);
  throw new CliError(`${file} is not a valid configuration:\n${problems.join('\n')}`, { status: EXIT.usage });
}

/** Milliseconds of the past that decide on what comes after: nothing is remembered for longer. */
const lead = ({ rules, defaults }: Config): number =>
  Math.max(
    DAY,
    ...[defaults, ...rules.map(({ rule }) => rule)].map(({ gates }) => Math.max(gates.cooldown, gates.retries.per)),
  );

/** The store is that of the configuration in use, not of the changed one. */
async function readStore(context: Context, from: string, changed: Config) {
  const [{ loadConfig }, { withStore }, { readRecord }] = await Promise.all([
    import('./configuration.ts'),
    import('./store.ts'),
    import('../backtest/record.ts'),
  ]);
  const { config } = await loadConfig(context);
  return await withStore(config, async (store) => ({
    location: store.location,
    recorded: await readRecord(recordsFrom(store, from), [...config.rules, ...changed.rules]),
  }));
}

async function* recordsFrom(store: AuditStore, from: string): AsyncGenerator<AuditRecord> {
  const responders = new Set<string>();
  for await (const record of store.export({ from })) {
    if (record.entry.kind === 'decision') responders.add(record.stream);
    yield record;
  }
  // The filter lets decisions through, and not what became of those who waited.
  for (const stream of responders) yield* (await store.records(stream)).filter(({ at }) => at >= from);
}

function checkRule(rule: string, changed: Config, recorded: Recorded): void {
  const known = [
    ...new Set([...changed.rules.map((one) => one.rule.name), ...recorded.requests.map((one) => one.rule)]),
  ];
  if (known.includes(rule)) return;
  const meant = nearest(rule, known);
  throw new CliError(`rule ${rule} is neither on record nor in ${changed.file}`, {
    status: EXIT.usage,
    advice: meant ? `Did you mean ${meant}?` : `There is ${known.sort().join(', ') || 'none'}.`,
  });
}
