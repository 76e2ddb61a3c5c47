import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import type { Batch, RunAnswer } from '../model/request.ts';
import { MODES, type Mode, RUNBOOKS, type Runbook } from '../model/rule.ts';
import { action, type Context } from './command.ts';
import { note, print } from './output.ts';
import { EXIT, type ExitStatus } from './status.ts';

export interface RunOptions {
  with?: Record<string, string>;
  mode: Mode;
  wait?: boolean;
  updateId?: string;
}

export function run(program: Command): void {
  program
    .command('run')
    .description(
      'run a runbook on a target; it only looks unless --mode act is given. It goes through the gates of the defaults, ' +
        'and counts apart from the rules',
    )
    .addArgument(new Argument('<runbook>', 'what to do').choices(RUNBOOKS))
    .argument('<target>', 'what to do it to, such as k8s/prod/shop/pod/web-0')
    .option('-w, --with <key=value>', "an option of the runbook, as under a rule's with: (repeatable)", collect)
    .addOption(
      new Option(
        '--mode <mode>',
        'observe diagnoses and says what it would do; propose waits for an approval of that; act does it',
      )
        .choices(MODES)
        .default('observe'),
    )
    .option('--wait', 'follow it until its end; the exit status tells how it ended')
    .option('--update-id <id>', 'a name for this request: given again, it is not done again, unless it has failed')
    .action(
      action(async (context, runbook: Runbook, target: string, options: RunOptions) => {
        const [{ loadConfig }, { makeBatch }] = await Promise.all([
          import('./configuration.ts'),
          import('./request.ts'),
        ]);
        const { person, withTemporal } = await import('./temporal.ts');
        const { config } = await loadConfig(context);
        const order = { runbook, target, with: options.with ?? {}, mode: options.mode };
        const updateId = options.updateId ?? randomUUID();
        const batch = makeBatch(config, { order, updateId, chosen: options.updateId !== undefined, by: person() });
        if (options.mode === 'observe' && !context.json)
          note('mode observe: it looks and changes nothing; --mode act acts');
        if (options.mode === 'propose' && !context.json)
          note('mode propose: it changes nothing before somebody approves its plan (`salvor approve`)');
        return await withTemporal(context, ({ client, config }) =>
          ask(context, client, { taskQueue: config.temporal.taskQueue, batch, updateId, wait: options.wait === true }),
        );
      }),
    );
}

/** Collects `--with key=value`; a key that is given twice is a mistake. */
function collect(pair: string, pairs: Record<string, string> = {}): Record<string, string> {
  const at = pair.indexOf('=');
  const key = pair.slice(0, at);
  if (at < 1) throw new InvalidArgumentError('Write key=value, such as recoverWithin=2m.');
  if (Object.hasOwn(pairs, key)) throw new InvalidArgumentError(`${key} is given twice.`);
  return { ...pairs, [key]: pair.slice(at + 1) };
}

interface Asked {
  taskQueue: string;
  batch: Batch;
  updateId: string;
  wait: boolean;
}

async function ask(context: Context, client: Client, { taskQueue, batch, updateId, wait }: Asked): Promise<ExitStatus> {
  const { requestRun, untilAdmitted, workflowIdOf } = await import('./request.ts');
  const { readRun, shortId, statusOf } = await import('./runs.ts');
  const { localized } = await import('./times.ts');
  const answer = await requestRun(client, taskQueue, batch, updateId);
  const { decision, remediation } = answer;
  if (context.json) print(JSON.stringify({ updateId, ...answer }));
  else print(localized(sentence(answer, shortId)));
  if (decision.answer === 'refuse') return EXIT.refused;
  if (!wait) return EXIT.done;

  const waits = decision.answer === 'wait' || remediation === undefined;
  const onSilence = (): void => note('no worker answers; waiting for one (is `salvor worker` or `salvor up` running?)');
  const admitted = waits ? await untilAdmitted(client, batch, onSilence) : { runId: remediation.runId };
  if ('settled' in admitted) {
    const { outcome, reason } = admitted.settled;
    print(context.json ? JSON.stringify({ outcome, reason }) : `${outcome}${reason ? `: ${localized(reason)}` : ''}`);
    return statusOf(outcome);
  }
  const { follow } = await import('./watch.ts');
  return await follow(context, client, await readRun(client, workflowIdOf(batch), admitted.runId));
}

function sentence({ decision, remediation }: RunAnswer, shortId: (id: string) => string): string {
  const id = remediation ? ` ${shortId(remediation.runId)}` : '';
  switch (decision.answer) {
    case 'admit':
      return `started${id}: \`salvor watch${id}\` shows it`;
    case 'wait':
      return `waits (${decision.gate}): ${decision.reason}; it starts by itself when that ends; Ctrl-C does not withdraw it`;
    case 'coalesce':
      return `nothing new${id && `, see${id}`}: ${decision.reason}`;
    case 'refuse':
      return `refused (${decision.gate}): ${decision.reason}`;
  }
}
