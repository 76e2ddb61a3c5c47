import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Clearance, clearanceActivities, clearanceOf } from '../../activities/clearance.ts';
import { budgetsOf } from '../../activities/leases.ts';
import { pausesOf } from '../../activities/pauses.ts';
import { type ClearanceRequest, STORM_MEMO, type StormMemo } from '../../model/clearance.ts';
import { budgetId, CONTROL_ID, limitsId, remediationId, responderId, runRule } from '../../model/names.ts';
import { PAUSES_MEMO, type Pause } from '../../model/pause.ts';
import type { Mode } from '../../model/rule.ts';
import type { EvidenceProvider } from '../../providers/evidence.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { type Entities, exists, standIn, startEntities, terminate } from '../support/entities.ts';
import { door, eventually } from '../support/wait.ts';

let sandbox: Sandbox<'temporal'>;
let entities: Entities;
/** Unique for each test, as is all that it asks about. */
let namespace: string;
let request: ClearanceRequest;
/** The world as the provider sees it; a test says what is different. */
let world: Partial<EvidenceProvider>;
let looked: string[];
let clearance: Clearance;
/** Of the rule, as the worker's configuration has it. */
let mode: Mode | undefined;
const ruleMode = (): Mode | undefined => mode;
/** Stand-ins to be ended with the test. */
let open: string[];

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  entities = await startEntities(sandbox.temporal.address);
});
afterAll(async () => {
  await entities.stop();
  await sandbox.stop();
});
beforeEach(async () => {
  namespace = `t${randomUUID().slice(0, 8)}`;
  const target = `k8s/${namespace}/shop/pod/a`;
  world = {};
  mode = 'act';
  looked = [];
  open = [];
  const holder = await standIn(entities, remediationId(target));
  open.push(holder.workflowId);
  request = {
    target,
    rule: `rule-${namespace}`,
    responder: responderId(`rule-${namespace}`, 'shop'),
    limits: `k8s/${namespace}`,
    workload: `k8s/${namespace}/shop/deployment.apps/web`,
    bound: { percent: 25 },
    holder,
    failClosed: true,
  };
  const evidence: EvidenceProvider = {
    look: () => Promise.reject(new Error('nobody asks for it')),
    excluded: async (...asked) => {
      looked.push('excluded');
      return world.excluded?.(...asked);
    },
    workload: async (...asked) => {
      looked.push('workload');
      return (await world.workload?.(...asked)) ?? { desired: 4, unready: [target] };
    },
  };
  const { client, budgets } = entities;
  clearance = clearanceOf({ client, budgets, pauses: pausesOf(client), evidence: () => evidence, ruleMode });
});
afterEach(async () => {
  for (const workflowId of open) await terminate(entities, workflowId).catch(() => undefined); // a test may have ended it
});

const stands = async (workflowId: string, memo: Record<string, unknown>): Promise<void> => {
  await standIn(entities, workflowId, memo);
  open.push(workflowId);
};
const ends = (workflowId: string) => terminate(entities, workflowId);
const pause = (change: Partial<Pause> = {}): Promise<void> => {
  const it: Pause = {
    prefix: `k8s/${namespace}`,
    by: 'person:ada',
    reason: 'upgrade',
    since: '2026-01-01T00:00:00Z',
    ...change,
  };
  return stands(CONTROL_ID, { [PAUSES_MEMO]: [it] });
};
const storm: StormMemo = { since: '2026-01-01T00:00:00Z', reason: '6 of 10 are unhealthy' };
/** Whether anybody ever asked for a place in the budget of the workload. */
const asked = (): Promise<boolean> => exists(entities, budgetId(request.workload));

