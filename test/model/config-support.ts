import { expect } from 'vitest';
import { type Config, parseConfig } from '../../model/config.ts';

export const FILE = '/etc/salvor/salvor.yaml';

/** A configuration with one rule, which ends with a line of it. */
export const RULE = `
clusters: [{ name: prod }]
rules:
  - name: pod-unready
    match: ['alertname="KubePodNotReady"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
`;

export function configOf(text: string): Config {
  const parsed = parseConfig(text, FILE);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems, null, 1));
  return parsed.config;
}

/** Problems as people see them: `line:column path: message`. */
export function problemsOf(text: string): string[] {
  const parsed = parseConfig(text, FILE);
  if (parsed.ok) return [];
  expect(parsed.problems.every(({ file }) => file === FILE)).toBe(true);
  return parsed.problems.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`);
}
