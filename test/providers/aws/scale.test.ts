import {
  DeleteAutoScalingGroupCommand,
  StartInstanceRefreshCommand,
  UpdateAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Change } from '../../../model/change.ts';
import { HeldBack, LOST } from '../../../providers/instance.ts';
import { NOTE, NOTED, noteOf, Scaled, UNNOTED } from './scale-support.ts';
import { pulse, World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

const summary = (changes: Change[]) => changes.map(({ field, before, after }) => [field, before, after]);
const set = (before: number, after: number) => [['DesiredCapacity', before, after]];

describe('a reading', () => {
  test('tells the size, the limits, and who serves', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 3, max: 6 });
    const { instances } = await world.aws.read(it.group);
    await world.aws.health(instances[0]!.InstanceId!, 'Unhealthy');
    const scale = await it.found();
    expect(scale).toMatchObject({
      object: { key: it.key, uid: expect.stringMatching(/^arn:aws:autoscaling:/) },
      by: { field: 'DesiredCapacity', value: 3 },
      desired: 3,
      ready: 2,
      min: 1,
      max: 6,
      workload: it.key,
      why: 'its size is its DesiredCapacity, within its own MinSize and MaxSize',
    });
    expect(await it.found(scale.object.uid)).toEqual(scale);
    expect(await it.read(`${scale.object.uid}x`)).toMatchObject({ verdict: 'gone' });
    expect(it.mutations).toEqual([]);
  });

  test('says which policies set the size too', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 6 });
    await world.aws.policy(it.group, 'cpu', 4);
    expect((await it.found()).why).toMatch(
      /MaxSize; cpu \(SimpleScaling\) sets it too: what a policy sets meanwhile is respected/,
    );
  });

  test.each<[string, (it: Scaled) => Promise<unknown>, RegExp]>([
    ['the tag salvor.dev/skip', (it) => world.aws.tag(it.group, 'salvor.dev/skip'), /carries the tag salvor.dev\/skip/],
    ['Launch suspended', (it) => world.aws.suspend(it.group, 'Launch'), /process Launch .* is suspended/],
    ['Terminate suspended', (it) => world.aws.suspend(it.group, 'Terminate'), /process Terminate .* is suspended/],
    [
      'an instance refresh',
      ({ group }) => world.aws.client.send(new StartInstanceRefreshCommand({ AutoScalingGroupName: group })),
      /an instance refresh of .* runs \(.* is InProgress\)/,
    ],
    [
      'a note that cannot be read',
      (it) => world.aws.tag(it.group, NOTE, 'odd'),
      /cannot be read.*a person must remove/,
    ],
    [
      'a note of another remediation',
      (it) => world.aws.tag(it.group, NOTE, noteOf('another', 60_000)),
      /held by remediation another \(scale-on-backlog\) until/,
    ],
  ])('is protected: %s', async (_, make, why) => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 4 });
    const scale = await it.found();
    await make(it);
    expect(await it.read()).toEqual({ verdict: 'protected', why: expect.stringMatching(why) });
    await expect(it.scale(scale, 2, 3), 'nor is it set').rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringMatching(why),
    });
    expect([await it.desired(), it.mutations]).toEqual([2, []]);
  });

  test('of what is not there says so', async () => {
    const it = new Scaled(world, 'none');
    expect(await it.read()).toMatchObject({ verdict: 'gone', why: expect.stringContaining('does not exist') });
    expect(() => world.provider.scalable({ type: 'asg', aws: 'main', group: 'a', instance: 'i-1' })).toThrow(
      /is an instance, and only a group has a size/,
    );
  });
});

