import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../../sandbox/ports.ts';
import { eventually } from '../support/wait.ts';
import { BIN, ROOT, type Staying, salvor, stay } from './salvor.ts';

interface Ready {
  ui: string;
  temporal: string;
  webhook: string;
  data: string;
}

let folder: string;
let ports: { temporal: number; ui: number; gateway: number };
let running: Staying[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-up-'));
  ports = { temporal: await freePort(), ui: await freePort(), gateway: await freePort() };
  // A cluster that is not there: what is started for it stays open, and tries again.
  writeFileSync(
    join(folder, 'kubeconfig'),
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'gone', cluster: { server: 'https://127.0.0.1:9' } }],
      users: [{ name: 'me', user: { token: 'none' } }],
      contexts: [{ name: 'gone', context: { cluster: 'gone', user: 'me' } }],
      'current-context': 'gone',
    }),
  );
  writeFileSync(
    join(folder, 'salvor.yaml'),
    `temporal: { address: 127.0.0.1:${ports.temporal} }
gateway: { listen: 127.0.0.1:${ports.gateway} }
clusters: [{ name: gone, kubeconfig: ./kubeconfig }]
# The cluster cannot be reached, which is no reason to refuse here.
defaults: { gates: { failClosed: false } }
`,
  );
});

afterEach(async () => {
  for (const { child } of running) child.kill('SIGKILL');
  await Promise.all(running.map(({ ended }) => ended));
  running = [];
  rmSync(folder, { recursive: true, force: true });
});

const args = (...more: string[]) => [
  'up',
  '--json',
  '--data',
  join(folder, 'data'),
  '--ui-port',
  `${ports.ui}`,
  ...more,
];

function start(...more: string[]): Staying {
  const up = stay(args(...more), { cwd: folder });
  running.push(up);
  return up;
}

async function ready(up: Staying): Promise<Ready> {
  const line = await eventually(
    'it is up',
    () => {
      if (up.child.exitCode !== null) throw new Error(`it ended: ${up.stdout()}${up.stderr()}`);
      return up.stdout().includes('"ready":true') && up.stdout();
    },
    60_000,
  );
  return JSON.parse(line) as Ready;
}

/** All that descends from a process, by the system's own table. */
function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = parentOf(Number(entry));
    if (parent !== undefined) parents.set(Number(entry), parent);
  }
  const children = (of: number): number[] =>
    [...parents].filter(([, parent]) => parent === of).flatMap(([child]) => [child, ...children(child)]);
  return children(pid);
}

/** undefined where there is no such process, or only what is left of one. */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}

const allGone = (pids: number[]): boolean => pids.every((pid) => parentOf(pid) === undefined);

describe('salvor up', () => {
  it('serves Temporal, its UI and the gateway, and the next start finds the state of the first', async () => {
    const first = start();
    const at = await ready(first);
    expect(at).toMatchObject({ temporal: `127.0.0.1:${ports.temporal}`, data: join(folder, 'data') });
    expect((await fetch(at.ui)).status).toBe(200);
    expect((await fetch(new URL('/readyz', at.webhook))).status).toBe(200);
    const asked = await salvor(['run', 'drain-instance', 'k8s/gone/shop/pod/web-0', '--json'], { cwd: folder });
    expect(asked.status).toBe(0);
    const { runId } = JSON.parse(asked.stdout).remediation as { runId: string };
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);

    await ready(start());
    // Temporal may have been asked to end before it had listed the run; then it does so now.
    const rows = await eventually('it is listed', async () => {
      const { stdout } = await salvor(['list', '--json', '--rule', 'run:drain-instance'], { cwd: folder });
      const all = JSON.parse(stdout) as object[];
      return all.length > 0 && all;
    });
    expect(rows).toMatchObject([{ id: runId, outcome: 'running' }]);
    const shown = await salvor(['show', 'k8s/gone/shop/pod/web-0', '--json'], { cwd: folder });
    expect(JSON.parse(shown.stdout)).toMatchObject({
      id: runId,
      story: { target: 'k8s/gone/shop/pod/web-0', rule: 'run:drain-instance' },
    });
  });

  it('starts without a configuration, and says how to make one', async () => {
    rmSync(join(folder, 'salvor.yaml'));
    const up = stay(['up', '--data', join(folder, 'data'), '--ui-port', `${ports.ui}`, '--port', `${ports.temporal}`], {
      cwd: folder,
    });
    running.push(up);
    // Its gateway takes the default port, which may be in use here; then it says so, and ends.
    const said = await eventually(
      'it is up, or says why not',
      () => /Ctrl-C|cannot listen/.exec(up.stdout() + up.stderr()) ?? undefined,
      60_000,
    );
    if (said[0] === 'Ctrl-C') expect(up.stdout()).toContain('salvor config schema');
    else expect(await up.ended).toBe(2);
  });

  it('starts Temporal again where it dies', async () => {
    const up = start();
    await ready(up);
    const temporal = descendants(up.child.pid!).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('start-dev'),
    );
    process.kill(temporal!, 'SIGKILL');
    await eventually('Temporal is killed', () => allGone([temporal!]));
    await eventually('it answers again', async () => (await salvor(['list'], { cwd: folder })).status === 0, 60_000);
    expect(up.child.exitCode).toBeNull();
  });
});

