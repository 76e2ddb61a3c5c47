import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lastLines, redacted } from '../../../providers/processes/redact.ts';
import { type ProcessOptions, runProcess } from '../../../providers/processes/run.ts';

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(`${tmpdir()}/salvor-run-`);
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

const node = (script: string, options: Partial<ProcessOptions> = {}) =>
  runProcess(process.execPath, ['-e', script], {
    ...{ cwd, env: {}, signal: new AbortController().signal, beat: () => undefined },
    ...options,
  });

test('tells the status and what was printed, without secrets', async () => {
  const told = await node('console.log("out"); console.error("\\u001b[31mbad pass-word\\u001b[0m"); process.exit(3)', {
    secrets: ['pass-word'],
  });
  expect(told).toEqual({ status: 3, stdout: 'out\n', stderr: 'bad (redacted)\n' });
});

test('gets no environment but its own', async () => {
  const { stdout } = await node('console.log(Object.keys(process.env).join())', { env: { ONE: '1' } });
  expect(stdout.trim().split(',')).not.toContain('PATH');
  expect(stdout).toContain('ONE');
});

test('more than is read is an error, and ends it', async () => {
  const endless = 'setInterval(() => console.log("x".repeat(1000)), 1)';
  await expect(node(endless, { mostOut: 10_000 })).rejects.toMatchObject({ type: 'Invalid' });
});

test('a command that is not there is told as such', async () => {
  const options = { cwd, env: {}, signal: new AbortController().signal, beat: () => undefined };
  await expect(runProcess('salvor-no-such', [], options)).rejects.toThrow(/could not be started.*ENOENT/);
});

test.each([
  { name: 'is asked to end', script: '' },
  { name: 'is killed when it does not', script: 'process.on("SIGTERM", () => undefined);' },
])('when its time is over it $name, with all that it started', async ({ script }) => {
  const over = new AbortController();
  let child = 0;
  const reason = new Error('over');
  const grandchildOf = `${script} setInterval(() => undefined, 1000); console.log("up")`;
  const body = `${script}
    const { spawn } = require('node:child_process');
    const child = spawn(process.execPath, ['-e', ${JSON.stringify(grandchildOf)}], { stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout.once('data', () => require('node:fs').writeFileSync('pid', String(child.pid)));
    setInterval(() => undefined, 1000);`;
  const running = node(body, {
    signal: over.signal,
    graceMs: 300,
    started: (pid) => {
      child = pid;
    },
  });
  await expect.poll(() => readFile(`${cwd}/pid`, 'utf8').catch(() => ''), { timeout: 20_000 }).toMatch(/\d/);
  const grandchild = Number(await readFile(`${cwd}/pid`, 'utf8'));
  await rm(`${cwd}/pid`);
  over.abort(reason);
  await expect(running).rejects.toBe(reason);
  for (const pid of [child, grandchild]) {
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  }
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('a secret that is a part of another leaves no rest of it', () => {
  expect(redacted('abcdef abc', ['abc', 'abcdef', ''])).toBe('(redacted) (redacted)');
});

test('of a long text the end is told', () => {
  expect(lastLines('one\n\n  two ')).toBe('one / two');
  expect(lastLines('a'.repeat(20), 5)).toBe('… aaaaa');
});
