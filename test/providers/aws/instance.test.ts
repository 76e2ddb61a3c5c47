import {
  DeleteTagsCommand,
  ExitStandbyCommand,
  SetDesiredCapacityCommand,
  SetInstanceProtectionCommand,
  StartInstanceRefreshCommand,
  UpdateAutoScalingGroupCommand,
  type UpdateAutoScalingGroupCommandInput,
} from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Change } from '../../../model/change.ts';
import { HeldBack } from '../../../providers/instance.ts';
import { eventually } from '../../support/wait.ts';
import { type Patient, pulse, soon, World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

/** What a person, or another system, does. */
const person = {
  setDesired: (group: string, DesiredCapacity: number) =>
    world.aws.client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: group, DesiredCapacity })),
  exitStandby: (group: string, id: string) =>
    world.aws.client.send(new ExitStandbyCommand({ AutoScalingGroupName: group, InstanceIds: [id] })),
  update: (sizes: UpdateAutoScalingGroupCommandInput) =>
    world.aws.client.send(new UpdateAutoScalingGroupCommand(sizes)),
  protect: (group: string, id: string) =>
    world.aws.client.send(
      new SetInstanceProtectionCommand({
        AutoScalingGroupName: group,
        InstanceIds: [id],
        ProtectedFromScaleIn: true,
      }),
    ),
  refresh: (group: string) => world.aws.client.send(new StartInstanceRefreshCommand({ AutoScalingGroupName: group })),
};

type Out = Awaited<ReturnType<Patient['out']>>;

const note = ({ id }: Patient) => `salvor.dev/held/${id}`;

