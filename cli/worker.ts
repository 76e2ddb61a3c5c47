import type { Command } from 'commander';
import type { Version } from '../workers/versioning.ts';
import { service } from './command.ts';
import { buildId, deployment } from './deploy.ts';
import { CliError, EXIT } from './status.ts';

interface WorkerOptions extends Partial<Version> {
  single?: boolean;
}

export function worker(program: Command): void {
  program
    .command('worker')
    .description('the process that runs the workflows and acts; any number may run')
    .option('--single', 'the only worker there is: it may keep the audit in a file of this machine')
    .option('--deployment <name>', 'one build of several: takes only what Temporal routes to this one', deployment)
    .option('--build-id <id>', 'which build of the deployment it is; `salvor deploy promote` makes it current', buildId)
    .action(
      service(async (context, stopped, { single, ...named }: WorkerOptions) => {
        const version = versionOf(named);
        const { runWorker } = await import('./processes.ts');
        return await runWorker(context, { ...(single && { single }), version }, stopped);
      }),
    );
}

function versionOf({ deployment, buildId }: Partial<Version>): Version | undefined {
  if (deployment !== undefined && buildId !== undefined) return { deployment, buildId };
  if (deployment === undefined && buildId === undefined) return undefined;
  throw new CliError('--deployment and --build-id belong together', {
    status: EXIT.usage,
    advice: 'Nothing was started. Give both; or neither, for workers that take anything.',
  });
}
