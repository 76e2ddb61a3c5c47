import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AutoScalingClient,
  CompleteLifecycleActionCommand,
  DescribeInstanceRefreshesCommand,
  EnterStandbyCommand,
  ExitStandbyCommand,
  RecordLifecycleActionHeartbeatCommand,
  SetDesiredCapacityCommand,
  StartInstanceRefreshCommand,
  TerminateInstanceInAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Moto, startMoto } from '../../sandbox/moto.ts';
import { credentials, REGION, TestAws } from '../support/aws.ts';

let folder: string;
let moto: Moto;
let aws: TestAws;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
  moto = await startMoto({ folder });
  aws = new TestAws(moto);
}, 300_000);
afterAll(async () => {
  aws?.close();
  await moto?.stop();
  await rm(folder, { recursive: true, force: true });
});

const standby = (AutoScalingGroupName: string, id: string | undefined, ShouldDecrementDesiredCapacity: boolean) =>
  aws.client.send(
    new EnterStandbyCommand({ AutoScalingGroupName, InstanceIds: [id ?? ''], ShouldDecrementDesiredCapacity }),
  );
const back = (AutoScalingGroupName: string, id: string | undefined) =>
  aws.client.send(new ExitStandbyCommand({ AutoScalingGroupName, InstanceIds: [id ?? ''] }));
const terminate = (id: string | undefined) =>
  aws.client.send(
    new TerminateInstanceInAutoScalingGroupCommand({ InstanceId: id, ShouldDecrementDesiredCapacity: false }),
  );

describe('what moto does', () => {
  test('an instance goes to standby with a decrement, and back', async () => {
    const { name, ids } = await aws.group({ min: 1, desired: 2, max: 3 });
    await standby(name, ids[0], true);
    expect(await aws.read(name)).toMatchObject({ desired: 1 });
    expect(await aws.states(name)).toEqual({ [ids[0]!]: 'Standby', [ids[1]!]: 'InService' });
    await back(name, ids[0]);
    expect(await aws.read(name)).toMatchObject({ desired: 2 });
    expect(moto.proxy.mutations('test', ids[0]!)).toEqual(['EnterStandby with decrement', 'ExitStandby']);
  });

  test('standby without a decrement starts a replacement', async () => {
    const { name, ids } = await aws.group({ min: 1, desired: 1, max: 1 });
    const { release } = moto.proxy.holdLaunches();
    await standby(name, ids[0], false);
    expect(Object.values(await aws.states(name)).sort()).toEqual(['Pending', 'Standby']);
    release();
    expect(Object.values(await aws.states(name)).sort()).toEqual(['InService', 'Standby']);
    await terminate(ids[0]);
    expect(Object.values(await aws.states(name))).toEqual(['InService']);
  });
});