describe('above MinSize', () => {
  test('it is taken out with a decrement, recovers, and comes back: the desired capacity is as before', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { request, changes } = await it.out();
    expect(changes).toMatchObject([
      { field: 'LifecycleState', before: 'InService', after: 'Standby', requestId: expect.any(String) },
      { field: 'DesiredCapacity', before: 2, after: 1 },
    ]);
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 1, instances: [{}, {}] });
    expect(Object.keys(await world.aws.notes(it.group))).toEqual([note(it)]);

    const holding = it.hold(request);
    world.sick.delete(it.id);
    expect(await holding).toMatchObject({
      verdict: 'recovered',
      changes: [
        { step: 'restore', field: 'LifecycleState', before: 'Standby', after: 'InService' },
        { field: 'DesiredCapacity', before: 1, after: 2 },
      ],
    });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
    expect(await world.aws.state(it.group, it.id)).toBe('InService');
    expect(await world.aws.notes(it.group)).toEqual({});
    expect(it.mutations).toEqual([
      `CreateOrUpdateTags ${note(it)}`,
      'EnterStandby with decrement',
      `CreateOrUpdateTags ${note(it)}`,
      'ExitStandby',
      `DeleteTags ${note(it)}`,
    ]);
  });

  test('it does not recover: the capacity is set back, it is terminated without a decrement, and its place is taken', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { found, request } = await it.out();
    const held = await it.hold(request, { deadline: soon(200) });
    expect(held).toMatchObject({ verdict: 'sick', outSince: expect.any(String), changes: [] });
    const replaced = await it.replace(found, request);
    expect(replaced).toMatchObject({
      verdict: 'replaced',
      changes: [
        { field: 'DesiredCapacity', before: 1, after: 2 },
        { field: 'termination', what: 'terminated the instance' },
      ],
    });
    expect(await it.verify(found, request)).toMatchObject({ verified: true });
    const { desired, instances } = await world.aws.read(it.group);
    expect(desired).toBe(2);
    expect(instances.map(({ LifecycleState }) => LifecycleState)).toEqual(['InService', 'InService']);
    expect(instances.map(({ InstanceId }) => InstanceId)).not.toContain(it.id);
    expect(await world.aws.notes(it.group)).toEqual({});
    expect(it.mutations.slice(2)).toEqual([
      `CreateOrUpdateTags ${note(it)}`,
      'SetDesiredCapacity 2',
      `CreateOrUpdateTags ${note(it)}`,
      'TerminateInstanceInAutoScalingGroup without decrement',
      `DeleteTags ${note(it)}`,
    ]);
  });

  test('the desired capacity that somebody changed meanwhile is respected, recovered or not', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 6 });
    const { found, request } = await it.out();
    await person.setDesired(it.group, 4);
    const replaced = await it.replace(found, request);
    expect(replaced).toMatchObject({
      verdict: 'replaced',
      why: expect.stringMatching(/somebody else changed the desired capacity/),
    });
    expect(it.mutations).not.toContainEqual(expect.stringMatching(/^SetDesired/));
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 4 });

    const other = await world.patient({ min: 1, desired: 2, max: 6 });
    const out = await other.out();
    await person.setDesired(other.group, 4);
    world.sick.delete(other.id);
    expect(await other.hold(out.request)).toMatchObject({
      verdict: 'recovered',
      why: expect.stringContaining('would have been 2, and is 5'),
    });
    expect(await world.aws.read(other.group)).toMatchObject({ desired: 5 });
  });

  test('two of one group at once: each gives back the one that it took', async () => {
    const { name, ids } = await world.aws.group({ min: 1, desired: 4, max: 5 });
    const [one, two] = [0, 1].map((at) => {
      world.sick.add(ids[at]!);
      return world.patientOf(name, ids[at]!);
    }) as [Patient, Patient];
    const first = await one.out();
    const second = await two.out();
    expect(await world.aws.read(name)).toMatchObject({ desired: 2 });
    expect(second.found.owner).toMatchObject({ desired: 4, ready: 2 });
    expect(await one.replace(first.found, first.request)).toMatchObject({
      verdict: 'replaced',
      changes: [{ before: 2, after: 3 }, {}],
    });
    world.sick.delete(two.id);
    expect(await two.hold(second.request)).toMatchObject({
      verdict: 'recovered',
      why: expect.not.stringContaining('somebody'),
    });
    expect(await world.aws.read(name)).toMatchObject({ desired: 4 });
    expect(Object.values(await world.aws.states(name))).toEqual(Array(4).fill('InService'));
  });

  test('one that flaps is given up as soon as it has become sick so often', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 }, { flaps: 2, stableFor: 20_000 });
    const { request } = await it.out();
    const by = pulse();
    const holding = it.hold(request, { by, deadline: soon(60_000) });
    const flaps = () => (by.said as { flaps: number } | undefined)?.flaps ?? 0;
    const looks = () => world.checks.get(it.id) ?? 0;
    for (const time of [1, 2]) {
      world.sick.delete(it.id);
      const seen = looks();
      await eventually('it was seen healthy', async () => looks() > seen + 1);
      world.sick.add(it.id);
      if (time === 1) await eventually('it was seen sick', async () => flaps() === 1);
    }
    expect(await holding).toMatchObject({ verdict: 'sick', why: expect.stringContaining('became sick again 2 times') });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');
  });

  test('while nobody can tell how it is, it does not come back', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 }, { stableFor: 300 });
    const { request } = await it.out();
    world.sick.delete(it.id);
    world.unknown.add(it.id);
    const holding = it.hold(request);
    const looks = world.checks.get(it.id) ?? 0;
    await eventually('it was looked at many times', async () => (world.checks.get(it.id) ?? 0) > looks + 12);
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');
    world.unknown.delete(it.id);
    expect(await holding).toMatchObject({ verdict: 'recovered' });
  });

  test('throttled in the midst of it, it goes on', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { request } = await it.out();
    world.moto.proxy.throttle(3, { action: 'DescribeAutoScalingGroups' });
    world.moto.proxy.throttle(1, { action: 'ExitStandby' });
    world.sick.delete(it.id);
    expect(await it.hold(request)).toMatchObject({ verdict: 'recovered' });
    expect(it.mutations.filter((one) => one === 'ExitStandby')).toHaveLength(1);
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
  });

  test('who takes it out of standby has it: it is contested, and the note goes with the undo', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { request } = await it.out();
    await person.exitStandby(it.group, it.id);
    expect(await it.hold(request)).toMatchObject({
      verdict: 'contested',
      why: expect.stringContaining('InService again'),
    });
    expect(await it.port.restore({ ...request, step: 'restore' }, pulse())).toEqual([]);
    expect(await world.aws.notes(it.group)).toEqual({});
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
  });

  test('what an undo gave back is not taken again, nor terminated', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { found, request } = await it.out();
    expect(await it.port.restore({ ...request, step: 'restore' }, pulse())).toMatchObject([
      { field: 'LifecycleState', after: 'InService' },
      { field: 'DesiredCapacity', before: 1, after: 2 },
    ]);
    expect(await it.port.restore({ ...request, step: 'restore' }, pulse())).toEqual([]);
    expect(await it.hold(request)).toMatchObject({ verdict: 'given-back' });
    expect(await it.replace(found, request)).toMatchObject({ verdict: 'failed', changes: [] });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
    expect(it.mutations.filter((one) => /^(Enter|Exit|Set|Term)/.test(one))).toEqual([
      'EnterStandby with decrement',
      'ExitStandby',
    ]);
  });

  test('held back between its calls it stays out: its replacement was asked for', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { found, request } = await it.out();
    const objection = { gate: 'paused' as const, reason: 'paused by a person' };
    const by = pulse();
    by.stillMine = async () => {
      if (it.mutations.includes('SetDesiredCapacity 2')) throw new HeldBack(objection);
    };
    expect(await it.replace(found, request, { by })).toMatchObject({
      verdict: 'held-back',
      objection,
      changes: [{ field: 'DesiredCapacity', before: 1, after: 2 }],
    });
    world.sick.delete(it.id);
    expect(await it.hold(request, { deadline: soon(500) })).toMatchObject({
      verdict: 'sick',
      why: expect.stringContaining('replacement'),
    });
    await expect(it.port.restore({ ...request, step: 'restore' }, pulse())).rejects.toMatchObject({
      type: 'Contested',
    });
    expect(await it.replace(found, request)).toMatchObject({
      verdict: 'replaced',
      changes: [{ field: 'termination' }],
    });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2, instances: [{}, {}] });
    expect(it.mutations.filter((one) => one.startsWith('Set'))).toHaveLength(1);
  });

  test('an attempt that does not count any more changes nothing', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { found, request } = await it.out();
    const before = it.mutations;
    const over = { ...pulse(), stillMine: () => Promise.reject(new Error('not mine')) };
    await expect(it.replace(found, request, { by: over })).rejects.toThrow('not mine');
    world.sick.delete(it.id);
    await expect(it.hold(request, { by: over })).rejects.toThrow('not mine');
    expect(it.mutations).toEqual(before);
    const other = await world.patient({ min: 1, desired: 2, max: 3 });
    const asked = other.request(await other.sick());
    await expect(other.port.cut(asked, { ...over, aloneUntil: 0 })).rejects.toThrow('not mine');
    expect(other.mutations).toEqual([]);
  });

  test('a note that somebody took away is written again, once', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { request } = await it.out();
    const remove = async () => {
      const tag = { ResourceId: it.group, ResourceType: 'auto-scaling-group', Key: note(it) };
      await world.aws.client.send(new DeleteTagsCommand({ Tags: [tag] }));
    };
    await remove();
    const holding = it.hold(request);
    await eventually('it is noted again', async () => note(it) in (await world.aws.notes(it.group)));
    await remove();
    expect(await holding).toMatchObject({
      verdict: 'contested',
      why: expect.stringContaining('its note'),
      changes: [{ step: 'hold', field: `tag ${note(it)}` }],
    });
    await expect(it.port.restore({ ...request, step: 'restore' }, pulse())).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining('A person must decide'),
    });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');

    const other = await world.patient({ min: 1, desired: 2, max: 3 });
    const out = await other.out();
    const waiting = other.hold(out.request);
    await world.aws.client.send(
      new DeleteTagsCommand({
        Tags: [{ ResourceId: other.group, ResourceType: 'auto-scaling-group', Key: note(other) }],
      }),
    );
    world.sick.delete(other.id);
    expect(await waiting).toMatchObject({ verdict: 'recovered', why: expect.not.stringContaining('somebody') });
    expect(await world.aws.read(other.group)).toMatchObject({ desired: 2 });
  });

  test('there is no room for it any more: a person must decide', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { request } = await it.out();
    await person.setDesired(it.group, 3);
    world.sick.delete(it.id);
    expect(await it.hold(request)).toMatchObject({ verdict: 'contested', why: expect.stringContaining('MaxSize 3') });
    await expect(it.port.restore({ ...request, step: 'restore' }, pulse())).rejects.toMatchObject({
      type: 'Contested',
    });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');
  });

  test('the group has changed since the diagnosis: nothing is touched', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 4 });
    const request = it.request(await it.sick());
    await person.setDesired(it.group, 3);
    await expect(it.port.cut(request, pulse())).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining('was 2'),
    });
    expect(it.mutations).toEqual([]);
    await world.aws.client.send(new UpdateAutoScalingGroupCommand({ AutoScalingGroupName: it.group, MinSize: 3 }));
    expect(await it.sick()).toMatchObject({ traffic: { way: 'standby-replaced' } });
  });

  test('it is gone', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 4 });
    const { found, request } = await it.out();
    await world.terminate(it.id);
    expect(await it.hold(request)).toMatchObject({ verdict: 'gone' });
    expect(await it.replace(found, request)).toMatchObject({ verdict: 'gone', changes: [] });
    expect(await it.port.restore({ ...request, step: 'restore' }, pulse())).toEqual([]);
    expect(await world.aws.notes(it.group)).toEqual({});
  });

  test.for<[string, (it: Patient, out: Out) => Promise<Change[]>]>([
    ['the wait', async (it, { request }) => (await it.hold(request)).changes],
    ['the replacement', async (it, { found, request }) => (await it.replace(found, request)).changes],
    ['the undo', (it, { request }) => it.port.restore({ ...request, step: 'restore' }, pulse())],
  ])('where it went by itself, %s gives back what was taken from the desired capacity, once', async ([, end]) => {
    const it = await world.patient({ min: 1, desired: 3, max: 4 });
    const out = await it.out();
    await world.terminate(it.id);
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
    expect(await end(it, out)).toMatchObject([{ field: 'DesiredCapacity', before: 2, after: 3 }]);
    expect(await end(it, out)).toEqual([]);
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 3, instances: [{}, {}, {}] });
    expect(await world.aws.notes(it.group)).toEqual({});
  });

  test('where it went, and somebody changed the desired capacity or lowered MaxSize, that is respected', async () => {
    const it = await world.patient({ min: 1, desired: 3, max: 6 });
    const { request } = await it.out();
    await world.terminate(it.id);
    await person.setDesired(it.group, 5);
    expect(await it.hold(request)).toMatchObject({ verdict: 'gone', changes: [] });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 5 });

    const other = await world.patient({ min: 1, desired: 3, max: 3 });
    const out = await other.out();
    await world.terminate(other.id);
    await person.update({ AutoScalingGroupName: other.group, MaxSize: 2 });
    expect(await other.hold(out.request)).toMatchObject({ verdict: 'gone', changes: [] });
    expect(await world.aws.read(other.group)).toMatchObject({ desired: 2 });
  });

  test('where it went beside another that is out, both are given back', async () => {
    const { name, ids } = await world.aws.group({ min: 1, desired: 4, max: 5 });
    const [one, two] = [0, 1].map((at) => {
      world.sick.add(ids[at]!);
      return world.patientOf(name, ids[at]!);
    }) as [Patient, Patient];
    const first = await one.out();
    const second = await two.out();
    await world.terminate(one.id);
    expect(await one.hold(first.request)).toMatchObject({ verdict: 'gone', changes: [{ before: 2, after: 3 }] });
    expect(await two.replace(second.found, second.request)).toMatchObject({
      verdict: 'replaced',
      changes: [{ before: 3, after: 4 }, {}],
    });
    expect(await world.aws.read(name)).toMatchObject({ desired: 4 });
    expect(Object.values(await world.aws.states(name))).toEqual(Array(4).fill('InService'));
  });

  test('where it went, what was given back without an answer is told, and not given again', async () => {
    const it = await world.patient({ min: 1, desired: 3, max: 4 });
    const { request } = await it.out();
    await world.terminate(it.id);
    world.moto.proxy.lose('SetDesiredCapacity');
    expect(await it.hold(request)).toMatchObject({
      verdict: 'gone',
      changes: [{ before: 2, after: 3, what: expect.stringContaining('answer was lost') }],
    });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 3 });
    expect(it.mutations.filter((one) => one.startsWith('Set'))).toEqual(['SetDesiredCapacity 3']);
  });

  test.for(['protected from scale-in', 'instance refresh'])(
    'while it waits to be terminated, %s is respected',
    async (why) => {
      const it = await world.patient({ min: 1, desired: 2, max: 3 });
      const { found, request } = await it.out();
      await (why === 'instance refresh' ? person.refresh(it.group) : person.protect(it.group, it.id));
      expect(await it.replace(found, request, { deadline: soon(8_000) })).toMatchObject({
        verdict: 'blocked',
        why: expect.stringContaining(why),
        changes: [],
      });
      expect(await world.aws.state(it.group, it.id)).toBe('Standby');
    },
  );
});

