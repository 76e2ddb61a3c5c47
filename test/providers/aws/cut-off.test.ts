import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnavailableError } from '../../../providers/errors.ts';
import { pulse, World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

describe('cut off between the calls', () => {
  const attempts = ['CreateOrUpdateTags', 'EnterStandby'] as const;
  test.for(attempts)('a cut whose %s was not answered is made once', async (call) => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const request = it.request(await it.sick());
    world.moto.proxy.lose(call);
    await expect(it.port.cut(request, pulse())).rejects.toBeInstanceOf(UnavailableError);
    expect(await it.port.cut(request, pulse())).toMatchObject([{ after: 'Standby' }, { before: 2, after: 1 }]);
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 1 });
    expect(it.mutations.filter((one) => one.startsWith('EnterStandby'))).toHaveLength(1);
  });

  test.for(['ExitStandby', 'DeleteTags', 'CreateOrUpdateTags'])(
    'a return whose %s was not answered is made once',
    async (call) => {
      const it = await world.patient({ min: 1, desired: 2, max: 3 });
      const { request } = await it.out();
      world.moto.proxy.lose(call);
      world.sick.delete(it.id);
      const back = [
        { field: 'LifecycleState', after: 'InService' },
        { before: 1, after: 2 },
      ];
      expect(await it.hold(request)).toMatchObject({ verdict: 'recovered', changes: back });
      expect(it.mutations.filter((one) => one === 'ExitStandby')).toHaveLength(1);
      expect(await world.aws.notes(it.group)).toEqual({});

      const other = await world.patient({ min: 1, desired: 2, max: 3 });
      const out = await other.out();
      world.moto.proxy.lose(call);
      const undo = () => other.port.restore({ ...out.request, step: 'restore' }, pulse());
      await expect(undo()).rejects.toBeInstanceOf(UnavailableError);
      const again = await undo();
      // With its note gone nothing tells that there was anything to give back.
      if (call !== 'DeleteTags') expect(again).toMatchObject(back);
      expect(other.mutations.filter((one) => one === 'ExitStandby')).toHaveLength(1);
      expect(await world.aws.read(other.group)).toMatchObject({ desired: 2 });
      expect(await world.aws.notes(other.group)).toEqual({});
    },
  );

  test.for(['SetDesiredCapacity', 'CreateOrUpdateTags', 'TerminateInstanceInAutoScalingGroup', 'DeleteTags'])(
    'a replacement whose %s was not answered is made once, and told whole',
    async (call) => {
      const it = await world.patient({ min: 1, desired: 2, max: 3 });
      const { found, request } = await it.out();
      const cutOff = pulse();
      world.moto.proxy.lose(call);
      await expect(it.replace(found, request, { by: cutOff })).rejects.toBeInstanceOf(UnavailableError);
      const replaced = await it.replace(found, request, { by: pulse(cutOff.said) });
      expect(replaced).toMatchObject({
        verdict: 'replaced',
        changes: [{ field: 'DesiredCapacity', before: 1, after: 2 }, { field: 'termination' }],
      });
      expect(replaced.changes).toHaveLength(2);
      const made = it.mutations.filter((one) => /^(Set|Term)/.test(one));
      expect(made).toEqual(['SetDesiredCapacity 2', 'TerminateInstanceInAutoScalingGroup without decrement']);
      expect(await world.aws.read(it.group)).toMatchObject({ desired: 2, instances: [{}, {}] });
      expect(await world.aws.notes(it.group)).toEqual({});
    },
  );

  test.for(['SetDesiredCapacity', 'TerminateInstanceInAutoScalingGroup'])(
    'a %s that was not carried out is made',
    async (action) => {
      const it = await world.patient({ min: 1, desired: 2, max: 3 });
      const { found, request } = await it.out();
      const cutOff = pulse();
      world.moto.proxy.throttle(1, { action });
      await expect(it.replace(found, request, { by: cutOff })).rejects.toBeInstanceOf(UnavailableError);
      expect(await it.replace(found, request, { by: pulse(cutOff.said) })).toMatchObject({ verdict: 'replaced' });
      expect(await world.aws.read(it.group)).toMatchObject({ desired: 2, instances: [{}, {}] });
    },
  );
});
