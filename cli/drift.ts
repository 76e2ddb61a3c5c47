import type { Command } from 'commander';
import type { Config } from '../model/config.ts';
import { unknownStack } from '../model/config-checks.ts';
import { countsOf, DRIFT_CLASSES, isDrift } from '../model/drift/difference.ts';
import type { Stack } from '../model/drift/options.ts';
import type { DriftStanding } from '../model/drift/standing.ts';
import type { Comparison } from '../model/ports/desired-state.ts';
import type { Stacks } from '../providers/desired-state.ts';
import { UnavailableError } from '../providers/errors.ts';
import type { HeldOn, Pulse } from '../providers/instance.ts';
import type { HoldingRegistry } from '../providers/registry.ts';
import { action, type Context } from './command.ts';
import { untilStopped } from './lifetime.ts';
import { note, paint, paintError, print, printJson, table } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

export function drift(program: Command): void {
  const group = program.command('drift').description('what differs from its source');
  group
    .command('check')
    .description(
      'compare a stack with its source now, and change nothing. Exit status: 0 no drift · 1 drift · 4 could not find out',
    )
    .argument('<stack>', 'of the configuration')
    .option('--all', 'the fields of what is no drift too: unapplied, ignored, held, computed')
    .action(action(check));
  group.command('list').description('how each stack stood when a rule last compared it').action(action(list));
}

async function check(context: Context, name: string, { all = false }: { all?: boolean }): Promise<ExitStatus> {
  const [{ loadConfig }, { createRegistry }] = await Promise.all([
    import('./configuration.ts'),
    import('../providers/registry.ts'),
  ]);
  const { config } = await loadConfig(context);
  const stack = stackOf(config, name);
  const over = new AbortController();
  void untilStopped().then(({ why }) => over.abort(new Error(why)));
  if (process.stderr.isTTY && !context.json) note(paintError('dim', `comparing ${name} with its source …`));
  const registry = createRegistry(config);
  try {
    const asked = { stack, ...kindsOf(config, name), held: () => heldNow(registry), signal: over.signal };
    const compared = await compare(registry.stacks, asked);
    return await tell(context, name, compared, all);
  } catch (error) {
    if (!over.signal.aborted) throw error;
    note('interrupted: nothing was changed');
    return EXIT.interrupted;
  } finally {
    await registry.close();
  }
}

export interface Asked {
  stack: Stack;
  prune: string[];
  create: string[];
  held(): Promise<HeldOn[]>;
  /** Ends it. */
  signal: AbortSignal;
}

/**
 * Looks, without a workflow.
 *
 * @throws CliError where it cannot be told; the reason of the signal where that is aborted
 */
export async function compare(stacks: Stacks, { stack, prune, create, held, signal }: Asked): Promise<Comparison> {
  const actor = { runbook: 'revert-drift', remediation: 'salvor-drift-check' };
  let heldOnce: Promise<HeldOn[]> | undefined;
  const readOnce = (): Promise<HeldOn[]> => {
    heldOnce ??= held();
    return heldOnce;
  };
  try {
    const means = { pulse: pulseUntil(signal), isRepeat: false, held: readOnce };
    return await stacks.of(stack).compare({ stack, prune, create, actor }, means);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CliError(`whether ${stack.name} has drifted could not be found out: ${messageOf(error)}`, {
      status: EXIT.unknown,
      advice: 'Nothing was changed.',
      cause: error,
    });
  }
}

/** Says what differs; answers the exit status. */
export async function tell(
  context: Pick<Context, 'json'>,
  name: string,
  compared: Comparison,
  all: boolean,
): Promise<ExitStatus> {
  if (compared.verdict === 'refused') {
    throw new CliError(`${name} was not compared: ${compared.why}`, {
      status: EXIT.unknown,
      advice: 'Nothing was changed. A person has to mend that.',
    });
  }
  const hasDrifted = compared.differences.some(isDrift);
  if (context.json) {
    const counts = countsOf(compared.differences);
    printJson({ stack: name, drift: hasDrifted, counts, ...compared });
  } else {
    const { describeDrift } = await import('./drift-text.ts');
    print(...describeDrift(name, compared, all));
  }
  return hasDrifted ? EXIT.failed : EXIT.done;
}

/** A check writes nothing: whoever is about to is wrong. */
const pulseUntil = (signal: AbortSignal): Pulse => ({
  ...{ since: Date.now(), aloneUntil: 0, last: undefined, signal },
  beat: () => undefined,
  stillMine: async () => {
    throw new Error('a check changes nothing');
  },
});

function stackOf({ stacks }: Config, name: string): Stack {
  const found = stacks.find((one) => one.name === name);
  if (found) return found;
  const names = stacks.map((one) => one.name);
  throw new CliError(unknownStack(name, names) ?? name, { status: EXIT.usage, advice: 'Nothing was compared.' });
}

/** What any rule of the stack would delete, or create by itself, is shown as what it is. */
function kindsOf({ rules }: Config, name: string): { prune: string[]; create: string[] } {
  const own = rules.flatMap(({ rule }) =>
    rule.runbook === 'revert-drift' && Object.hasOwn(rule.with.stacks, name) ? [rule.with] : [],
  );
  const all = (kind: 'prune' | 'create') => [...new Set(own.flatMap((options) => options[kind]))];
  return { prune: all('prune'), create: all('create') };
}

/** Where one place does not answer nothing is compared: what is held there would be taken for drift. */
async function heldNow(registry: HoldingRegistry): Promise<HeldOn[]> {
  const looks = registry.places().map(({ name, find }) =>
    find().catch((error: unknown) => {
      throw new UnavailableError(`what Salvor holds in ${name} cannot be told: ${messageOf(error)}`, { cause: error });
    }),
  );
  return (await Promise.all(looks)).flat();
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function list(context: Context): Promise<ExitStatus> {
  const [{ withTemporal }, { readDrift }, { dateAndTime }] = await Promise.all([
    import('./temporal.ts'),
    import('../providers/temporal/drift.ts'),
    import('./times.ts'),
  ]);
  return await withTemporal(context, async ({ client, config }) => {
    const all = await readDrift(client, config);
    if (context.json) printJson(all);
    else if (all.length === 0) print('no stacks are configured');
    else {
      const rows = all.map(({ stack, standing }) => [
        stack,
        stateOf(standing),
        standing ? dateAndTime(standing.at) : '-',
        standing?.oldest ? dateAndTime(standing.oldest) : '-',
        standing?.revision ?? '-',
      ]);
      const head = ['stack', 'state', 'compared', 'drift since', 'with'];
      print(...table([head, ...rows], (text, _column, row) => (row === 0 ? paint('dim', text) : text)));
    }
    return EXIT.done;
  });
}

/** In words. What waits for a deploy, or is left alone, is no drift. */
function stateOf(standing: DriftStanding | undefined): string {
  if (!standing) return 'never compared';
  if (standing.verdict === 'refused') return 'could not be compared';
  const counts = DRIFT_CLASSES.filter((one) => standing.counts[one] > 0 && isDrift({ class: one }));
  return counts.length === 0 ? 'not drifted' : counts.map((one) => `${standing.counts[one]} ${one}`).join(', ');
}