describe('scaling', () => {
  test('notes what it holds, sets it, whatever the cooldown, and gives it back', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 8 });
    const scale = await it.found();
    const changes = await it.scale(scale, 2, 4);
    expect(summary(changes)).toEqual(set(2, 4));
    expect(changes[0]).toMatchObject({ what: 'DesiredCapacity: 2 → 4', requestId: expect.any(String), step: 'scale' });
    expect(await it.note()).toMatch(/^runbook=scale-on-backlog remediation=\S+ until=\S+ before=2 from=2 set=4$/);
    expect(summary(await it.scale(scale, 4, 7))).toEqual(set(4, 7));
    expect(await it.note()).toMatch(/ before=2 from=4 set=7$/);
    expect(await it.found(scale.object.uid)).toMatchObject({ desired: 7, ready: 7, by: { value: 7 } });
    expect(summary(await it.scale(scale, 7, 5))).toEqual(set(7, 5));
    expect(summary(await it.back(scale, 5))).toEqual(set(5, 2));
    expect([await it.desired(), await it.note()]).toEqual([2, undefined]);
    expect(it.mutations).toEqual([
      ...[NOTED, 'SetDesiredCapacity 4', NOTED, 'SetDesiredCapacity 7', NOTED, 'SetDesiredCapacity 5'],
      ...[NOTED, 'SetDesiredCapacity 2', UNNOTED],
    ]);
    const sent = world.moto.proxy.requests.filter(
      ({ action, parameters }) => action === 'SetDesiredCapacity' && parameters['AutoScalingGroupName'] === it.group,
    );
    expect(sent.map(({ parameters }) => parameters['HonorCooldown'])).toEqual(['false', 'false', 'false', 'false']);
    expect(await it.back(scale, 5), 'again').toEqual([]);
    expect(await it.desired()).toBe(2);
  });

  test.each([
    [7, /its own MaxSize is 6/],
    [1, /its own MinSize is 2/],
  ])('to %i, beyond the limits of the group, does not', async (to, why) => {
    const it = await Scaled.of(world, { min: 2, desired: 3, max: 6 });
    await expect(it.scale(await it.found(), 3, to)).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringMatching(why),
    });
    expect([await it.desired(), it.mutations]).toEqual([3, []]);
  });

  test('that is let go stays as it is, though Salvor was the last to set it', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 8 });
    const scale = await it.found();
    await it.scale(scale, 2, 4);
    expect(await it.letGo(scale, 4)).toEqual([]);
    expect([await it.desired(), await it.note()]).toEqual([4, undefined]);
  });

  test('what somebody else has set meanwhile is seen, and stays', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 2, 4);
    await it.set(6);
    await expect(it.scale(scale, 4, 5)).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringMatching(/somebody else has set its desired capacity to 6 meanwhile \(it was 4\); nothing/),
    });
    expect(await it.back(scale, 4)).toEqual([]);
    expect([await it.desired(), await it.note()]).toEqual([6, undefined]);
    expect(it.mutations).toEqual([NOTED, 'SetDesiredCapacity 4', UNNOTED]);
  });

  test('what AWS refuses because it was overtaken is looked at again', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    const stall = world.moto.proxy.stall('SetDesiredCapacity', 'before');
    const failed = it.scale(scale, 2, 8).catch((error: unknown) => error);
    await stall.reached;
    const smaller = new UpdateAutoScalingGroupCommand({ AutoScalingGroupName: it.group, MaxSize: 5 });
    await world.aws.client.send(smaller);
    stall.release();
    expect(await failed).toMatchObject({
      name: 'UnavailableError',
      message: expect.stringContaining('above max value 5'),
    });
    await expect(it.scale(scale, 2, 8)).rejects.toMatchObject({ type: 'Contested' });
    expect(await it.found(scale.object.uid)).toMatchObject({ desired: 2, max: 5 });
    expect(summary(await it.scale(scale, 2, 5))).toEqual(set(2, 5));
  });

  test('that is not its time, or whose attempt counts no more, writes nothing', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    const no = new HeldBack({ gate: 'paused', reason: 'paused' });
    const attempt = { ...pulse(), stillMine: () => Promise.reject(no) };
    await expect(it.scale(scale, 2, 3, attempt)).rejects.toBe(no);
    await expect(it.back(scale, 2, attempt)).resolves.toEqual([]);
    expect([await it.desired(), it.mutations]).toEqual([2, []]);
    const answers = [() => Promise.resolve(), () => Promise.reject(no)];
    const second = { ...pulse(), aloneUntil: 0, stillMine: async () => answers.shift()?.() };
    await expect(it.scale(scale, 2, 3, second), 'asked again before the call').rejects.toBe(no);
    expect(it.mutations).toEqual([NOTED]);
    expect(await it.back(scale, 3)).toEqual([]);
    expect([await it.desired(), await it.note()]).toEqual([2, undefined]);
  });

  test('of a group that is another one by now, or gone, does not', async () => {
    const it = await Scaled.of(world, { min: 0, desired: 0, max: 3 });
    const scale = await it.found();
    const object = { ...scale.by.object, uid: 'arn:other' };
    const other = { ...scale, by: { ...scale.by, object } };
    await expect(it.scale(other, 0, 1)).rejects.toMatchObject({ type: 'Replaced' });
    expect(await it.back(other, 1)).toEqual([]);
    await world.aws.client.send(new DeleteAutoScalingGroupCommand({ AutoScalingGroupName: it.group }));
    await expect(it.scale(scale, 0, 1)).rejects.toMatchObject({ type: 'Replaced' });
    expect(await it.back(scale, 1)).toEqual([]);
    expect(it.mutations).toEqual([]);
  });

  test('another remediation that holds it keeps it', async () => {
    const [one, two] = [await Scaled.of(world, { min: 1, desired: 2, max: 9 })].flatMap((it) => [
      it,
      new Scaled(world, it.group),
    ]) as [Scaled, Scaled];
    const scale = await one.found();
    await one.scale(scale, 2, 4);
    expect(await one.read()).toMatchObject({ verdict: 'found' });
    expect(await two.read(scale.object.uid)).toMatchObject({ verdict: 'protected' });
    await expect(two.scale(scale, 4, 6)).rejects.toMatchObject({ type: 'Contested' });
    expect(await two.back(scale, 4)).toEqual([]);
    expect(await one.desired()).toBe(4);
  });

  test('a drain that has taken one out of service for a while is no change by somebody else', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 3, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 3, 5);
    const { instances } = await world.aws.read(it.group);
    const sick = world.patientOf(it.group, instances[0]!.InstanceId!, { stableFor: 10 });
    world.sick.add(sick.id);
    const { request } = await sick.out();
    expect(await it.desired()).toBe(4);
    expect(await it.found(scale.object.uid)).toMatchObject({ desired: 5, ready: 4, min: 2, max: 9 });
    const [change] = await it.scale(scale, 5, 6);
    expect(change?.what).toBe('DesiredCapacity: 4 → 5 (and 1 on standby, which Salvor gives back)');
    world.sick.delete(sick.id);
    expect(await sick.hold(request)).toMatchObject({ verdict: 'recovered' });
    expect(await it.found(scale.object.uid)).toMatchObject({ desired: 6, ready: 6, min: 1 });
    expect(summary(await it.back(scale, 6))).toEqual(set(6, 3));
  });
});

