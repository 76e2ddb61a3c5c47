import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ReserveRequest } from '../../model/budget.ts';
import { budgetId, MESSAGE, remediationId } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import type { BudgetState } from '../../workflows/budget-ledger.ts';
import { type Entities, standIn, startEntities, terminate, untilEnded, untilRuns } from '../support/entities.ts';

let sandbox: Sandbox<'temporal'>;
let entities: Entities;
/** Unique for each test, as are its pods. */
let namespace: string;
let workload: string;

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
  namespace = `t${randomUUID().slice(0, 8)}`;
  workload = `k8s/test/${namespace}/deployment.apps/web`;
});

const pod = (name: string): string => `k8s/test/${namespace}/pod/${name}`;
/** An open remediation of a pod. */
const remediation = async (name: string) => {
  const holder = await standIn(entities, remediationId(pod(name)));
  return { target: pod(name), holder, workflowId: holder.workflowId };
};
type Remediation = Awaited<ReturnType<typeof remediation>>;
const reserve = ({ target, holder }: Remediation, more: Partial<ReserveRequest> = {}) =>
  entities.budgets.reserve(workload, {
    target,
    holder,
    bound: { percent: 25 },
    desired: 8,
    unready: [target],
    ...more,
  });
const places = async (): Promise<string[]> => {
  const { places: held } = await entities.client.workflow
    .getHandle(budgetId(workload))
    .query<BudgetState>(MESSAGE.state);
  return Object.values(held).map(({ target }) => target);
};

describe('the unavailable budget of a workload', () => {
  it('is shared by all rules: no more get a place than may be unavailable', async () => {
    const [a, b, c] = [await remediation('a'), await remediation('b'), await remediation('c')];
    expect(await reserve(a)).toEqual({ granted: true });
    expect(await reserve(b)).toEqual({ granted: true });
    expect(await reserve(c)).toEqual({
      granted: false,
      reason:
        `${workload} wants 8, of which at most 2 (maxUnavailable: 25%) may be unavailable; it would be 3: ` +
        'c besides a (under remediation), b (under remediation)',
    });
    expect(await places()).toEqual([pod('a'), pod('b')]);
    await entities.budgets.free(workload, a.holder.runId);
    expect(await reserve(c)).toEqual({ granted: true });
  });

  it('goes to one of two who race for its last place', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, (_, n) => remediation(`p${n}`)));
    const answers = await Promise.all(all.map((it) => reserve(it, { bound: { count: 1 } })));
    expect(answers.filter(({ granted }) => granted)).toHaveLength(1);
    expect(await places()).toHaveLength(1);
  });

  it('counts what is not ready by itself, and each target once', async () => {
    const [a, b] = [await remediation('a'), await remediation('b')];
    expect(await reserve(a, { unready: [pod('a'), pod('x')] })).toEqual({ granted: true });
    expect(await reserve(a, { unready: [pod('a'), pod('x')] })).toEqual({ granted: true });
    const denied = await reserve(b, { unready: [pod('a'), pod('x'), pod('b')] });
    expect(denied).toMatchObject({
      granted: false,
      reason: expect.stringContaining('b besides a (under remediation), x (not ready)'),
    });
    expect(await places()).toEqual([pod('a')]);
  });

  it('says no to one that has its place where meanwhile too much is unavailable, and leaves it the place', async () => {
    const a = await remediation('a');
    expect(await reserve(a)).toEqual({ granted: true });
    const worse = [pod('a'), pod('x'), pod('y')];
    expect(await reserve(a, { unready: worse })).toMatchObject({ granted: false });
    expect(await places()).toEqual([pod('a')]);
  });

  it('is as strict as the strictest rule that has a place', async () => {
    const [a, b] = [await remediation('a'), await remediation('b')];
    expect(await reserve(a, { bound: { count: 1 } })).toEqual({ granted: true });
    expect(await reserve(b, { bound: { percent: 50 } })).toMatchObject({ granted: false });
  });

  it('is full for a single replica, but for an explicit number', async () => {
    const a = await remediation('a');
    expect(await reserve(a, { desired: 1 })).toMatchObject({ granted: false });
    expect(await reserve(a, { desired: 1, bound: { count: 1 } })).toEqual({ granted: true });
  });

  it('is freed of one that was terminated, as soon as another asks', async () => {
    const [a, b] = [await remediation('a'), await remediation('b')];
    const strict = { bound: { count: 1 } };
    expect(await reserve(a, strict)).toEqual({ granted: true });
    await terminate(entities, a.workflowId);
    expect(await reserve(b, strict)).toEqual({ granted: true });
    expect(await places()).toEqual([pod('b')]);
  });

  it('is freed of one that was terminated also where its target has a new remediation', async () => {
    const [a, b] = [await remediation('a'), await remediation('b')];
    expect(await reserve(a, { bound: { count: 1 } })).toEqual({ granted: true });
    await terminate(entities, a.workflowId);
    await remediation('a');
    expect(await reserve(b, { bound: { count: 1 } })).toEqual({ granted: true });
  });
});

describe('the workflow', () => {
  it('ends when nobody has a place, and is started again by the next request', async () => {
    for (const round of [1, 2]) {
      const it = await remediation(`round-${round}`);
      expect(await reserve(it)).toEqual({ granted: true });
      await entities.budgets.free(workload, it.holder.runId);
      await untilEnded(entities, budgetId(workload));
      await untilRuns(entities, budgetId(workload), round);
    }
  });

  it('ends at once where the first who asks is denied, and frees without it', async () => {
    const it = await remediation('a');
    expect(await reserve(it, { bound: { count: 0 } })).toMatchObject({ granted: false });
    await untilEnded(entities, budgetId(workload));
    const { runId } = await entities.client.workflow.getHandle(budgetId(workload)).describe();
    await entities.budgets.free(workload, it.holder.runId);
    // Nobody is started to be told that a place is free.
    expect((await entities.client.workflow.getHandle(budgetId(workload)).describe()).runId).toBe(runId);
  });

  it('continues as new without losing a place', async () => {
    const [a, b] = [await remediation('a'), await remediation('b')];
    expect(await reserve(a, { bound: { count: 1 } })).toEqual({ granted: true });
    await Promise.all(
      [1, 2, 3].map(async () => {
        for (let n = 0; n < 30; n++)
          expect(await reserve(b, { bound: { count: 1 } })).toMatchObject({ granted: false });
      }),
    );
    await untilRuns(entities, budgetId(workload), 2);
    expect(await places()).toEqual([pod('a')]);
  });
});
