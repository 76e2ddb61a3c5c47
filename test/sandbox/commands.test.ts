import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type SandboxState, sandboxDown, sandboxState } from '../../sandbox/commands.ts';
import { eventually } from '../support/wait.ts';
import { processesWith, program } from './processes.ts';

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'salvor-test-'));
  vi.stubEnv('XDG_DATA_HOME', home);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(home, { recursive: true, force: true });
});

type State = Required<SandboxState>;

test('up brings everything up once, and down ends it from another process', async () => {
  expect(await sandboxDown()).toBe('none');
  const first = program('up');
  const state = await first.next<State>();
  expect(await sandboxState()).toEqual(state);
  expect(state.pid).toBe(first.child.pid);
  expect(existsSync(state.up.kubernetes.kubeconfig)).toBe(true);
  // Nothing waits for the UI when the server comes up.
  await eventually('the UI answers', async () => (await fetch(state.up.temporal.uiUrl!)).status === 200);
  expect((await fetch(`${state.up.prometheus}/-/ready`)).status).toBe(200);
  expect((await fetch(`${state.up.alertmanager}/-/ready`)).status).toBe(200);

  const second = program('up');
  expect(await second.next()).toEqual({ error: 'SandboxIsUpError' });

  expect(await sandboxDown()).toBe('ended');
  expect(await first.next()).toEqual({ signal: 'SIGTERM' });
  expect(await processesWith(state.up.folder)).toEqual([]);
  expect(existsSync(state.up.folder)).toBe(false);
  expect(await sandboxState()).toBeUndefined();
  expect(await sandboxDown()).toBe('none');
});

test('down clears up after a process that was killed', async () => {
  const killed = program('up');
  const state = await killed.next<State>();
  killed.child.kill('SIGKILL');
  await killed.ended;
  expect(await sandboxState()).toBeUndefined();
  expect(await sandboxDown()).toBe('was-dead');
  expect(await sandboxDown()).toBe('none');
  await eventually('no component is left', async () => (await processesWith(state.up.folder)).length === 0);
});
