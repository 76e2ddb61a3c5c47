import type { Command } from 'commander';
import { action } from './command.ts';
import { note, print, printJson } from './output.ts';
import { CliError, EXIT } from './status.ts';

export function held(program: Command): void {
  program
    .command('held')
    .description('all that Salvor has altered and not yet given back, from the audit store and the objects themselves')
    .action(
      action(async (context) => {
        const [{ loadConfig }, { openStore }, { alteredTable, gather, messageOf }, { createRegistry }] =
          await Promise.all([
            import('./configuration.ts'),
            import('./store.ts'),
            import('./audit-held.ts'),
            import('../providers/registry.ts'),
          ]);
        const { config } = await loadConfig(context);
        const registry = createRegistry(config);
        const store = await openStore(config).catch(messageOf);
        try {
          const found = await gather(store, registry.places());
          const { altered, storeProblem, placeProblems, unreadable } = found;
          const problems = [...(storeProblem === undefined ? [] : [storeProblem]), ...placeProblems];
          if (!found.answered) {
            throw new CliError(`what is held is not known: ${problems.join('; ')}`, {
              status: EXIT.unknown,
              advice: 'Name the clusters in salvor.yaml: objects carry a note of what is held on them.',
            });
          }
          note(...problems, ...unreadable);
          if (context.json) printJson(altered);
          else if (altered.length === 0) note('nothing is held');
          else {
            print(...alteredTable(altered));
            note('`salvor release ID` gives it back; where its remediation still runs, `salvor cancel ID` does');
          }
          // Either of them alone knows all; where both have gaps, nobody can tell.
          return storeProblem !== undefined && placeProblems.length > 0 ? EXIT.unknown : EXIT.done;
        } finally {
          await Promise.all([typeof store === 'string' ? undefined : store.close(), registry.close()]);
        }
      }),
    );
}
