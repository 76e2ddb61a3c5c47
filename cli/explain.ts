import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { type Alert, parsePayload } from '../model/alertmanager.ts';
import { formatDuration } from '../model/duration.ts';
import { type Explanation, explain as explainAlert, type RuleExplanation } from '../model/routing.ts';
import type { ResolvedGates } from '../model/rule.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { paint, print, printJson } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

/** `salvor config explain`: 0 where every alert finds a rule and a target, 1 where one does not. */
export async function explain(context: Context, file: string): Promise<ExitStatus> {
  const { config } = await loadConfig(context);
  const alerts = parseAlerts(await read(file), file);
  const explained = alerts.map((alert) => ({ alert, ...explainAlert(alert, config) }));
  if (context.json) printJson(explained);
  else print(explained.map(({ alert, ...explanation }) => describe(alert, explanation).join('\n')).join('\n\n'));
  return explained.every(finds) ? EXIT.done : EXIT.failed;
}

const finds = ({ rules }: Explanation): boolean => rules.some((rule) => rule.reached && rule.target !== undefined);

async function read(file: string): Promise<unknown> {
  let text: string;
  try {
    text = file === '-' ? await readAll(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CliError(`the alert ${file} cannot be read (${code})`, { status: EXIT.usage, cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CliError(`${file} is not JSON: ${(error as Error).message}`, { status: EXIT.usage, cause: error });
  }
}

/** Takes a webhook's payload, one alert of it, or an alert as Alertmanager's API lists it, which has a richer status. */
function parseAlerts(json: unknown, file: string): Alert[] {
  const fields = typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
  const parsed = parsePayload('alerts' in fields ? json : payloadOf(fields));
  if ('problem' in parsed) throw new CliError(`${file}: ${parsed.problem}`, { status: EXIT.usage });
  return parsed.alerts.map((one) => {
    if (one.ok) return one.alert;
    throw new CliError(`${file}: alert ${one.index + 1}: ${one.problem}`, { status: EXIT.usage });
  });
}

function payloadOf(alert: Record<string, unknown>): unknown {
  const status = typeof alert['status'] === 'string' ? alert['status'] : 'firing';
  return {
    version: '4',
    groupKey: '',
    status: 'firing',
    receiver: '',
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: '',
    alerts: [{ startsAt: new Date().toISOString(), ...alert, status }],
  };
}

function describe(alert: Alert, { own, rules }: Explanation): string[] {
  const labels = Object.entries(alert.labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const head = `${paint('bold', `{${labels.join(', ')}}`)} ${alert.status}`;
  if (own) return [head, '  dropped: it carries salvor_id, so it is one of Salvor’s own alerts'];
  if (rules.length === 0) return [head, '  the configuration has no rules'];
  return [head, ...rules.flatMap(describeRule)];
}

function describeRule(rule: RuleExplanation): string[] {
  const name = `  ${rule.rule} ${paint('dim', `(line ${rule.line})`)}: `;
  if (!rule.reached) return [`${name}${paint('dim', 'not asked, an earlier rule took the alert')}`];
  if (!rule.matched) {
    const [first] = rule.matchers.filter(({ matched }) => !matched);
    const value = first?.value === '' ? 'is missing' : `is ${JSON.stringify(first?.value)}`;
    return [`${name}no match: ${first?.matcher}, but ${first?.label} ${value}`];
  }
  if (rule.target === undefined) return [`${name}${paint('red', 'matches, but starts nothing')}: ${rule.problem}`];
  return [
    `${name}${paint('green', `${rule.runbook} ${rule.target}`)}`,
    `    mode ${rule.mode}${rule.mode === 'observe' ? ' (records what it would do, changes nothing)' : ''}`,
    `    scope ${rule.scope}`,
    `    gates ${describeGates(rule.gates)}`,
  ];
}

function describeGates({ maxInFlight, cooldown, retries, waitAtMost, maxQueue }: ResolvedGates): string {
  return [
    `at most ${maxInFlight} at once in the scope`,
    `target left alone for ${formatDuration(cooldown)} after`,
    `${retries.max} retries per ${formatDuration(retries.per)}`,
    `waits ${formatDuration(waitAtMost)} at most, ${maxQueue} in the queue`,
  ].join(' · ');
}
