import {
  EnterStandbyCommand,
  SetInstanceProtectionCommand,
  StartInstanceRefreshCommand,
  SuspendProcessesCommand,
} from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnavailableError } from '../../../providers/errors.ts';
import { type Patient, World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

/** What a person, or another system, does. */
const person = {
  enterStandby: (group: string, id: string) =>
    world.aws.client.send(
      new EnterStandbyCommand({ AutoScalingGroupName: group, InstanceIds: [id], ShouldDecrementDesiredCapacity: true }),
    ),
};

describe('a look', () => {
  test('above MinSize it would be taken out with a decrement, and may recover', async () => {
    const it = await world.patient({ min: 1, desired: 3, max: 4 });
    expect(await it.sick()).toMatchObject({
      why: expect.stringContaining('errors is 1'),
      instance: { key: it.key, uid: it.id },
      traffic: { way: 'standby' },
      course: { kind: 'hold' },
      held: [
        { field: 'LifecycleState', before: 'InService', set: 'Standby' },
        { field: 'DesiredCapacity', before: 3, set: 2 },
      ],
      owner: { key: `asg/main/${it.group}`, workload: `asg/main/${it.group}`, desired: 3, ready: 2 },
    });
    expect(it.mutations).toEqual([]);
  });

  test('at MinSize it would be replaced at once, and not come back', async () => {
    const it = await world.patient({ min: 2, desired: 2, max: 3 });
    expect(await it.sick()).toMatchObject({
      traffic: { way: 'standby-replaced' },
      course: { kind: 'replacement', keepFor: 0, afterwards: 'delete' },
      held: [{ field: 'LifecycleState', before: 'InService', set: 'Standby' }],
    });
    const kept = await world.patient({ min: 2, desired: 2, max: 3 }, { replace: false });
    expect(await kept.assess()).toMatchObject({ verdict: 'protected', why: expect.stringMatching(/never come back/) });
  });

  test('it is sick where its group says so, without a check', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 4 });
    const { health: _health, ...options } = it.options;
    const assess = () => it.port.assess({ target: it.key, options, actor: it.actor });
    expect(await assess()).toMatchObject({ verdict: 'healthy' });
    await world.aws.health(it.id, 'Unhealthy');
    expect(await assess()).toMatchObject({ verdict: 'sick', why: expect.stringContaining('Unhealthy') });
  });

  test('what is not there is gone', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 4 });
    const other = world.provider.instance({ type: 'asg', aws: 'main', group: it.group, instance: 'i-00000000' });
    expect(await other.assess({ target: it.key, options: it.options, actor: it.actor })).toMatchObject({
      verdict: 'gone',
    });
    world.moto.proxy.show(it.id, 'Terminating');
    expect(await it.assess()).toMatchObject({ verdict: 'gone', why: expect.stringContaining('Terminating') });
    world.moto.proxy.show(it.id, undefined);
  });

  test.for<[string, (it: Patient) => Promise<unknown>, RegExp]>([
    [
      'an instance refresh runs',
      (it) => world.aws.client.send(new StartInstanceRefreshCommand({ AutoScalingGroupName: it.group })),
      /instance refresh of .* runs/,
    ],
    [
      'it is protected from scale-in',
      (it) =>
        world.aws.client.send(
          new SetInstanceProtectionCommand({
            AutoScalingGroupName: it.group,
            InstanceIds: [it.id],
            ProtectedFromScaleIn: true,
          }),
        ),
      /protected from scale-in/,
    ],
    [
      'Launch is suspended',
      (it) =>
        world.aws.client.send(
          new SuspendProcessesCommand({ AutoScalingGroupName: it.group, ScalingProcesses: ['Launch'] }),
        ),
      /process Launch .* suspended/,
    ],
    [
      'Terminate is suspended',
      (it) =>
        world.aws.client.send(
          new SuspendProcessesCommand({ AutoScalingGroupName: it.group, ScalingProcesses: ['Terminate'] }),
        ),
      /process Terminate .* suspended/,
    ],
    ['its group is excluded by its tag', (it) => world.aws.tag(it.group, 'salvor.dev/skip'), /tag salvor.dev\/skip/],
    [
      'a person has put it on standby',
      (it) => person.enterStandby(it.group, it.id),
      /it is Standby, and Salvor did not/,
    ],
  ])('it is protected where %s', async ([, make, why]) => {
    const it = await world.patient({ min: 1, desired: 3, max: 4 });
    await make(it);
    expect(await it.assess()).toMatchObject({ verdict: 'protected', why: expect.stringMatching(why) });
    expect(it.mutations).toEqual([]);
  });

  test('it is protected where another remediation holds it', async () => {
    const it = await world.patient({ min: 1, desired: 3, max: 4 });
    await it.out();
    const actor = { ...it.actor, remediation: 'another' };
    const found = await it.port.assess({ target: it.key, options: it.options, actor });
    expect(found).toMatchObject({ verdict: 'protected', why: expect.stringContaining(it.actor.remediation) });
  });

  test('throttling and silence are to be tried again, missing rights are for a person', async () => {
    const it = await world.patient({ min: 1, desired: 3, max: 4 });
    const { proxy } = world.moto;
    proxy.throttle(1, { code: 'RequestLimitExceeded', status: 503 });
    await expect(it.assess()).rejects.toMatchObject({
      name: 'UnavailableError',
      message: expect.stringMatching(/cannot DescribeAutoScalingGroups .* in AWS account main \(eu-west-1\)/),
    });
    proxy.throttle(1);
    await expect(it.assess()).rejects.toBeInstanceOf(UnavailableError);
    proxy.throttle(1, { code: 'AccessDenied', status: 403 });
    await expect(it.assess()).rejects.toMatchObject({
      type: 'Forbidden',
      message: expect.stringContaining('Allow autoscaling:DescribeAutoScalingGroups'),
    });
    proxy.throttle(1, { code: 'ExpiredToken', status: 403 });
    await expect(it.assess()).rejects.toMatchObject({
      name: 'UnavailableError',
      message: expect.stringContaining('renew them if this lasts'),
    });
    proxy.throttle(1, { code: 'InvalidClientTokenId', status: 403 });
    await expect(it.assess()).rejects.toMatchObject({
      type: 'Forbidden',
      message: expect.stringContaining('renew them'),
    });
    // As to a machine whose clock is behind: once the SDK knows by how much, it signs as of the time of AWS.
    const skew = { code: 'SignatureDoesNotMatch', status: 403, date: new Date(Date.now() + 3_600_000) };
    proxy.throttle(1, skew);
    await expect(it.assess()).rejects.toMatchObject({
      name: 'UnavailableError',
      message: expect.stringContaining('the clock of this machine is minutes off'),
    });
    proxy.throttle(1, { ...skew, code: 'AccessDenied' });
    await expect(it.assess(), 'it is not the clock').rejects.toMatchObject({ type: 'Forbidden' });
    proxy.lose('DescribeAutoScalingGroups');
    await expect(it.assess()).rejects.toBeInstanceOf(UnavailableError);
    expect(await it.sick()).toMatchObject({ verdict: 'sick' });
  });
});
