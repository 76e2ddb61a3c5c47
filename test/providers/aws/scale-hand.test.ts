import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Change, Held } from '../../../model/change.ts';
import { NOTE, noteOf, Scaled } from './scale-support.ts';
import { World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

const summary = (changes: Change[]) => changes.map(({ field, before, after }) => [field, before, after]);
const set = (before: number, after: number) => [['DesiredCapacity', before, after]];

describe('the evidence of groups', () => {
  test('counts groups, has no budget, and says what is held and excluded', async () => {
    const [one, two, three] = await Promise.all([1, 2, 3].map(() => Scaled.of(world, { min: 1, desired: 2, max: 9 })));
    await one!.scale(await one!.found(), 2, 4);
    await world.aws.tag(two!.group, 'salvor.dev/skip');
    const { instances } = await world.aws.read(three!.group);
    for (const { InstanceId } of instances) await world.aws.health(InstanceId!, 'Unhealthy');
    const { evidence } = world.provider;
    expect(await evidence.look([one!.key, two!.key, three!.key], [one!.key])).toEqual({
      targets: {
        [one!.key]: { held: expect.stringContaining(`held by remediation ${one!.actor.remediation}`) },
        [two!.key]: { excluded: expect.stringContaining('salvor.dev/skip') },
        [three!.key]: {},
      },
      workloads: {},
      population: { live: 3, unhealthy: 2 },
    });
    expect(await evidence.excluded(two!.key)).toContain('salvor.dev/skip');
    expect(await evidence.look(['asg/main/none'], [])).toEqual({
      targets: { 'asg/main/none': {} },
      workloads: {},
      population: { live: 0, unhealthy: 0 },
    });
  });

  test('one that grows, and has not all yet, is no unhealthy one', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 3, max: 9 });
    const { instances } = await world.aws.read(it.group);
    await world.aws.health(instances[0]!.InstanceId!, 'Unhealthy');
    expect((await world.provider.evidence.look([it.key], [])).population).toEqual({ live: 1, unhealthy: 0 });
  });

  test('beside instances each is counted as what it is', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 3, max: 9 });
    const { instances } = await world.aws.read(it.group);
    const key = `${it.key}/${instances[0]!.InstanceId}`;
    const looked = await world.provider.evidence.look([it.key, key], [key]);
    expect(looked.targets).toEqual({ [it.key]: {}, [key]: { workload: it.key } });
    expect(looked.population).toEqual({ live: 4, unhealthy: 1 });
  });

  test('a refusal by AWS is in it, not thrown', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    world.moto.proxy.throttle(1, { code: 'AccessDenied', status: 403 });
    const { error, targets, population } = await world.provider.evidence.look([it.key], []);
    expect(targets[it.key]?.error).toContain('Allow autoscaling:DescribeAutoScalingGroups');
    expect([error, population]).toEqual([targets[it.key]?.error, undefined]);
  });
});

describe('by hand', () => {
  const heldOf = async (it: Scaled): Promise<Held> => {
    const found = await world.provider.find();
    const holds = found.flatMap(({ object, holds = [] }) => (object.key === it.key ? holds : []));
    expect(holds).toHaveLength(1);
    return holds[0]!;
  };

  test('what is held is found, told, and given back', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 2, 5);
    const held = await heldOf(it);
    expect(held).toMatchObject({ field: 'DesiredCapacity', before: 2, set: 5, ...it.actor, object: scale.object });
    expect(await world.provider.release(held, true)).toEqual({
      result: 'given-back',
      why: 'DesiredCapacity: 5 → 2',
      changes: [],
    });
    expect(await it.desired()).toBe(5);
    const { result, changes } = await world.provider.release(held, false);
    expect([result, summary(changes)]).toEqual(['given-back', set(5, 2)]);
    expect([await it.desired(), await it.note()]).toEqual([2, undefined]);
    expect(await world.provider.release(held, false)).toMatchObject({ result: 'as-before', changes: [] });
    expect(await it.back(scale, 5), 'and its remediation finds nothing left to do').toEqual([]);
  });

  test('what somebody else has set, or holds, or nobody knows, is left', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    const scale = await it.found();
    await it.scale(scale, 2, 5);
    const held = await heldOf(it);
    await world.aws.untag(it.group, NOTE);
    expect(await world.provider.release(held, false)).toMatchObject({
      result: 'unclear',
      why: expect.stringMatching(/is 5, as Salvor set it, but the group carries no note.*a person must decide/),
    });
    await world.aws.tag(it.group, NOTE, noteOf('another', 60_000));
    expect(await world.provider.release(held, false)).toMatchObject({ result: 'kept', changes: [] });
    await world.aws.tag(it.group, NOTE, noteOf(it.actor.remediation, 60_000));
    await it.set(7);
    expect(await world.provider.release(held, false)).toMatchObject({
      result: 'kept',
      why: expect.stringContaining('somebody else has set the DesiredCapacity to 7'),
    });
    expect([await it.desired(), await it.note()]).toEqual([7, undefined]);
    const gone = { ...held, object: { ...held.object, uid: 'arn:other' } };
    expect(await world.provider.release(gone, false)).toMatchObject({ result: 'gone' });
  });

  test('a note that cannot be read is told, and no note of an instance', async () => {
    const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
    await world.aws.tag(it.group, NOTE, 'odd');
    const found = (await world.provider.find()).filter(({ object }) => object.key.startsWith(it.key));
    expect(found).toEqual([
      { object: { key: it.key, uid: expect.any(String) }, problem: expect.stringContaining(NOTE) },
    ]);
    await world.aws.untag(it.group, NOTE);
  });
});

test('who has set the size is told as far as AWS tells', async () => {
  const it = await Scaled.of(world, { min: 1, desired: 2, max: 9 });
  const scale = await it.found();
  expect(await it.port.whoSet(scale)).toBeUndefined();
  await it.scale(scale, 2, 5);
  await (await world.aws.policy(it.group, 'follow-cpu', 3)).execute();
  expect(await it.port.whoSet(scale)).toBe('the scaling policy follow-cpu');
  await it.set(4);
  expect(await it.port.whoSet(scale)).toBe('a request to AWS (CloudTrail tells by whom)');
  expect(await new Scaled(world, 'none').port.whoSet(scale)).toBeUndefined();
});
