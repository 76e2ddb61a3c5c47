import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { STORM_MEMO } from '../../model/clearance.ts';
import type { LeaseRequest, ResolvedLimits } from '../../model/limits.ts';
import { limitsId, MESSAGE, responderId } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import type { LimitsState } from '../../workflows/limits-ledger.ts';
import { type Entities, looks, standIn, startEntities, terminate, untilEnded, untilRuns } from '../support/entities.ts';
import { eventually } from '../support/wait.ts';

let sandbox: Sandbox<'temporal'>;
let entities: Entities;
/** Unique for each test, as are the responders that {@link responder} makes. */
let key: string;

beforeAll(async () => {
  sandbox = await startSandbox({
    parts: ['temporal'],
    // Continue as new early.
    temporal: { dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': 200 } },
  });
  entities = await startEntities(sandbox.temporal.address);
});
afterAll(async () => {
  await entities.stop();
  await sandbox.stop();
});
beforeEach(() => {
  key = `k8s/t${randomUUID().slice(0, 8)}`;
});

const responder = async (name: string): Promise<string> => {
  const { workflowId } = await standIn(entities, responderId('pod-unready', `${key}/${name}`));
  return workflowId;
};
const lease = (
  id: string,
  want: number,
  limits: ResolvedLimits,
  more: Partial<LeaseRequest> = {},
  question: string = randomUUID(),
) => entities.leases.lease(key, { responder: id, want, has: 0, targets: [], limits, ...more }, question);
const give = (id: string, slots: number, unused = 0) => entities.leases.give(key, { responder: id, slots, unused });
const told = (id: string, times = 1) =>
  eventually(`${id} is told that there is room`, async () => (await looks(entities, id)) >= times);
const state = () => entities.client.workflow.getHandle(limitsId(key)).query<LimitsState>(MESSAGE.state);
const slots = async (): Promise<number> =>
  Object.values((await state()).holders).reduce((sum, holder) => sum + holder.slots, 0);
const memo = async () => (await entities.client.workflow.getHandle(limitsId(key)).describe()).memo?.[STORM_MEMO];

describe('slots', () => {
  it('are granted in blocks, and never more than there are', async () => {
    const [a, b] = [await responder('a'), await responder('b')];
    expect(await lease(a, 3, { maxInFlight: 4 })).toEqual({ granted: 3 });
    expect(await lease(b, 3, { maxInFlight: 4 })).toEqual({
      granted: 1,
      reason: `4 of at most 4 remediations are in flight in ${key}, over all rules`,
    });
    expect(await slots()).toBe(4);
  });

  it('are granted to no more than fit of many who ask at the same time', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => responder(`r${n}`)));
    const answers = await Promise.all(all.map((id) => lease(id, 1, { maxInFlight: 7 })));
    expect(answers.filter(({ granted }) => granted === 1)).toHaveLength(7);
    expect(answers.filter(({ reason }) => reason !== undefined)).toHaveLength(13);
  });

  it('are granted once for a question that is asked twice', async () => {
    const id = await responder('a');
    const ask = () => lease(id, 2, { maxInFlight: 10, maxActsPerHour: 10 }, {}, 'the question');
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(Array(3).fill({ granted: 2 }));
    expect(await ask()).toEqual({ granted: 2 });
    expect((await state()).acts).toMatchObject([{ count: 2 }]);
  });

  it('that are given back go to those who were denied: as many are told as fit', async () => {
    const [a, b, c] = [await responder('a'), await responder('b'), await responder('c')];
    await lease(a, 5, { maxInFlight: 5 });
    expect(await lease(b, 2, { maxInFlight: 5 })).toMatchObject({ granted: 0 });
    expect(await lease(c, 1, { maxInFlight: 5 })).toMatchObject({ granted: 0 });
    await give(a, 2);
    await told(b);
    // The room is for the one who was told, also where another comes first.
    expect(await lease(c, 1, { maxInFlight: 5 })).toMatchObject({ granted: 0 });
    expect(await lease(b, 2, { maxInFlight: 5 })).toEqual({ granted: 2 });
    expect(await looks(entities, c)).toBe(0);
    await give(a, 1);
    await told(c);
    expect(await lease(c, 1, { maxInFlight: 5 })).toEqual({ granted: 1 });
    expect(await slots()).toBe(5);
  });

  it('of a responder that was terminated come back, and those who wait are told', async () => {
    const [a, b] = [await responder('a'), await responder('b')];
    await lease(a, 2, { maxInFlight: 2 });
    await terminate(entities, a);
    expect(await lease(b, 1, { maxInFlight: 2 })).toMatchObject({ granted: 0 });
    await told(b);
    expect(await lease(b, 1, { maxInFlight: 2 })).toEqual({ granted: 1 });
  });

  it('of a responder that was terminated, and has begun anew since, come back', async () => {
    const [a, b] = [await responder('a'), await responder('b')];
    await lease(a, 2, { maxInFlight: 2 });
    const { asked } = (await state()).holders[a]!;
    await terminate(entities, a);
    await eventually('clocks that differ cannot hide which was first', () => Date.now() > asked + 2_000);
    await standIn(entities, a);
    expect(await lease(b, 1, { maxInFlight: 2 })).toMatchObject({ granted: 0 });
    await told(b);
    expect(await lease(b, 1, { maxInFlight: 2 })).toEqual({ granted: 1 });
  });

  it('of a responder that is there are not taken from it', async () => {
    const [a, b] = [await responder('a'), await responder('b')];
    await lease(a, 2, { maxInFlight: 2 });
    const { checked } = await state();
    await lease(b, 1, { maxInFlight: 2 });
    await eventually('the holders were looked at', async () => (await state()).checked > checked);
    expect(await slots()).toBe(2);
    expect(await looks(entities, b)).toBe(0);
  });
});

