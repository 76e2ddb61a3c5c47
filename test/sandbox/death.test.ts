import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { eventually } from '../support/wait.ts';
import { processes, processesWith, program } from './processes.ts';

test('a process that is killed leaves no component, no guard and no folder', async () => {
  const parent = program('sandbox', ['temporal', 'kubernetes']);
  const folder = await parent.next<string>();
  const components = await processesWith(folder);
  expect(components.map(({ command }) => command.split(' ')[0]?.split('/').at(-1)).sort()).toEqual([
    expect.stringMatching(/^etcd/),
    expect.stringMatching(/^kube-apiserver/),
    expect.stringMatching(/^kube-controller-manager/),
    expect.stringMatching(/^kwok/),
    expect.stringMatching(/^temporal/),
  ]);
  const guards = new Set(components.map((component) => component.parent));
  expect(guards.size).toBe(1);
  const [guard] = guards;
  expect(guard).not.toBe(parent.child.pid);

  parent.child.kill('SIGKILL');
  await parent.ended;
  await eventually('no process of it is left', async () => {
    const left = (await processes()).filter(({ pid, command }) => command.includes(folder) || pid === guard);
    return left.length === 0;
  });
  expect(existsSync(folder)).toBe(false);
});

test('a guard that is killed takes its components with it, by the hand of the process that started them', async () => {
  const parent = program('sandbox', ['temporal']);
  const folder = await parent.next<string>();
  const [temporal] = await processesWith(folder);
  const guard = temporal!.parent;
  process.kill(guard, 'SIGKILL');
  await eventually('temporal is gone', async () => (await processesWith(folder)).length === 0);
  await eventually('another guard has its place', async () =>
    (await processes()).some((one) => {
      return one.parent === parent.child.pid && one.pid !== guard && /guard\.[jt]s/.test(one.command);
    }),
  );

  parent.child.kill('SIGKILL');
  await eventually('the folder is gone too', () => !existsSync(folder));
});