describe('a mutation', () => {
  it('is cleared where nothing objects, and has its place in the budget of the workload', async () => {
    expect(await clearance.clear(request)).toBeUndefined();
    expect(await clearance.clear(request)).toBeUndefined();
    const target = `k8s/${namespace}/shop/pod/b`;
    const holder = await standIn(entities, remediationId(target));
    open.push(holder.workflowId);
    world.workload = async () => ({ desired: 4, unready: [target] });
    expect(await clearance.clear({ ...request, target, holder, rule: 'another' })).toEqual({
      gate: 'unavailable',
      reason: expect.stringContaining('b besides a (under remediation)'),
    });
  });

  it('is not cleared while it is paused, by its target or its rule', async () => {
    await pause();
    const reason = `k8s/${namespace} is paused by person:ada (upgrade)`;
    expect(await clearance.clear(request)).toEqual({ gate: 'paused', reason });
    await ends(CONTROL_ID);
    await pause({ prefix: `rule/${request.rule}` });
    expect(await clearance.clear(request)).toMatchObject({ gate: 'paused' });
    await ends(CONTROL_ID);
    await pause({ prefix: 'k8s/elsewhere' });
    expect(await clearance.clear(request)).toBeUndefined();
  });

  it('is not cleared where its target is excluded', async () => {
    world.excluded = async () => 'its namespace shop has the annotation salvor.dev/skip';
    expect(await clearance.clear(request)).toEqual({
      gate: 'excluded',
      reason: 'its namespace shop has the annotation salvor.dev/skip',
    });
  });

  it.each([
    ['storm', 'its scope', () => request.responder ?? ''],
    ['limits', 'its limits', () => limitsId(request.limits ?? '')],
  ] as const)('is not cleared (%s) during a storm of %s, and is after it', async (gate, _, of) => {
    await stands(of(), { [STORM_MEMO]: storm });
    expect(await clearance.clear(request)).toEqual({
      gate,
      reason: 'storm since 2026-01-01T00:00:00Z: 6 of 10 are unhealthy',
    });
    await ends(of());
    await stands(of(), { [STORM_MEMO]: null });
    expect(await clearance.clear(request)).toBeUndefined();
  });

  it.each([
    ['only observes by now', 'observe', 'observing'],
    ['is gone from the configuration', undefined, 'unknown-rule'],
  ] as const)('is not cleared where its rule %s, and nothing is read', async (_, now, gate) => {
    mode = now;
    expect(await clearance.clear(request)).toEqual({ gate, reason: expect.stringContaining(request.rule) });
    expect(looked).toEqual([]);
    expect(await asked()).toBe(false);
  });

  it.each(['act', 'propose'] as const)('is cleared where its rule is in mode %s', async (now) => {
    mode = now;
    expect(await clearance.clear(request)).toBeUndefined();
  });

  it('of a person is of no rule in the configuration', async () => {
    mode = undefined;
    expect(await clearance.clear({ ...request, rule: runRule('drain-instance') })).toBeUndefined();
  });

  it('that takes nothing from its workload needs no place in its budget, and is asked all else', async () => {
    world.workload = () => Promise.reject(new Error('gone'));
    expect(await clearance.clear({ ...request, unbudgeted: true })).toBeUndefined();
    expect(looked).toEqual(['excluded']);
    expect(await asked()).toBe(false);
    await pause();
    expect(await clearance.clear({ ...request, unbudgeted: true })).toMatchObject({ gate: 'paused' });
  });

  it('that is not cleared takes no place in the budget', async () => {
    world.excluded = async () => 'skipped';
    await clearance.clear(request);
    expect(await asked()).toBe(false);
  });

  describe('about which something cannot be read', () => {
    const broken: [string, () => void, string][] = [
      ['the exclusion', () => (world.excluded = () => Promise.reject(new Error('gone'))), 'is excluded: gone'],
      ['the workload', () => (world.workload = () => Promise.reject(new Error('gone'))), 'is unavailable: gone'],
    ];
    it.each(broken)('is not cleared: %s', async (_, breaks, why) => {
      breaks();
      expect(await clearance.clear(request)).toEqual({ gate: 'evidence', reason: expect.stringContaining(why) });
      expect(await asked()).toBe(false);
    });

    it.each(broken)('is cleared where the rule says so: %s', async (_, breaks) => {
      breaks();
      expect(await clearance.clear({ ...request, failClosed: false })).toBeUndefined();
    });

    it('is still not cleared for what can be read, whatever the rule says', async () => {
      world.workload = () => Promise.reject(new Error('gone'));
      await pause();
      expect(await clearance.clear({ ...request, failClosed: false })).toMatchObject({ gate: 'paused' });
    });

    it('is not cleared where all of it takes too long, though each part alone does not', async () => {
      world.workload = async () => {
        await delay(7_000);
        return { desired: 4, unready: [] };
      };
      const { client } = entities;
      // Nobody runs the budgets.
      const budgets = budgetsOf({ client, taskQueue: `nobody-${namespace}` });
      const evidence = (): EvidenceProvider => ({
        look: () => Promise.reject(new Error('nobody asks for it')),
        excluded: async () => undefined,
        workload: async (...of) => (await world.workload?.(...of)) ?? { desired: 4, unready: [] },
      });
      const slow = clearanceOf({ client, budgets, pauses: pausesOf(client), evidence, ruleMode });
      expect(await slow.clear(request)).toMatchObject({
        gate: 'evidence',
        reason: expect.stringMatching(/for a place in the budget .* no answer within 10 s/),
      });
      open.push(budgetId(request.workload));
    });

    it('is not cleared where Temporal does not answer', async () => {
      const evidence = (): EvidenceProvider => ({
        look: () => Promise.reject(new Error('nobody asks for it')),
        excluded: async () => undefined,
        workload: async () => ({ desired: 4, unready: [] }),
      });
      const { client, budgets } = entities;
      const pauses = () => Promise.reject(new Error('no connection'));
      const deaf = clearanceOf({ client, budgets, pauses, evidence, ruleMode });
      expect(await deaf.clear(request)).toEqual({
        gate: 'evidence',
        reason: `nothing was changed, for Salvor could not ask whether ${request.target} is paused: no connection`,
      });
    });
  });
});

