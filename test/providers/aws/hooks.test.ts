import { CompleteLifecycleActionCommand } from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../../support/wait.ts';
import { type Patient, pulse, soon, World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

/** Each once: how many heartbeats there are depends on the time that all takes. */
const hooksOf = (it: Patient) => [...new Set(it.mutations.filter((one) => /Lifecycle/.test(one)))];
const complete = (it: Patient, LifecycleHookName: string) =>
  world.aws.client.send(
    new CompleteLifecycleActionCommand({
      ...{ AutoScalingGroupName: it.group, InstanceId: it.id, LifecycleHookName },
      LifecycleActionResult: 'CONTINUE',
    }),
  );

describe('lifecycle hooks', () => {
  test('those of the rule keep the old instance until its replacement serves; others are left alone', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 }, { lifecycleHooks: ['logs', 'none'] });
    await world.aws.hook(it.group, 'logs');
    await world.aws.hook(it.group, 'backup');
    const { found, request } = await it.out();
    const launches = world.moto.proxy.holdLaunches();
    expect(await it.replace(found, request)).toMatchObject({ verdict: 'replaced' });
    expect(await world.aws.state(it.group, it.id)).toBe('Terminating:Wait');
    const verifying = it.verify(found, request);
    await eventually('a heartbeat', async () => hooksOf(it).length > 0);
    expect(hooksOf(it)).toEqual(['RecordLifecycleActionHeartbeat logs']);
    launches.release();
    expect(await verifying).toMatchObject({ verified: true });
    expect(hooksOf(it)).toEqual(['RecordLifecycleActionHeartbeat logs', 'CompleteLifecycleAction logs CONTINUE']);
    expect(await world.aws.state(it.group, it.id), 'another hook keeps it').toBe('Terminating:Wait');
    await complete(it, 'backup');
    expect(await world.aws.state(it.group, it.id)).toBeUndefined();
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2, instances: [{}, {}] });
  });

  test('where it was replaced first they are completed as soon as it comes to them', async () => {
    const it = await world.patient({ min: 2, desired: 2, max: 2 }, { lifecycleHooks: ['logs'] });
    await world.aws.hook(it.group, 'logs');
    const { found, request } = await it.out();
    expect(await it.verify(found, request)).toMatchObject({ verified: true });
    world.moto.proxy.throttle(1, { action: 'CompleteLifecycleAction' });
    const cutOff = pulse();
    await expect(it.replace(found, request, { by: cutOff })).rejects.toMatchObject({ name: 'UnavailableError' });
    expect(await world.aws.state(it.group, it.id)).toBe('Terminating:Wait');
    const replaced = await it.replace(found, request, { by: pulse(cutOff.said) });
    expect(replaced).toMatchObject({ verdict: 'replaced', changes: [{ field: 'termination' }] });
    expect(hooksOf(it)).toEqual(['CompleteLifecycleAction logs CONTINUE']);
    expect(await world.aws.state(it.group, it.id)).toBeUndefined();
    expect(it.mutations.filter((one) => one.startsWith('Terminate'))).toHaveLength(1);
  });

  test('one that somebody has completed already is no error', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 }, { lifecycleHooks: ['logs', 'backup'] });
    await world.aws.hook(it.group, 'logs');
    await world.aws.hook(it.group, 'backup');
    const { found, request } = await it.out();
    await it.replace(found, request);
    await complete(it, 'logs');
    expect(await it.verify(found, request)).toMatchObject({ verified: true });
    expect(await world.aws.state(it.group, it.id)).toBeUndefined();
  });

  test('where nothing replaces it they are completed all the same, at the deadline', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 }, { lifecycleHooks: ['logs'] });
    await world.aws.hook(it.group, 'logs');
    const { found, request } = await it.out();
    const launches = world.moto.proxy.holdLaunches();
    await it.replace(found, request);
    expect(await it.verify(found, request, soon(300))).toMatchObject({ verified: false });
    expect(hooksOf(it).at(-1)).toBe('CompleteLifecycleAction logs CONTINUE');
    launches.release();
  });
});

describe('the machine of a node', () => {
  test('is found, terminated once, and let go by its hooks', async () => {
    const { machines } = world.provider;
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    await world.aws.hook(it.group, 'node');
    expect(await machines.find('i-00000000')).toBeUndefined();
    const machine = await machines.find(it.id);
    expect(machine).toEqual({ instanceId: it.id, group: it.group, state: 'InService' });
    expect(await machines.refusal(machine!)).toBeUndefined();
    expect(await machines.terminate(it.id)).toEqual({ requestId: expect.any(String) });
    expect(await machines.terminate(it.id), 'it is going').toEqual({});
    const going = await machines.find(it.id);
    expect(going).toMatchObject({ state: 'Terminating:Wait' });
    await machines.heartbeat(going!, ['node', 'other']);
    await machines.complete(going!, ['node', 'other']);
    await machines.complete(going!, ['node']);
    expect(await machines.find(it.id)).toBeUndefined();
    expect(await machines.terminate(it.id), 'it is gone').toEqual({});
    expect(it.mutations).toEqual([
      'TerminateInstanceInAutoScalingGroup without decrement',
      'RecordLifecycleActionHeartbeat node',
      'CompleteLifecycleAction node CONTINUE',
    ]);
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2, instances: [{}, {}] });
  });

  test('is refused as an instance is', async () => {
    const { machines } = world.provider;
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    await world.aws.tag(it.group, 'salvor.dev/skip');
    const machine = (await machines.find(it.id))!;
    expect(await machines.refusal(machine)).toContain('salvor.dev/skip');
    expect(await machines.refusal({ ...machine, group: 'none' })).toContain('does not exist');
    expect(await world.provider.groupOf(it.id)).toBe(it.group);
    expect(await world.provider.groupOf('i-00000000')).toBeUndefined();
  });
});
