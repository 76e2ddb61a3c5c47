import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Builds the tree once before the tests that run it, so that none of them meets an older build. */
export function setup(): void {
  const root = join(import.meta.dirname, '..');
  const build = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, encoding: 'utf8' });
  if (build.status !== 0) {
    throw new Error(
      `\`npm run build\` failed, so nothing that runs the built tree was tested:\n${build.stdout}${build.stderr}`,
    );
  }
}
