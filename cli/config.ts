import { access, constants } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Config } from '../model/config.ts';
import { action, type Context } from './command.ts';
import { note, paint, paintError, print, printJson } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

export function config(program: Command): void {
  const group = program.command('config').description('check the configuration, or see what it would do');
  group
    .command('check')
    .description('report every problem, as file:line:column')
    .argument('[file]', 'default: what --config says')
    .action(action(check));
  group
    .command('schema')
    .description('the JSON Schema of salvor.yaml, for editors')
    .action(
      action(async () => {
        const { configJsonSchema } = await import('../model/config-schema.ts');
        printJson(configJsonSchema());
        return EXIT.done;
      }),
    );
  group
    .command('explain')
    .description('which rule, target and gates an alert meets, and why not the others')
    .requiredOption(
      '--alert <file>',
      "a webhook's payload, one alert, or a list of them (GET /api/v2/alerts, amtool -o json); - reads standard input",
    )
    .action(
      action(async (context, options: { alert: string }) => {
        const { explain } = await import('./explain.ts');
        return await explain(context, options.alert);
      }),
    );
}

async function check(context: Context, named: string | undefined): Promise<ExitStatus> {
  const { format, readConfigText } = await import('./configuration.ts');
  const [{ parseConfig }, { configNotes }] = await Promise.all([
    import('../model/config.ts'),
    import('../model/config-notes.ts'),
  ]);
  const file = named ?? context.config.file;
  const text = await readConfigText(file);
  if (text === undefined) {
    throw new CliError(`there is no ${file} here`, {
      status: EXIT.usage,
      advice: 'Name a file: salvor config check FILE.',
    });
  }
  const result = parseConfig(text, file);
  const problems = result.ok ? [] : result.problems;
  const warnings = result.ok ? await missingFiles(result.config) : [];
  const notes = result.ok ? configNotes(result.config) : [];
  if (context.json) printJson({ file, ok: result.ok, problems, warnings, notes });
  else if (result.ok) print(`${paint('green', 'ok')} ${file}: ${counted(result.config.rules.length, 'rule')}`);
  else {
    print(...problems.map(format));
    note(`${paintError('red', 'salvor:')} ${counted(problems.length, 'problem')} in ${file}`);
  }
  if (context.json) return result.ok ? EXIT.done : EXIT.usage;
  note(
    ...warnings.map(({ message }) => `${paintError('yellow', 'warning:')} ${file}: ${message}`),
    ...notes.map(({ setting, message }) => `${paintError('yellow', 'note:')} ${file}: ${setting}: ${message}`),
  );
  return result.ok ? EXIT.done : EXIT.usage;
}

/** The files may be on the machine of the worker or the gateway only: no more than a warning. */
async function missingFiles(config: Config): Promise<{ setting: string; path: string; message: string }[]> {
  const { namedFiles } = await import('../model/config.ts');
  const looked = await Promise.all(
    namedFiles(config).map(async ({ setting, path }) => {
      const fault = await access(path, constants.R_OK).then(
        () => undefined,
        ({ code }: NodeJS.ErrnoException) => (code === 'ENOENT' ? 'is not there' : `cannot be read (${code})`),
      );
      return fault === undefined ? [] : [{ setting, path, message: `${setting}: ${path} ${fault}` }];
    }),
  );
  return looked.flat();
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
