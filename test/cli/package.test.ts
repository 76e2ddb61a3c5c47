import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../sandbox/ports.ts';
import { eventually } from '../support/wait.ts';
import { BIN, ROOT, salvor, stay } from './salvor.ts';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'salvor-package-'));
const app = join(folder, 'app');
const installed = join(app, 'node_modules/salvor');
const { version: SALVOR } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
let files: string[] = [];

beforeAll(async () => {
  const packed = await run('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', folder], { cwd: ROOT });
  // What the build says comes before npm's answer.
  const [tarball] = JSON.parse(packed.stdout.slice(packed.stdout.search(/^\[/m))) as [
    { filename: string; files: { path: string }[] },
  ];
  files = tarball.files.map(({ path }) => path);
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{ "private": true }');
  await run('npm', ['install', '--loglevel=error', '--prefer-offline', join(folder, tarball.filename)], { cwd: app });
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the packed tarball', () => {
  it('has what runs, and neither sources, tests nor source maps', () => {
    expect(files).toContain('bin/salvor.mjs');
    expect(files).toContain('dist/cli/main.js');
    expect(files).toContain('dist/workflow-bundle.js');
    expect(files).toContain('sandbox/build/temporal/go.sum');
    expect(files.filter((file) => /\.(ts|map)$|^test\//.test(file))).toEqual([]);
  });

  it('works where it is installed, without a build', async () => {
    expect(existsSync(join(installed, 'build'))).toBe(false);
    const bin = join(app, 'node_modules/.bin/salvor');
    expect(await salvor(['--version'], { bin, cwd: app })).toMatchObject({ status: 0, stdout: `${SALVOR}\n` });
    writeFileSync(join(app, 'salvor.yaml'), 'rules: []');
    expect(await salvor(['config', 'check'], { bin, cwd: app })).toMatchObject({ status: 0 });
  });

  it('runs everything where it is installed: Temporal, worker and gateway', async () => {
    const [port, uiPort, listen] = [await freePort(), await freePort(), await freePort()];
    writeFileSync(join(app, 'salvor.yaml'), `gateway: { listen: 127.0.0.1:${listen} }`);
    const bin = join(app, 'node_modules/.bin/salvor');
    const args = ['up', '--json', '--data', join(folder, 'data'), '--port', `${port}`, '--ui-port', `${uiPort}`];
    const up = stay(args, { bin, cwd: app });
    await eventually('it is up', () => up.stdout().includes('"ready":true'), 120_000);
    expect((await fetch(`http://127.0.0.1:${listen}/readyz`)).status).toBe(200);
    up.child.kill('SIGTERM');
    expect(await up.ended).toBe(0);
  });
});

/** Makes a process believe that its Node is another one. */
const pretending = (version: string): string =>
  `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${version}'}})`;

describe('on an older Node', () => {
  const start = (version: string) =>
    run(process.execPath, ['--import', pretending(version), BIN, '--version']).then(
      ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );

  it.each(['18.20.4', '20.20.2', '22.18.0'])('%s it says which Node is needed, and how to get it', async (version) => {
    const { code, stdout, stderr } = await start(version);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`this is Node ${version}`);
    expect(stderr).toContain('22.19 or later');
    expect(stderr).toContain('npx salvor');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it.each(['22.19.0', '24.0.0', '100.1.0'])('%s it starts', async (version) => {
    expect(await start(version)).toMatchObject({ code: 0, stdout: `${SALVOR}\n` });
  });
});

describe('the checkout', () => {
  it('runs on the Node that npm ci brought along, whatever the host has', async () => {
    // Without what npm has put before the path of this test: the host's npx on the host's Node.
    const PATH = (process.env.PATH ?? '')
      .split(delimiter)
      .filter((part) => !part.includes('node_modules'))
      .join(delimiter);
    const { stdout } = await run('npx', ['salvor', '--version'], { cwd: ROOT, env: { ...process.env, PATH } });
    expect(stdout.trim()).toBe(SALVOR);
  });
});
