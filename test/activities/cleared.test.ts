import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, it } from 'vitest';
import type { Clear } from '../../activities/attempt.ts';
import { instanceActivities } from '../../activities/instance.ts';
import { type ClearanceRequest, NOT_CLEARED, type Objection } from '../../model/clearance.ts';
import type { CutRequest, ReplaceRequest } from '../../model/ports/instance.ts';
import type { InstanceProvider, Pulse } from '../../providers/instance.ts';
import { instance } from '../support/workflows.ts';

/** The activities ask whether it is the time, around a provider that notes what it was asked for. */

const target = 'k8s/test/shop/pod/web-0';
const PAUSED: Objection = { gate: 'paused', reason: 'k8s/test is paused by person:ada' };
const clearance: ClearanceRequest = {
  ...{ target, rule: 'r', workload: 'k8s/test/shop/deployment.apps/web', bound: { percent: 25 } },
  ...{ holder: { workflowId: 'w', runId: 'r' }, failClosed: true },
};
const actor = { runbook: 'drain-instance', remediation: 'r' };
const object = { key: target, uid: 'u' };
const cutRequest: CutRequest = { step: 'cut', actor, instance: object, held: [], clearance };
const replaceRequest: ReplaceRequest = {
  ...{ step: 'replace', actor, instance: object, clearance },
  owner: { key: 'o', uid: 'o', desired: 1, ready: 0, workload: 'o' },
  ...{ notBefore: '2026-01-01T00:00:00Z', deadline: '2026-01-01T00:00:00Z' },
};

/** What happens, in order: questions and writes. */
function world(clear: Clear) {
  const done: string[] = [];
  const usual = instance();
  const provider: InstanceProvider = {
    ...usual,
    cut: async (request) => {
      done.push('cut');
      return usual.cut(request);
    },
    replace: async (_, pulse: Pulse) => {
      for (let tries = 1; tries <= 2; tries++) {
        await pulse.stillMine();
        done.push('evict');
      }
      return { verdict: 'replaced', why: 'evicted', changes: [] };
    },
  };
  const registry = { instance: () => provider } as unknown as Parameters<typeof instanceActivities>[0];
  const fence = async () => {
    done.push('fence');
  };
  const asked: Clear = async (request) => {
    done.push('clear');
    return clear(request);
  };
  return { done, activities: instanceActivities(registry, fence, async () => void done.push('announce'), asked) };
}

it.each([1, 3])(
  'a cut that is not cleared in attempt %i touches nothing, and says which attempt it was',
  async (attempt) => {
    const { done, activities } = world(async () => PAUSED);
    const run = new MockActivityEnvironment({ attempt }).run(activities.cut, cutRequest);
    const error = await run.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ApplicationFailure);
    expect(error).toMatchObject({ type: NOT_CLEARED, nonRetryable: true, details: [PAUSED, attempt] });
    expect(done).toEqual(['clear']);
  },
);

it('a cut is cleared last, right before it is made; without a question it is made', async () => {
  const { done, activities } = world(async () => undefined);
  const audit = { stream: {} as never, notes: [] };
  await new MockActivityEnvironment().run(activities.cut, { ...cutRequest, audit });
  expect(done).toEqual(['announce', 'clear', 'cut']);
  const { clearance: _, ...ungated } = cutRequest;
  await new MockActivityEnvironment().run(activities.cut, ungated);
  expect(done.slice(3)).toEqual(['cut']);
});

it('a replacement is cleared before each try, and held back by the first that is not', async () => {
  let asked = 0;
  const { done, activities } = world(async () => (++asked > 1 ? PAUSED : undefined));
  const answer = await new MockActivityEnvironment().run(activities.replace, replaceRequest);
  expect(answer).toEqual({ verdict: 'held-back', why: PAUSED.reason, changes: [], objection: PAUSED });
  expect(done).toEqual(['clear', 'fence', 'evict', 'clear']);
});

it('giving back is never asked about', async () => {
  const { done, activities } = world(async () => PAUSED);
  await new MockActivityEnvironment().run(activities.restore, cutRequest);
  expect(done).toEqual([]);
});
