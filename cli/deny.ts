import type { Command } from 'commander';
import { type VerdictOptions, withVerdict } from './approve.ts';
import { action } from './command.ts';

export function deny(program: Command): void {
  withVerdict(program.command('deny'))
    .description('refuse a proposal: it ends, and nothing is changed')
    .action(
      action(async (context, meant: string, options: VerdictOptions) => {
        const { give } = await import('./verdict.ts');
        return await give(context, 'deny', meant, options);
      }),
    );
}
