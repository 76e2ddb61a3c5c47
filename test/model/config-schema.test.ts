// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { parseConfig } from '../../model/config.ts';
import { configJsonSchema } from '../../model/config-schema.ts';

const RULE = `
clusters: [{ name: prod }]
rules:
  - name: pod-unready
    match: ['alertname="KubePodNotReady"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
`;

describe('the examples', () => {
  const folder = resolve(import.meta.dirname, '../../examples');
  const examples = readdirSync(folder).filter((name) => /^salvor.*\.yaml$/.test(name));
  const validate = new Ajv2020({ formats: { uri: true } }).compile(configJsonSchema());

  it('are there', () => {
    expect(examples).toContain('salvor.yaml');
  });

  it.each(examples)('%s is a valid configuration, by the parser and by the JSON Schema', (name) => {
    const text = readFileSync(join(folder, name), 'utf8');
    const parsed = parseConfig(text, join(folder, name));
    expect(parsed.ok ? [] : parsed.problems).toEqual([]);
    validate(parseYaml(text));
    expect(validate.errors ?? []).toEqual([]);
  });

  it('and what the parser refuses for its form, the JSON Schema refuses too', () => {
    for (const text of [
      'gateway: { listn: 1 }',
      'defaults: { gates: { cooldown: 10min } }',
      'rules: [{ name: a }]',
      RULE.replace('drain-instance', 'revert-everything'),
      `${RULE}    hush: maybe`,
      `${RULE}    with: { recoverWithn: 5m }`,
      `${RULE}    mode: suggest`,
      `${RULE}    gates: { maxInFlight: 0 }`,
      `${RULE}    gates: { maxUnavailable: 25 percent }`,
      `${RULE}    gates: { maxUnavailable: 0 }`,
      `${RULE}    gates: { storm: { above: 101% } }`,
      `${RULE}    approvers: []`,
      `${RULE}    with: { quarantine: true }`,
      `${RULE}    with: { health: { http: { path: /healthz } } }`,
      `${RULE}    with: { health: { http: { port: 80, path: healthz } } }`,
      `${RULE}    with: { health: { promql: { atMost: 1 } } }`,
      `${RULE}    with: { node: { parallel: 0 } }`,
      `${RULE}    with: { lifecycleHooks: ['a b'] }`,
      'aws: [{ name: main }]',
      'aws: [{ name: main, region: Dublin }]',
      'limits: { maxInFlight: 0 }',
      'gateway: { people: [{ name: ada, tokenHash: s3cret }] }',
      RULE.replace(/match:.*/, 'match: []'),
    ]) {
      expect(parseConfig(text, 'salvor.yaml').ok).toBe(false);
      expect(validate(parseYaml(text))).toBe(false);
    }
    expect(validate(parseYaml(RULE))).toBe(true);
    expect(validate(parseYaml(`${RULE}    gates: { maxUnavailable: 3, storm: { above: 100% } }`))).toBe(true);
    for (const options of ['quarantine: {}', 'node: {}', 'health: { http: { port: 80 } }', 'lifecycleHooks: [drain]'])
      expect(validate(parseYaml(`${RULE}    with: { ${options} }`)), options).toBe(true);
    expect(validate({})).toBe(true);
  });
});

it('the JSON Schema describes every key', () => {
  const undescribed: string[] = [];
  const visit = (node: unknown, path: string): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('properties' in node && typeof node.properties === 'object' && node.properties !== null) {
      for (const [key, property] of Object.entries(node.properties)) {
        if (typeof property.description !== 'string') undescribed.push(`${path}.${key}`);
      }
    }
    for (const [key, child] of Object.entries(node)) visit(child, `${path}.${key}`);
  };
  visit(configJsonSchema(), '');
  expect(undescribed).toEqual([]);
});
