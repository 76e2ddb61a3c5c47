import type { Command } from 'commander';
import { action } from './command.ts';
import { type DeskOptions, withDesk } from './desk-options.ts';

export interface VerdictOptions extends DeskOptions {
  digest?: string;
  comment?: string;
}

/** The options of approve and deny. */
export const withVerdict = (command: Command): Command =>
  withDesk(
    command
      .argument('<id>', 'at least 8 characters of its ID, or a target key')
      .option('--digest <digest>', 'of the plan that you were shown; without it the plan is shown, and you are asked')
      .option('--comment <text>', 'for the record'),
  );

export function approve(program: Command): void {
  withVerdict(program.command('approve'))
    .description('let a proposal act on its plan; gates and diagnosis run again before it does')
    .action(
      action(async (context, meant: string, options: VerdictOptions) => {
        const { give } = await import('./verdict.ts');
        return await give(context, 'approve', meant, options);
      }),
    );
}
