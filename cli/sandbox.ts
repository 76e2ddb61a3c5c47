import type { Command } from 'commander';
import type { SandboxState } from '../sandbox/commands.ts';
import { action, type Context } from './command.ts';
import { untilStopped } from './lifetime.ts';
import { note, paint, print, printJson } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

export function sandbox(program: Command): void {
  const group = program
    .command('sandbox')
    .description('real components on this machine: Kubernetes, Temporal, Prometheus, Alertmanager');
  group.command('up').description('bring them up and keep them until Ctrl-C').action(action(up));
  group
    .command('demo')
    .description('bring them up, break two pods, and show how Salvor heals them')
    .action(
      action(async (context: Context): Promise<ExitStatus> => {
        // From the first moment on: getting the components may take minutes, and Ctrl-C must end that too.
        const stopped = untilStopped();
        const { demo } = await import('./demo.ts');
        return await demo(context, stopped).catch((error: unknown) => {
          throw failed(error);
        });
      }),
    );
  group.command('down').description('end the ones that are up').action(action(down));
}

async function up(context: Context): Promise<ExitStatus> {
  const { SandboxIsUpError, sandboxUp } = await import('../sandbox/commands.ts');
  let ready = false;
  const signal = await sandboxUp({
    onUp: (state) => {
      ready = true;
      if (context.json) print(JSON.stringify(state));
      else tell(state);
    },
  }).catch((error: unknown) => {
    if (!(error instanceof SandboxIsUpError)) throw failed(error);
    const advice = error.state.up && `Its kubeconfig: ${error.state.up.kubernetes.kubeconfig}`;
    throw new CliError(error.message, { status: EXIT.failed, advice, cause: error });
  });
  if (!ready) process.exit(EXIT.interrupted); // what has started so far ends with this process
  if (!context.json) note('the sandbox is down, nothing of it is left');
  return signal === 'SIGTERM' ? EXIT.done : EXIT.interrupted;
}

/** A component is not to be had, or does not start: its message says what was tried, or quotes its log. */
const failed = (error: unknown): unknown =>
  error instanceof Error && ['MissingComponentError', 'ComponentStartError'].includes(error.name)
    ? new CliError(error.message, { status: EXIT.unknown, cause: error })
    : error;

function tell({ up }: Required<SandboxState>): void {
  const rows: [string, string | undefined][] = [
    ['kubeconfig', up.kubernetes.kubeconfig],
    ['Kubernetes', up.kubernetes.server],
    ['Temporal', up.temporal.address],
    ['Temporal UI', up.temporal.uiUrl],
    ['Prometheus', up.prometheus],
    ['Alertmanager', up.alertmanager],
    ['data and logs', up.folder],
  ];
  print(paint('green', 'The sandbox is up'));
  for (const [name, value] of rows) if (value !== undefined) print(`  ${paint('dim', name.padEnd(14))} ${value}`);
  print(paint('dim', 'Ctrl-C, or `salvor sandbox down`, ends it and removes its data.'));
}

async function down(context: Context): Promise<ExitStatus> {
  const { sandboxDown } = await import('../sandbox/commands.ts');
  const answer = await sandboxDown();
  const words = {
    ended: 'the sandbox is down, nothing of it is left',
    'was-dead': 'the sandbox had died before; what it left is removed',
    none: 'no sandbox is up',
  };
  if (context.json) printJson({ answer });
  else print(words[answer]);
  return EXIT.done;
}
