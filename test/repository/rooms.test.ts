import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const BIOME = join(ROOT, 'node_modules', '.bin', 'biome');

/** A project of its own with the same biome.json, so that breaking a rule here breaks nothing there. */
const copy = mkdtempSync(join(tmpdir(), 'salvor-rooms-'));
copyFileSync(join(ROOT, 'biome.json'), join(copy, 'biome.json'));
writeFileSync(join(copy, '.gitignore'), 'node_modules/\n');
afterAll(() => rmSync(copy, { recursive: true, force: true }));

/** The rules (errors only) that `code` breaks where it stands at `path` in the project. */
function broken(path: string, code: string): string[] {
  const file = join(copy, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, code);
  const args = ['lint', '--reporter=json', '--diagnostic-level=error', path];
  const lint = spawnSync(BIOME, args, { cwd: copy, encoding: 'utf8' });
  rmSync(file);
  const report = JSON.parse(lint.stdout) as { diagnostics: { category: string }[] };
  expect(lint.status, lint.stderr).toBe(report.diagnostics.length === 0 ? 0 : 1);
  return report.diagnostics.map((diagnostic) => diagnostic.category.split('/').at(-1) ?? '');
}

describe('what may import what', () => {
  const refused: [file: string, imports: string][] = [
    ['workflows/x.ts', '../activities/instance.ts'],
    ['workflows/x.ts', '../providers/temporal/client.ts'],
    ['workflows/x.ts', '@temporalio/client'],
    ['workflows/x.ts', 'zod'],
    ['workflows/x.ts', 'node:fs'],
    ['workflows/x.ts', 'crypto'],
    ['workflows/runbooks/x.ts', '../../workers/worker.ts'],
    ['model/x.ts', '../providers/kubernetes/pod.ts'],
    ['model/x.ts', '../workflows/responder.ts'],
    ['model/ports/x.ts', '../../cli/main.ts'],
    ['model/x.ts', '@temporalio/client'],
    ['activities/x.ts', '../workflows/responder.ts'],
    ['activities/x.ts', '../gateway/server.ts'],
    ['activities/x.ts', '@kubernetes/client-node'],
    ['providers/kubernetes/x.ts', '../../activities/instance.ts'],
    ['providers/kubernetes/x.ts', '../../workers/worker.ts'],
    ['gateway/x.ts', '../providers/kubernetes/pod.ts'],
    ['gateway/x.ts', '../workflows/responder.ts'],
    ['gateway/x.ts', '../workers/worker.ts'],
    ['workers/x.ts', '../cli/main.ts'],
    ['workers/x.ts', '../gateway/server.ts'],
    ['workers/x.ts', '../sandbox/fetch.ts'],
    ['sandbox/x.ts', '../workers/worker.ts'],
    ['audit/x.ts', '../workers/worker.ts'],
    ['audit/x.ts', '../providers/temporal/client.ts'],
    ['audit/x.ts', '../activities/audit.ts'],
    ['audit/x.ts', '../sandbox/paths.ts'],
    ['audit/x.ts', '@temporalio/client'],
    ['audit/x.ts', '@kubernetes/client-node'],
    ['backtest/x.ts', '../audit/store.ts'],
    ['backtest/x.ts', '../workflows/responder.ts'],
    ['backtest/x.ts', '@temporalio/client'],
    ['cli/x.ts', '../test/setup.ts'],
    ['cli/x.ts', '../bench/latency.ts'],
    ['gateway/x.ts', '../cli/main.ts'],
  ];
  it.each(refused)('%s may not import %s', (file, imports) => {
    expect(broken(file, `import { thing } from '${imports}';\nexport const other = thing;\n`)).toContain(
      'noRestrictedImports',
    );
  });

  it.each([
    ['workflows/x.ts', 'node:fs'],
    ['model/names.ts', 'node:crypto'],
    ['model/gates.ts', 'crypto'],
    ['model/ports/x.ts', 'node:fs'],
  ])('%s may not import %s: workflows run where Node is not', (file, imports) => {
    expect(broken(file, `import { thing } from '${imports}';\nexport const other = thing;\n`)).toContain(
      'noNodejsModules',
    );
  });

  it('holds for types, re-exports and dynamic imports too', () => {
    expect(broken('workflows/x.ts', `import type { A } from '../cli/main.ts';\nexport type B = A;\n`)).toContain(
      'noRestrictedImports',
    );
    expect(broken('workflows/x.ts', `export * from '../cli/main.ts';\n`)).toContain('noRestrictedImports');
    expect(broken('workflows/x.ts', `export const late = import('../cli/main.ts');\n`)).toContain(
      'noRestrictedImports',
    );
  });

  const allowed: [file: string, imports: string][] = [
    ['workflows/x.ts', '../model/names.ts'],
    ['workflows/x.ts', '../model/ports/instance.ts'],
    ['workflows/x.ts', './responder.ts'],
    ['workflows/runbooks/x.ts', '../responder.ts'],
    ['workflows/runbooks/x.ts', '../../model/names.ts'],
    ['workflows/x.ts', '@temporalio/workflow'],
    ['model/x.ts', 'zod'],
    ['model/ports/x.ts', '../change.ts'],
    ['activities/x.ts', '../providers/kubernetes/pod.ts'],
    ['activities/x.ts', '@temporalio/activity'],
    ['providers/kubernetes/x.ts', '../../model/names.ts'],
    ['providers/kubernetes/x.ts', '../temporal/client.ts'],
    ['backtest/x.ts', '../model/names.ts'],
    ['backtest/x.ts', '../workflows/admission.ts'],
    ['gateway/x.ts', '../providers/temporal/client.ts'],
    ['gateway/x.ts', '../model/names.ts'],
    ['workers/x.ts', '../activities/instance.ts'],
    ['cli/x.ts', '../sandbox/fetch.ts'],
    ['sandbox/x.ts', '../model/names.ts'],
    ['audit/x.ts', '../model/redact.ts'],
    ['audit/x.ts', './store.ts'],
    ['audit/x.ts', 'kysely'],
    ['audit/x.ts', 'kysely/migration'],
    ['audit/x.ts', 'pg'],
  ];
  it.each(allowed)('%s may import %s', (file, imports) => {
    expect(broken(file, `import { thing } from '${imports}';\n\nexport const other = thing;\n`)).not.toContain(
      'noRestrictedImports',
    );
  });
});

describe('what the linter refuses everywhere', () => {
  it.each([
    ['noFloatingPromises', `async function work(): Promise<void> {}\nexport function start(): void {\n  work();\n}\n`],
    ['noExplicitAny', `export const anything: any = 1;\n`],
    ['useImportType', `import { Change } from '../model/change.ts';\nexport type Mine = Change;\n`],
    ['noEmptyBlockStatements', `export function quiet(): void {\n  try {\n    JSON.parse('');\n  } catch {}\n}\n`],
    ['noTsIgnore', `// @ts-ignore: no\nexport const wrong: number = 'a';\n`],
    ['noDefaultExport', `export default 1;\n`],
  ])('%s', (rule, code) => {
    expect(broken('gateway/x.ts', code)).toContain(rule);
  });

  it('skipped and focused tests', () => {
    const test = (call: string) =>
      `import { expect, it } from 'vitest';\n${call}('a', () => {\n  expect(1).toBe(1);\n});\n`;
    expect(broken('test/x.test.ts', test('it.skip'))).toContain('noSkippedTests');
    expect(broken('test/x.test.ts', test('it.only'))).toContain('noFocusedTests');
    expect(broken('test/x.test.ts', test('it'))).toEqual([]);
  });
});