test('who looks while a drain gives an instance back sees the size that was set', async () => {
  const it = await Scaled.of(world, { min: 1, desired: 3, max: 9 });
  const scale = await it.found();
  await it.scale(scale, 3, 5);
  const { instances } = await world.aws.read(it.group);
  const sick = world.patientOf(it.group, instances[0]!.InstanceId!);
  world.sick.add(sick.id);
  const { found, request } = await sick.out();
  const stall = world.moto.proxy.stall('SetDesiredCapacity', 'after');
  const replaced = sick.replace(found, request);
  await stall.reached;
  expect(await it.desired(), 'as before, and the one on standby').toBe(5);
  expect(await it.found(scale.object.uid)).toMatchObject({ desired: 5 });
  stall.release();
  expect((await replaced).verdict).toBe('replaced');
  expect(await it.found(scale.object.uid)).toMatchObject({ desired: 5 });
});

describe('an attempt that was killed', () => {
  test('between its note and its call is done by the next one', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    const stall = world.moto.proxy.stall('SetDesiredCapacity', 'before');
    const first = world.make();
    const port = first.scalable({ type: 'asg', aws: 'main', group: it.group });
    const killed = port.scaleTo(it.request(scale, 2, 5), pulse()).catch(() => 'killed');
    await stall.reached;
    await first.close();
    expect(await killed).toBe('killed');
    stall.release();
    expect([await it.desired(), await it.note()]).toEqual([2, expect.stringMatching(/before=2 from=2 set=5$/)]);
    expect(summary(await it.scale(scale, 2, 5))).toEqual(set(2, 5));
    expect(await it.desired()).toBe(5);
  });

  test('or is given back as if it had never been', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 2, 4);
    world.moto.proxy.throttle(1, { action: 'SetDesiredCapacity' });
    await expect(it.scale(scale, 4, 6)).rejects.toMatchObject({ name: 'UnavailableError' });
    expect(await it.note(), 'and the size is still 4').toMatch(/from=4 set=6$/);
    expect(summary(await it.back(scale, 6))).toEqual(set(4, 2));
    expect([await it.desired(), await it.note()]).toEqual([2, undefined]);
  });

  test('after its call is not repeated', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    world.moto.proxy.lose('SetDesiredCapacity');
    await expect(it.scale(scale, 2, 5)).rejects.toMatchObject({ name: 'UnavailableError' });
    const [change] = await it.scale(scale, 2, 5);
    expect(change).toMatchObject({ before: 2, after: 5, what: `DesiredCapacity: 2 → 5${LOST}` });
    expect(it.mutations).toEqual([NOTED, 'SetDesiredCapacity 5']);
    world.moto.proxy.lose('SetDesiredCapacity');
    await expect(it.back(scale, 5)).rejects.toMatchObject({ name: 'UnavailableError' });
    const [back] = await it.back(scale, 5);
    expect(back).toMatchObject({ before: 5, after: 2, what: `DesiredCapacity: 5 → 2${LOST}` });
    expect([await it.desired(), await it.note()]).toEqual([2, undefined]);
    expect(it.mutations.slice(2)).toEqual([NOTED, 'SetDesiredCapacity 2', UNNOTED]);
  });

  test.each(['SetDesiredCapacity', 'CreateOrUpdateTags', 'DeleteTags'])(
    'on the way back, where %s was not carried out, is done by the next one, once',
    async (action) => {
      const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
      const scale = await it.found();
      await it.scale(scale, 2, 5);
      world.moto.proxy.throttle(1, { action });
      await expect(it.back(scale, 5)).rejects.toMatchObject({ name: 'UnavailableError' });
      expect(summary(await it.back(scale, 5))).toEqual(set(5, 2));
      expect([await it.desired(), await it.note()]).toEqual([2, undefined]);
      expect(it.mutations.filter((one) => one === 'SetDesiredCapacity 2')).toHaveLength(1);
    },
  );

  test('is seen as its own, and told without another call', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    expect(await it.read()).not.toHaveProperty('noted');
    world.moto.proxy.lose('SetDesiredCapacity');
    await expect(it.scale(scale, 2, 5)).rejects.toMatchObject({ name: 'UnavailableError' });
    expect(await it.read()).toMatchObject({ verdict: 'found', noted: 5 });
    const before = it.mutations.length;
    const adopting = { ...it.request(scale, 2, 5), adopt: true as const };
    expect(await it.port.scaleTo(adopting, pulse())).toMatchObject([{ before: 2, after: 5 }]);
    await it.set(3);
    await expect(it.port.scaleTo(adopting, pulse())).rejects.toMatchObject({ type: 'Contested' });
    expect(it.mutations.slice(before).filter((one) => one.startsWith('SetDesiredCapacity'))).toEqual([]);
  });

  test('whose answer was lost, and who decides anew, may set another size', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    world.moto.proxy.lose('SetDesiredCapacity');
    await expect(it.scale(scale, 2, 7)).rejects.toMatchObject({ name: 'UnavailableError' });
    expect(summary(await it.scale(scale, 2, 6))).toEqual(set(7, 6));
    expect(summary(await it.back(scale, 6))).toEqual(set(6, 2));
  });
});

describe('giving back', () => {
  test('goes as near as the group allows by now', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 2, 6);
    const higher = new UpdateAutoScalingGroupCommand({ AutoScalingGroupName: it.group, MinSize: 3 });
    await world.aws.client.send(higher);
    expect(summary(await it.back(scale, 6))).toEqual(set(6, 3));
    expect([await it.desired(), await it.note()]).toEqual([3, undefined]);
  });

  test('is never gated: neither by a tag nor by a suspended process', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 2, 6);
    await world.aws.tag(it.group, 'salvor.dev/skip');
    await world.aws.suspend(it.group, 'Terminate');
    expect(summary(await it.back(scale, 6))).toEqual(set(6, 2));
  });

  test('without its note it goes by what the remediation knows', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 2, 6);
    await world.aws.untag(it.group, NOTE);
    expect(summary(await it.back(scale, 6))).toEqual(set(6, 2));
    expect([await it.desired(), await it.note()]).toEqual([2, undefined]);
  });
});