describe('at MinSize', () => {
  test('its replacement is in service before it is terminated', async () => {
    const it = await world.patient({ min: 2, desired: 2, max: 2 });
    const launches = world.moto.proxy.holdLaunches();
    const { found, request, changes } = await it.out();
    expect(changes).toMatchObject([{ field: 'LifecycleState', after: 'Standby' }]);
    expect(changes).toHaveLength(1);
    expect(await it.verify(found, request, soon(300))).toMatchObject({
      verified: false,
      why: expect.stringContaining('has 1 of its desired 2'),
    });
    const replacing = it.replace(found, request, { deadline: soon(8_000) });
    expect(await replacing).toMatchObject({
      verdict: 'blocked',
      why: expect.stringContaining('replacement is not in service'),
    });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');

    launches.release();
    expect(await it.verify(found, request)).toMatchObject({ verified: true });
    expect(await it.assess(it.id), 'whatever a check says of it now').toMatchObject({ verdict: 'sick' });
    expect(await it.replace(found, request)).toMatchObject({
      verdict: 'replaced',
      changes: [{ field: 'termination' }],
    });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
    const states = await world.aws.states(it.group);
    expect(Object.values(states)).toEqual(['InService', 'InService']);
    expect(states).not.toHaveProperty(it.id);
    expect(it.mutations).toEqual([
      `CreateOrUpdateTags ${note(it)}`,
      'EnterStandby without decrement',
      'TerminateInstanceInAutoScalingGroup without decrement',
      `DeleteTags ${note(it)}`,
    ]);
  });

  test('it is never put back: a person is told what to do', async () => {
    const it = await world.patient({ min: 2, desired: 2, max: 3 });
    const { request } = await it.out();
    await expect(it.port.restore({ ...request, step: 'restore' }, pulse())).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining(
        `terminate-instance-in-auto-scaling-group --region eu-west-1 --instance-id ${it.id}`,
      ),
    });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');
    expect(it.mutations).not.toContain('ExitStandby');
  });
});
