// Builds dist/ beside the one in use and then swaps them, so that a running `salvor` never sees half a build.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const fresh = join(root, `dist.${process.pid}`);
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');

if (process.env.npm_lifecycle_event === 'prepare' && !existsSync(compiler)) {
  console.error('salvor: no TypeScript here (installed without development dependencies), so nothing is built');
  process.exit(0);
}

try {
  const tsc = spawnSync(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json'), '--outDir', fresh], {
    cwd: root,
    stdio: 'inherit',
  });
  if (tsc.status !== 0) process.exit(tsc.status ?? 1);

  const { bundleWorkflows, withoutStacks } = await import(pathToFileURL(join(fresh, 'workers', 'bundle.js')).href);
  writeFileSync(join(fresh, 'workflow-bundle.js'), withoutStacks((await bundleWorkflows()).code));

  mkdirSync(dist, { recursive: true });
  const old = `${fresh}.old`;
  renameSync(dist, old);
  renameSync(fresh, dist);
  rmSync(old, { recursive: true, force: true });
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
