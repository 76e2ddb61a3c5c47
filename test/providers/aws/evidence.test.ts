import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Held } from '../../../model/change.ts';
import { type Patient, World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

const workloadOf = ({ group }: Pick<Patient, 'group'>) => `asg/main/${group}`;

describe('the evidence', () => {
  test('of many groups is read at once, and tells of each', async () => {
    const patients = await Promise.all([1, 2, 3].map(() => world.patient({ min: 1, desired: 2, max: 3 })));
    const [one, two, three] = patients as [Patient, Patient, Patient];
    await world.aws.tag(two.group, 'salvor.dev/skip');
    await world.aws.health(three.id, 'Unhealthy');
    const before = world.moto.proxy.requests.length;
    const looked = await world.provider.evidence.look(
      patients.map(({ key }) => key),
      [one.key],
    );
    const reads = world.moto.proxy.requests.slice(before).filter(({ by }) => by === 'salvor');
    expect(reads.map(({ action }) => action)).toEqual(['DescribeAutoScalingGroups']);
    expect(looked.error).toBeUndefined();
    expect(looked.targets).toEqual({
      [one.key]: { workload: workloadOf(one) },
      [two.key]: { workload: workloadOf(two), excluded: expect.stringContaining('salvor.dev/skip') },
      [three.key]: { workload: workloadOf(three) },
    });
    expect(looked.workloads[workloadOf(one)]).toEqual({ desired: 2, unready: [] });
    expect(looked.workloads[workloadOf(three)]).toEqual({ desired: 2, unready: [three.key] });
    expect(looked.population, 'a suspect, and one that is Unhealthy').toEqual({ live: 6, unhealthy: 2 });
  });

  test('counts what Salvor has taken away for a while, and what is missing', async () => {
    const it = await world.patient({ min: 1, desired: 3, max: 4 });
    await it.out();
    expect(await world.provider.evidence.workload(it.key, workloadOf(it))).toEqual({ desired: 3, unready: [it.key] });
    const { targets } = await world.provider.evidence.look([it.key], []);
    expect(targets[it.key]?.held).toContain(it.actor.remediation);

    const replaced = await world.patient({ min: 2, desired: 2, max: 2 });
    const launches = world.moto.proxy.holdLaunches();
    await replaced.out();
    const evidence = await world.provider.evidence.workload(replaced.key, workloadOf(replaced));
    expect(evidence, 'its replacement, which has not come up').toEqual({
      desired: 2,
      unready: [expect.stringMatching(/\/i-/)],
    });
    expect(evidence.unready).not.toContain(replaced.key);
    launches.release();
  });

  test('of what is not there says so', async () => {
    const { evidence } = world.provider;
    const key = 'asg/main/none/i-00000000';
    expect(await evidence.look([key], [])).toMatchObject({ targets: { [key]: {} }, workloads: {} });
    expect(await evidence.excluded(key)).toBeUndefined();
    await expect(evidence.workload(key, 'asg/main/none')).rejects.toMatchObject({ type: 'Replaced' });
  });

  test('a refusal by AWS is in it, not thrown', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    world.moto.proxy.throttle(1, { code: 'AccessDenied', status: 403 });
    const { error, targets, population } = await world.provider.evidence.look([it.key], []);
    expect(error).toContain('Allow autoscaling:DescribeAutoScalingGroups');
    expect(targets[it.key]?.error).toBe(error);
    expect(population).toBeUndefined();
    world.moto.proxy.throttle(2);
    expect(await world.provider.evidence.look([it.key], []), 'throttled, and asked again').toMatchObject({
      targets: { [it.key]: {} },
    });
  });
});

describe('by hand', () => {
  const heldOf = async (it: Patient): Promise<Held[]> => {
    const found = await world.provider.find();
    return found.flatMap(({ object, holds }) => (object.key === it.key ? (holds ?? []) : []));
  };

  test('what is held is found on the groups, and given back', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { request } = await it.out();
    const held = await heldOf(it);
    expect(held).toEqual(request.held);
    const [state, desired] = held as [Held, Held];
    expect(await world.provider.release(state, true)).toMatchObject({ result: 'given-back', changes: [] });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');
    const released = await world.provider.release(state, false);
    expect(released).toMatchObject({ result: 'given-back', changes: [{ step: 'release' }, { before: 1, after: 2 }] });
    expect(await world.provider.release(desired, false)).toMatchObject({ result: 'as-before', changes: [] });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
    expect(await heldOf(it)).toEqual([]);
  });

  test('what must not come back is left for a person', async () => {
    const it = await world.patient({ min: 2, desired: 2, max: 3 });
    await it.out();
    const [state] = (await heldOf(it)) as [Held];
    expect(await world.provider.release(state, false)).toMatchObject({ result: 'unclear', changes: [] });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');
  });

  test('of what is gone the note goes, and what was taken from the desired capacity is given back', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    await it.out();
    const [state] = (await heldOf(it)) as [Held];
    await world.terminate(it.id);
    expect(await world.provider.release(state, true)).toMatchObject({ result: 'gone' });
    expect(Object.keys(await world.aws.notes(it.group))).toHaveLength(1);
    expect(await world.provider.release(state, false)).toMatchObject({
      result: 'gone',
      changes: [{ step: 'release', field: 'DesiredCapacity', before: 1, after: 2 }],
    });
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
    expect(await world.aws.notes(it.group)).toEqual({});
  });

  test('a note that cannot be read is a problem, not passed over', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    await world.aws.tag(it.group, `salvor.dev/held/${it.id}`, 'by hand');
    const found = (await world.provider.find()).filter(({ object }) => object.key === it.key);
    expect(found).toEqual([
      { object: { key: it.key, uid: it.id }, problem: expect.stringContaining('cannot be read') },
    ]);
  });
});
