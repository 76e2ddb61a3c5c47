import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { program } from '../../cli/main.ts';
import { GatewayMetrics } from '../../gateway/metrics.ts';
import { formatBound } from '../../model/bound.ts';
import { parseConfig } from '../../model/config.ts';
import { formatDuration } from '../../model/duration.ts';
import { WorkerMetrics } from '../../workers/metrics.ts';
import { envoyQueries } from '../support/envoy-queries.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const docs = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
];
const text = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const blocks = (file: string, language: string): string[] =>
  [...text(file).matchAll(new RegExp(`^( *)\`\`\`${language}\\n([^]*?)^\\1\`\`\``, 'gm'))].map(
    ([, indent = '', code = '']) => code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
const scripts = Object.keys((JSON.parse(text('package.json')) as { scripts: Record<string, string> }).scripts);

/** Every option of a command, those of all commands included; `words` are what stands behind `salvor`. */
function commandOf(words: string[]): { name: string; options: string[] } {
  let command = program();
  const options = optionsOf(command);
  const names: string[] = [];
  for (const word of words) {
    const next = command.commands.find((one) => one.name() === word);
    if (!next) break;
    command = next;
    names.push(word);
    options.push(...optionsOf(command));
  }
  return { name: names.join(' '), options };
}

const optionsOf = ({ options }: Command): string[] =>
  ['--help', ...options.flatMap(({ short, long }) => [short, long])].filter((one) => typeof one === 'string');
const everyCommand = (command: Command): Command[] => [command, ...command.commands.flatMap(everyCommand)];
const allOptions = everyCommand(program()).flatMap(optionsOf);

const metrics = (await new GatewayMetrics().registry.getMetricsAsJSON()).flatMap(({ name }) =>
  ['', '_bucket', '_sum', '_count'].map((suffix) => name + suffix),
);

describe.each(docs)('%s', (file) => {
  it('links to what exists', () => {
    for (const [, target = ''] of text(file).matchAll(/\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)/g)) {
      expect(existsSync(join(ROOT, dirname(file), target)), target).toBe(true);
    }
  });

  it('names files that exist', () => {
    const paths = [
      ...text(file).matchAll(
        /`((?:model|workflows|activities|providers|gateway|workers|cli|sandbox|deploy|docs|examples|test|bench)\/[\w./-]*)`/g,
      ),
    ];
    for (const [, path = ''] of paths) expect(existsSync(join(ROOT, path)), path).toBe(true);
  });

  it('names npm scripts that exist', () => {
    for (const [, script = ''] of text(file).matchAll(/npm run ([\w-]+)/g)) expect(scripts).toContain(script);
  });

  it('names commands of salvor that exist', () => {
    const named = [...text(file).matchAll(/(?:`|npx )salvor ([a-z]+)/g)].map(([, command = '']) => command);
    for (const command of named) expect(existsSync(join(ROOT, 'cli', `${command}.ts`)), `salvor ${command}`).toBe(true);
  });

  it('names options that the commands have', () => {
    for (const line of text(file).split('\n')) {
      for (const [, command = ''] of line.matchAll(/(?:`|npx |^ *)(salvor [a-z][^`#]*)/g)) {
        const { name, options } = commandOf(command.split(/\s+/).slice(1));
        for (const [option] of command.matchAll(/(?<=\s)--?[a-z][-a-z]*/g))
          expect(options, `salvor ${name}: ${line.trim()}`).toContain(option);
      }
      // An option that stands alone is one of some command.
      for (const [, option = ''] of line.matchAll(/`(--[a-z][-a-z]*)[^`]*`/g))
        expect(allOptions, line).toContain(option);
    }
  });

  it('names metrics that the gateway has', () => {
    for (const [name] of text(file).matchAll(/\bsalvor_gateway_\w+/g)) expect(metrics).toContain(name);
  });

  it('has YAML that parses, and configurations that Salvor takes', () => {
    for (const code of blocks(file, 'yaml')) {
      for (const document of code.split(/^---$/m)) expect(() => parse(document) as unknown, document).not.toThrow();
      if (!/^rules:$/m.test(code) || !/runbook:/.test(code)) continue;
      const parsed = parseConfig(code, join(ROOT, 'salvor.yaml'));
      expect(parsed.ok ? [] : parsed.problems).toEqual([]);
    }
  });
});

describe('examples/ and deploy/', () => {
  it('watch metrics that the gateway has, each of which is there before anything has happened', async () => {
    const exposed = await new GatewayMetrics(['pods']).registry.metrics();
    const named = [...text('deploy/prometheus/salvor.yml').matchAll(/\bsalvor_gateway_\w+/g)].map(([name]) => name);
    expect(named.length).toBeGreaterThan(0);
    for (const name of named) expect(exposed).toMatch(new RegExp(`^${name}\\{.*\\} 0$`, 'm'));
    expect(exposed).toContain('salvor_gateway_alerts_total{rule="pods",result="bad"} 0');
  });

  const configurations = readdirSync(join(ROOT, 'examples'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    /salvor[^/]*\.yaml$/.test(file),
  );
  it.each(configurations)('%s is a configuration that Salvor takes', (file) => {
    const parsed = parseConfig(text(join('examples', file)), join(ROOT, 'examples', file));
    expect(parsed.ok ? [] : parsed.problems).toEqual([]);
  });

  it.each(readdirSync(join(ROOT, 'examples/breaker')))('breaker/%s is a part of one', (file) => {
    const rule = { name: 'fails', match: ['a="b"'], runbook: 'circuit-breaker', target: 'dependency/payments' };
    const rest = { prometheus: { url: 'http://localhost:9090' }, clusters: [{ name: 'prod' }], rules: [rule] };
    const parsed = parseConfig(`${text(`examples/breaker/${file}`)}\n${stringify(rest)}`, join(ROOT, 'salvor.yaml'));
    expect(parsed.ok ? [] : parsed.problems).toEqual([]);
    expect(parsed.ok && parsed.config.dependencies.map(({ name }) => name)).toEqual(['payments']);
  });

  it('ask Envoy for the numbers that are tested with a real one', () => {
    for (const file of ['examples/breaker/envoy.yaml', 'examples/salvor-breaker.yaml']) {
      const [payments] = (parse(text(file)) as { dependencies: { confirm: Record<string, string> }[] }).dependencies;
      const flat = (query = '') => query.replaceAll(/\s/g, '');
      const { calls, failed } = envoyQueries('1m', 'payments');
      expect(flat(payments?.confirm['calls'])).toBe(flat(calls));
      expect(flat(payments?.confirm['failed'])).toBe(flat(failed));
    }
  });
});

describe('docs/', () => {
  it('tells of every option and gate with its default', () => {
    const rule = "{ name: r, match: ['a=b'], runbook: drain-instance, target: 'k8s/c/n/pod/${labels.pod}' }";
    const parsed = parseConfig(`clusters: [{ name: c }]\nrules: [${rule}]`, 'salvor.yaml');
    if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
    const [configured] = parsed.config.rules;
    for (const [option, value] of Object.entries(configured?.rule.with ?? {})) {
      const written = typeof value === 'number' && option !== 'flaps' ? formatDuration(value) : String(value);
      expect(text('docs/runbooks.md')).toContain(`| \`${option}\` | \`${written}\` |`);
    }
    const { gates } = parsed.config.defaults;
    const written: Record<string, string> = {
      maxInFlight: String(gates.maxInFlight),
      maxUnavailable: formatBound(gates.maxUnavailable),
      cooldown: formatDuration(gates.cooldown),
      'storm.above': `${gates.storm.above}%`,
      'storm.settleFor': formatDuration(gates.storm.settleFor),
      failClosed: String(gates.failClosed),
      waitAtMost: formatDuration(gates.waitAtMost),
      maxQueue: String(gates.maxQueue),
    };
    const configuration = text('docs/configuration.md');
    for (const [gate, value] of Object.entries(written))
      expect(configuration).toContain(`| \`${gate}\` | \`${value}\` |`);
    const { max, per } = gates.retries;
    expect(configuration).toContain(`| \`retries.max\`, \`retries.per\` | \`${max}\`, \`${formatDuration(per)}\` |`);
    expect(gates.windows).toEqual([]);
    expect(configuration).toContain('| `windows` | always |');
    const told = [...Object.keys(written), 'retries.max', 'windows'].map((key) => key.split('.')[0]);
    expect(new Set(told)).toEqual(new Set(Object.keys(gates)));
    expect(configuration).toContain(
      `maxUnavailable: ${written['maxUnavailable']}, cooldown: ${written['cooldown']}, retries: { max: ${max}, per: ${formatDuration(per)} },`,
    );
  });

  it('tells of every metric of gateway and worker', async () => {
    const none = async (): Promise<never> => Promise.reject(new Error('not asked'));
    const worker = new WorkerMetrics([], none, none);
    worker.drift(none, {});
    const registries = [new GatewayMetrics().registry, worker.registry];
    const all = (await Promise.all(registries.map((one) => one.getMetricsAsJSON()))).flat();
    const own = all.map(({ name }) => name).filter((name) => name.startsWith('salvor_'));
    expect(own.length).toBeGreaterThan(20);
    for (const name of own) expect(text('docs/operations.md')).toContain(`\`${name}\``);
  });

  it('is in the README', () => {
    for (const file of docs.filter((one) => one.startsWith('docs/')))
      expect(text('README.md'), file).toContain(`(${file})`);
  });
});