describe('the end of salvor up', () => {
  it('by Ctrl-C ends every process', async () => {
    const up = start();
    await ready(up);
    const all = [up.child.pid!, ...descendants(up.child.pid!)];
    expect(all.length).toBeGreaterThan(2);
    up.child.kill('SIGINT');
    expect(await up.ended).toBe(130);
    await eventually('nothing is left', () => allGone(all));
  });

  it('by SIGKILL leaves nothing running either', async () => {
    const up = start();
    await ready(up);
    const all = descendants(up.child.pid!);
    up.child.kill('SIGKILL');
    await eventually('nothing is left', () => allGone(all));
  });

  it.each([
    ['its parent', startUnderParent],
    ['npx', startUnderNpx],
  ])('follows the end of %s', async (_, startUnder) => {
    const parent = startUnder();
    const [up] = await eventually(
      'it is up',
      async () => {
        const pids = descendants(parent.pid!);
        return (await isServing()) && pids;
      },
      60_000,
    );
    const all = [up!, ...descendants(up!)];
    expect(all.length).toBeGreaterThan(2);
    parent.kill('SIGKILL');
    await eventually('nothing is left', () => allGone(all));
  });
});

/** A process in between, which can be killed without a word to its child. */
function startUnderParent(): ChildProcess {
  const script = `require('node:child_process').spawn(process.execPath, ${JSON.stringify([BIN, ...args()])}, { stdio: 'ignore' })`;
  const child = spawn(process.execPath, ['-e', script], { cwd: folder, stdio: 'ignore' });
  return child;
}

/** npm has a shell between itself and what it runs. */
const startUnderNpx = (): ChildProcess =>
  spawn('npx', ['salvor', '-c', join(folder, 'salvor.yaml'), ...args()], { cwd: ROOT, stdio: 'ignore' });

const isServing = (): Promise<boolean> =>
  fetch(`http://127.0.0.1:${ports.gateway}/readyz`).then(
    ({ status }) => status === 200,
    () => false,
  );

describe('salvor up refuses to start', () => {
  it('beside another one on the same data', async () => {
    await ready(start());
    const second = await salvor(args('--port', `${await freePort()}`), { cwd: folder });
    expect(second.status).toBe(1);
    expect(JSON.parse(second.stdout).error.message).toContain('another `salvor up` runs on');
  });

  it('where the port of Temporal is taken, and says what can be done', async () => {
    const other = createServer();
    await new Promise<void>((listening) => other.listen(ports.temporal, '127.0.0.1', listening));
    const { status, stdout } = await salvor(args(), { cwd: folder });
    other.close();
    expect(status).toBe(1);
    const { error } = JSON.parse(stdout);
    expect(error.message).toContain(`127.0.0.1:${ports.temporal}`);
    expect(error.advice).toContain('--port');
    expect(error.advice).toContain('salvor worker');
  });

  it('where the configuration names another Temporal', async () => {
    writeFileSync(join(folder, 'salvor.yaml'), 'temporal: { address: temporal.example:7233 }');
    const { status, stdout } = await salvor(args(), { cwd: folder });
    expect(status).toBe(2);
    expect(JSON.parse(stdout).error.message).toContain('temporal.example:7233');
  });

  it('where the gateway cannot listen, and leaves nothing running', async () => {
    const other = createServer();
    await new Promise<void>((listening) => other.listen(ports.gateway, '127.0.0.1', listening));
    const { status, stdout } = await salvor(args(), { cwd: folder });
    other.close();
    expect(status).toBe(2);
    expect(JSON.parse(stdout).error.message).toContain(`${ports.gateway}`);
    await expect(fetch(`http://127.0.0.1:${ports.ui}`)).rejects.toThrow();
  });
});