describe('a wait until it is cleared', () => {
  const wait = (deadline?: Date) => {
    const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
    const beaten = door();
    environment.on('heartbeat', () => beaten.open());
    const { untilCleared } = clearanceActivities(clearance);
    const result = environment.run(untilCleared, { ...request, ...(deadline && { deadline: deadline.toISOString() }) });
    return { result, beaten: beaten.opened, cancel: () => environment.cancel() };
  };

  it('ends when the pause does, and reads nothing else before', async () => {
    await pause();
    const { result, beaten } = wait();
    await beaten;
    await eventually('it has found the pause', async () => (await clearance.paused(request)) !== undefined);
    expect(looked).toEqual([]);
    await ends(CONTROL_ID);
    expect(await result).toEqual({ cleared: true });
    expect(await asked()).toBe(true);
  });

  it('ends at its deadline with what still objects', async () => {
    world.excluded = async () => 'skipped';
    expect(await wait(new Date(Date.now() + 500)).result).toEqual({
      cleared: false,
      gate: 'excluded',
      reason: 'skipped',
    });
  });

  it('ends at once where the rule has come to observe, whatever the deadline', async () => {
    mode = 'observe';
    expect(await wait(new Date(Date.now() + 3_600_000)).result).toMatchObject({ cleared: false, gate: 'observing' });
    expect(await wait().result).toMatchObject({ cleared: false, gate: 'observing' });
  });

  it('looks once also where the deadline has passed', async () => {
    expect(await wait(new Date(0)).result).toEqual({ cleared: true });
  });

  it('ends at once when it is cancelled, also while something does not answer', async () => {
    const looking = door();
    world.excluded = () => {
      looking.open();
      return new Promise(() => undefined);
    };
    const { result, cancel } = wait();
    const ended = expect(result).rejects.toBeInstanceOf(CancelledFailure);
    await looking.opened;
    cancel();
    await ended;
    expect(await asked()).toBe(false);
  });
});
