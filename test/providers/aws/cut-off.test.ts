import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnavailableError } from '../../../providers/errors.ts';
import { eventually } from '../../support/wait.ts';
import { type Patient, pulse, World } from './support.ts';

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

  /** Two of one group of four, both out of service. */
  async function two() {
    const { name, ids } = await world.aws.group({ min: 1, desired: 4, max: 5 });
    const [one, other] = [0, 1].map((at) => {
      world.sick.add(ids[at]!);
      return world.patientOf(name, ids[at]!);
    }) as [Patient, Patient];
    return { name, one, other, first: await one.out(), second: await other.out() };
  }
  const terminated = (it: Patient) => it.mutations.filter((made) => made.startsWith('Term'));

  test.for(['SetDesiredCapacity', 'CreateOrUpdateTags'] as const)(
    'killed once its %s was carried out, it leaves a sum by which another of its group gives back its own',
    async (call) => {
      const { name, one, other, first, second } = await two();
      const killed = pulse();
      const cutOff = one.replace(first.found, first.request, { by: killed });
      world.moto.proxy.lose(call);
      await expect(cutOff).rejects.toBeInstanceOf(UnavailableError);
      const early = await other.assess();
      expect(early).toMatchObject({ verdict: 'sick', owner: { desired: 4 } });
      // The other one waits for it, for it alone knows what it has asked for.
      const waiting = other.replace(second.found, second.request);
      await eventually('it looks', () => (world.moto.proxy.requests.at(-1)?.action ?? '').startsWith('Describe'));
      expect(terminated(other)).toEqual([]);
      expect(await one.replace(first.found, first.request, { by: pulse(killed.said) })).toMatchObject({
        verdict: 'replaced',
        why: expect.not.stringContaining('somebody'),
        changes: [{ before: 2, after: 3 }, {}],
      });
      expect(await waiting).toMatchObject({
        verdict: 'replaced',
        why: expect.not.stringContaining('somebody'),
        changes: [{ before: 3, after: 4 }, {}],
      });
      expect(await world.aws.read(name)).toMatchObject({ desired: 4 });
      expect(Object.values(await world.aws.states(name))).toEqual(Array(4).fill('InService'));
      expect(await world.aws.notes(name)).toEqual({});
    },
  );

  test('killed once it was set back, it is not put back by the undo, for another one is on its way', async () => {
    const it = await world.patient({ min: 1, desired: 2, max: 3 });
    const { found, request } = await it.out();
    world.moto.proxy.lose('SetDesiredCapacity');
    await expect(it.replace(found, request)).rejects.toBeInstanceOf(UnavailableError);
    const undo = it.port.restore({ ...request, step: 'restore' }, pulse());
    await expect(undo).rejects.toMatchObject({ type: 'Contested' });
    expect(await world.aws.state(it.group, it.id)).toBe('Standby');
    expect(await world.aws.read(it.group)).toMatchObject({ desired: 2 });
  });

  test('two that set it back at once give back two', async () => {
    const { name, one, other, first, second } = await two();
    // Both have read the group before either has written.
    const stalled = world.moto.proxy.stall('CreateOrUpdateTags', 'before');
    const ends = [one.replace(first.found, first.request), other.replace(second.found, second.request)];
    await stalled.reached;
    stalled.release();
    for (const end of await Promise.all(ends))
      expect(end).toMatchObject({ verdict: 'replaced', why: expect.not.stringContaining('somebody') });
    expect(await world.aws.read(name)).toMatchObject({ desired: 4 });
    expect(Object.values(await world.aws.states(name))).toEqual(Array(4).fill('InService'));
    expect(await world.aws.notes(name)).toEqual({});
  });

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
