import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { type Alert, parsePayload } from '../model/alertmanager.ts';
import { formatBound } from '../model/bound.ts';
import { formatDuration } from '../model/duration.ts';
import type { ResolvedLimits } from '../model/limits.ts';
import { type Explanation, explain as explainAlert, type RuleExplanation } from '../model/routing.ts';
import type { ResolvedGates } from '../model/rule.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { note, paint, print, printJson } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

/** `salvor config explain`: 0 where every alert finds a rule and a target, 1 where one does not. */
export async function explain(context: Context, file: string): Promise<ExitStatus> {
  const { config } = await loadConfig(context);
  const name = file === '-' ? 'standard input' : file;
  const alerts = parseAlerts(await read(file, name), name);
  const explained = alerts.map((alert) => ({ alert, ...explainAlert(alert, config) }));
  if (context.json) printJson(explained);
  else if (explained.length === 0) note('no alerts');
  else
    print(
      explained.map(({ alert, ...explanation }) => describe(alert, explanation, config.limits).join('\n')).join('\n\n'),
    );
  return explained.every(finds) ? EXIT.done : EXIT.failed;
}

const finds = ({ rules }: Explanation): boolean => rules.some((rule) => rule.reached && rule.target !== undefined);

async function read(file: string, name: string): Promise<unknown> {
  let text: string;
  try {
    text = file === '-' ? await readAll(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CliError(`the alert ${name} cannot be read (${code})`, { status: EXIT.usage, cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CliError(`${name} is not JSON: ${(error as Error).message}`, { status: EXIT.usage, cause: error });
  }
}

/** Takes a webhook's payload, one alert, or a list of them as Alertmanager's API (`/api/v2/alerts`) and amtool answer. */
function parseAlerts(json: unknown, name: string): Alert[] {
  const isPayload = typeof json === 'object' && json !== null && 'alerts' in json;
  const parsed = parsePayload(isPayload ? json : payloadOf(Array.isArray(json) ? json : [json]));
  if ('problem' in parsed) throw new CliError(`${name}: ${parsed.problem}`, { status: EXIT.usage });
  return parsed.alerts.map((one) => {
    if (one.ok) return one.alert;
    throw new CliError(`${name}: alert ${one.index + 1}: ${one.problem}`, { status: EXIT.usage });
  });
}

/** A list of the API's has no resolved alerts, and tells in `status` who keeps them from being sent. */
const asDelivered = (alert: unknown): unknown =>
  typeof alert !== 'object' || alert === null
    ? alert
    : {
        startsAt: new Date().toISOString(),
        ...alert,
        status: 'status' in alert && typeof alert.status === 'string' ? alert.status : 'firing',
      };

function payloadOf(alerts: unknown[]): unknown {
  return {
    version: '4',
    groupKey: '',
    status: 'firing',
    receiver: '',
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: '',
    alerts: alerts.map(asDelivered),
  };
}

function describe(alert: Alert, { own, rules }: Explanation, limits?: ResolvedLimits): string[] {
  const labels = Object.entries(alert.labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const head = `${paint('bold', `{${labels.join(', ')}}`)} ${alert.status}`;
  if (own) return [head, '  dropped: it carries salvor_id, so it is one of Salvor’s own alerts'];
  if (rules.length === 0) return [head, '  the configuration has no rules'];
  return [head, ...rules.flatMap((rule) => describeRule(rule, limits))];
}

function describeRule(rule: RuleExplanation, limits?: ResolvedLimits): string[] {
  const name = `  ${rule.rule} ${paint('dim', `(line ${rule.line})`)}: `;
  if (!rule.reached) return [`${name}${paint('dim', 'not asked, an earlier rule took the alert')}`];
  if (rule.matchers.length === 0) return [`${name}takes no alert: it begins by its schedule only (${rule.schedule})`];
  if (!rule.matched) {
    const [first] = rule.matchers.filter(({ matched }) => !matched);
    const value = first?.value === '' ? 'is missing' : `is ${JSON.stringify(first?.value)}`;
    return [`${name}no match: ${first?.matcher}, but ${first?.label} ${value}`];
  }
  if (rule.target === undefined) return [`${name}${paint('red', 'matches, but starts nothing')}: ${rule.problem}`];
  return [
    `${name}${paint('green', `${rule.runbook} ${rule.target}`)}`,
    `    mode ${rule.mode} (${MEANS[rule.mode]})`,
    `    scope ${rule.scope}`,
    ...(rule.schedule === undefined ? [] : [`    schedule ${rule.schedule}: it begins by itself too`]),
    '    gates',
    ...describeGates(rule.gates).map((line) => `      ${line}`),
    ...(limits ? [`    limits over all rules: ${describeLimits(limits)}`] : []),
  ];
}

const MEANS = {
  observe: 'records what it would do, changes nothing',
  propose: 'waits until a person has approved the plan',
  act: 'acts by itself',
} as const;

/** One line for each, in the words of `salvor.yaml` where it has a word. */
function describeGates(gates: ResolvedGates): string[] {
  const { maxInFlight, maxUnavailable, cooldown, retries, storm, windows, failClosed, waitAtMost, maxQueue } = gates;
  return [
    `windows: ${windows.length === 0 ? 'always' : windows.join(' or ')}`,
    `in flight: at most ${maxInFlight} at once in the scope`,
    `unavailable: at most ${formatBound(maxUnavailable)} of the workload, all rules together`,
    storm.above >= 100
      ? 'storm: never (above: 100%)'
      : `storm: holds the scope above ${storm.above}% unhealthy, until ${formatDuration(storm.settleFor)} of calm`,
    `cooldown: the target is left alone for ${formatDuration(cooldown)} after a remediation`,
    `retries: ${retries.max} failed in the scope within ${formatDuration(retries.per)} may be followed by another`,
    `what cannot be judged ${failClosed ? 'is refused' : 'passes (failClosed: false)'}`,
    `waits ${formatDuration(waitAtMost)} at most, ${maxQueue} in the queue; then it is refused`,
  ];
}

const describeLimits = ({ maxInFlight, maxActsPerHour, storm }: ResolvedLimits): string =>
  [
    ...(maxInFlight === undefined ? [] : [`${maxInFlight} at once`]),
    ...(maxActsPerHour === undefined ? [] : [`${maxActsPerHour} an hour`]),
    ...(storm === undefined
      ? []
      : [`everything is held while ${storm.targets} targets alert within ${formatDuration(storm.within)}`]),
  ].join(', ');