describe('what the proxy adds', () => {
  test('standby with a decrement at MinSize is refused, and changes nothing', async () => {
    const { name, ids } = await aws.group({ min: 2, desired: 2, max: 3 });
    await expect(standby(name, ids[0], true)).rejects.toMatchObject({
      name: 'ValidationError',
      message: expect.stringContaining('min-size=2, max-size=3, and desired-size=2'),
    });
    expect(await aws.state(name, ids[0]!)).toBe('InService');
  });

  test('what is in the wrong state, beyond the sizes, or not there is refused', async () => {
    const { name, ids } = await aws.group({ min: 1, desired: 2, max: 2 });
    await expect(back(name, ids[0])).rejects.toThrow(/not in Standby; it is InService/);
    await expect(standby('none', ids[0], true)).rejects.toThrow(/'none' not found/);
    await expect(standby(name, 'i-00000000', true)).rejects.toThrow(/not part of/);
    await expect(terminate('i-00000000')).rejects.toThrow(/No managed instance found/);
    const set = (DesiredCapacity: number) =>
      aws.client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: name, DesiredCapacity }));
    await expect(set(3)).rejects.toThrow(/value 3 is above max value 2/);
    await expect(set(0)).rejects.toThrow(/value 0 is below min value 1/);
    await standby(name, ids[0], false);
    await expect(back(name, ids[0])).rejects.toThrow(/max-size=2/);
  });

  test('an instance with hooks stays in Terminating:Wait until all are completed, while its place is taken', async () => {
    const { name, ids } = await aws.group({ min: 1, desired: 2, max: 3 });
    await aws.hook(name, 'logs');
    await aws.hook(name, 'backup');
    const id = ids[0]!;
    await terminate(id);
    expect(Object.values(await aws.states(name)).sort()).toEqual(['InService', 'InService', 'Terminating:Wait']);
    const action = { AutoScalingGroupName: name, InstanceId: id };
    await aws.client.send(new RecordLifecycleActionHeartbeatCommand({ ...action, LifecycleHookName: 'logs' }));
    const complete = (LifecycleHookName: string) =>
      aws.client.send(
        new CompleteLifecycleActionCommand({ ...action, LifecycleHookName, LifecycleActionResult: 'CONTINUE' }),
      );
    await complete('logs');
    expect(await aws.state(name, id)).toBe('Terminating:Wait');
    await expect(complete('logs')).rejects.toThrow(/No active Lifecycle Action found with instance ID/);
    await complete('backup');
    expect(await aws.state(name, id)).toBeUndefined();
    expect(await aws.read(name)).toMatchObject({ desired: 2, instances: [{}, {}] });
  });

  test('a lifecycle action with an unknown token is refused', async () => {
    const { name, ids } = await aws.group({ min: 1, desired: 1, max: 3 });
    await aws.hook(name, 'logs');
    await terminate(ids[0]);
    const action = { AutoScalingGroupName: name, LifecycleHookName: 'logs', LifecycleActionToken: 'x'.repeat(36) };
    await expect(aws.client.send(new RecordLifecycleActionHeartbeatCommand(action))).rejects.toMatchObject({
      name: 'ValidationError',
      message: expect.stringContaining('No active Lifecycle Action found with token'),
    });
  });

  test('an instance refresh runs once it was started', async () => {
    const { name } = await aws.group({ min: 1, desired: 1, max: 1 });
    const refreshes = () => aws.client.send(new DescribeInstanceRefreshesCommand({ AutoScalingGroupName: name }));
    expect((await refreshes()).InstanceRefreshes).toEqual([]);
    await aws.client.send(new StartInstanceRefreshCommand({ AutoScalingGroupName: name }));
    expect((await refreshes()).InstanceRefreshes).toMatchObject([{ Status: 'InProgress' }]);
  });

  test('a throttled request is answered as AWS does, and is on record', async () => {
    const { name, ids } = await aws.group({ min: 1, desired: 2, max: 3 });
    // The SDK itself tries three times.
    moto.proxy.throttle(3, { action: 'EnterStandby' });
    await expect(standby(name, ids[0], true)).rejects.toMatchObject({ name: 'Throttling' });
    expect(moto.proxy.mutations('test', ids[0]!)).toEqual([]);
    const asked = moto.proxy.requests.filter(({ parameters }) => parameters['InstanceIds.member.1'] === ids[0]);
    expect(asked.map(({ status, code }) => [status, code])).toEqual(Array(3).fill([400, 'Throttling']));
    await standby(name, ids[0], true);
    expect(moto.proxy.mutations('test', ids[0]!)).toEqual(['EnterStandby with decrement']);
  });

  test('a request can be held back before and after it is carried out', async () => {
    const { name, ids } = await aws.group({ min: 1, desired: 2, max: 3 });
    const before = moto.proxy.stall('EnterStandby', 'before');
    const entering = standby(name, ids[0], true);
    await before.reached;
    expect(await aws.state(name, ids[0]!)).toBe('InService');
    before.release();
    await entering;
    const after = moto.proxy.stall('ExitStandby', 'after');
    const exiting = back(name, ids[0]);
    await after.reached;
    expect(await aws.state(name, ids[0]!)).toBe('InService');
    after.release();
    await exiting;
  });

  test('an answer can be lost', async () => {
    const { name } = await aws.group({ min: 1, desired: 1, max: 3 });
    moto.proxy.lose('SetDesiredCapacity');
    const once = new AutoScalingClient({ region: REGION, endpoint: moto.url, credentials, maxAttempts: 1 });
    const set = new SetDesiredCapacityCommand({ AutoScalingGroupName: name, DesiredCapacity: 2 });
    await expect(once.send(set)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(await aws.read(name)).toMatchObject({ desired: 2 });
  });
});