describe('the workflow', () => {
  it('ends when nothing is held, and is started again by the next request', async () => {
    const id = await responder('a');
    for (const round of [1, 2]) {
      expect(await lease(id, 2, { maxInFlight: 2 })).toEqual({ granted: 2 });
      await give(id, 2);
      await untilEnded(entities, limitsId(key));
      await untilRuns(entities, limitsId(key), round);
    }
  });

  it('answers everybody, also those who ask in the moment in which it ends', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, (_, n) => responder(`r${n}`)));
    const granted = await Promise.all(
      all.map(async (id) => {
        let sum = 0;
        for (let n = 0; n < 10; n++) {
          const answer = await lease(id, 1, { maxInFlight: 100 });
          sum += answer.granted;
          await give(id, 1);
        }
        return sum;
      }),
    );
    expect(granted).toEqual(Array(8).fill(10));
    await untilEnded(entities, limitsId(key));
  });

  it('continues as new without losing who holds what', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, (_, n) => responder(`r${n}`)));
    let most = 0;
    const has = new Map(all.map((id) => [id, 0]));
    const sum = () => [...has.values()].reduce((a, b) => a + b, 0);
    await Promise.all(
      all.map(async (id) => {
        for (let n = 0; n < 40; n++) {
          const held = has.get(id)!;
          const { granted } = await lease(id, 1, { maxInFlight: 3, maxActsPerHour: 1_000 }, { has: held });
          has.set(id, held + granted);
          most = Math.max(most, sum());
          if (has.get(id) === 0) continue;
          // Counted before the ledger can know of it: so it is never counted as held by two.
          const back = has.get(id)!;
          has.set(id, 0);
          await give(id, back);
        }
      }),
    );
    expect(most).toBeLessThanOrEqual(3);
    expect(await slots()).toBe(0);
    await untilRuns(entities, limitsId(key), 2);
  });

  it('takes the word of the responders where it has forgotten all', async () => {
    const [a, b] = [await responder('a'), await responder('b')];
    await lease(a, 3, { maxInFlight: 4 });
    await terminate(entities, limitsId(key));
    expect(await lease(a, 2, { maxInFlight: 4 }, { has: 3 })).toMatchObject({ granted: 1 });
    expect(await lease(b, 1, { maxInFlight: 4 })).toMatchObject({ granted: 0 });
  });
});

describe('a storm of the limits', () => {
  const limits: ResolvedLimits = { maxInFlight: 10, storm: { targets: 5, within: 12_000 } };
  const targets = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => `${key}/shop/pod/p${from + n}`);

  it('holds everything while so many targets alert, tells it by its memo, and passes by itself', async () => {
    const [a, b] = [await responder('a'), await responder('b')];
    expect(await lease(a, 1, limits, { targets: targets(0, 3) })).toEqual({ granted: 1 });
    expect(await memo()).toBeUndefined();
    const answer = await lease(b, 2, limits, { targets: targets(2, 5) });
    expect(answer).toMatchObject({ granted: 0, storm: { targets: 5 } });
    expect(answer.reason).toBe(`5 targets of ${key} began to alert within 12s: from 5 on everything is held`);
    expect(await eventually('the memo tells', memo)).toMatchObject({ since: answer.storm?.since });
    await told(b);
    expect(await memo()).toBeFalsy();
    expect(await lease(b, 2, limits)).toEqual({ granted: 2 });
  });
});
