import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MESSAGE } from '../../model/names.ts';
import { INSTANCE_ERRORS, type InstancePort } from '../../model/ports/instance.ts';
import type { Story } from '../../model/remediation.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  pod,
  remediationOf,
  request,
  rule,
  sick,
  startBench,
  stateOf,
} from '../support/workflows.ts';
import { failureOf, holdsForEver, stillSick, worldOf } from './support.ts';

const worlds = new Map<string, Partial<InstancePort>>();
const usual = instance();

let sandbox: Sandbox<'temporal'>;
let bench: Bench;
let name: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, worldOf(worlds));
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  name = `t${randomUUID().slice(0, 8)}`;
});

async function heal(own: Partial<InstancePort>, overrides: Partial<ReturnType<typeof rule>['with']> = {}) {
  worlds.set(name, own);
  const r = rule(name);
  await deliver(bench, batch({ ...r, with: { ...r.with, ...overrides } }, [request(name)]));
  const handle = remediationOf(bench, name);
  await eventually('started', () => handle.describe());
  return handle;
}

const callsOf = () => bench.calls.filter((call) => call.endsWith(name)).map((call) => call.split(' ')[0]);

describe('an instance that is sick', () => {
  it('and recovers is given back, in at most 25 events', async () => {
    const handle = await heal({});
    expect(await handle.result()).toMatchObject({ outcome: 'recovered', changes: [{ after: 'off' }] });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold']);
    expect((await handle.fetchHistory()).events?.length).toBeLessThanOrEqual(25);
  });

  it('and does not recover is looked at again and replaced, in at most 38 events', async () => {
    const handle = await heal({ hold: stillSick });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated', reason: 'a new pod is Ready' });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'assess', 'replace', 'verify']);
    expect((await handle.fetchHistory()).events?.length).toBeLessThanOrEqual(38);
  });

  it('and is not to be replaced gets its traffic back, and a person is told', async () => {
    const handle = await heal({ hold: stillSick }, { replace: false });
    expect((await failureOf(handle.result()))?.message).toContain('does not allow to replace it');
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'restore']);
  });

  it('whose budget allows no eviction gets its traffic back', async () => {
    const handle = await heal({
      hold: stillSick,
      replace: async () => ({ verdict: 'blocked', why: 'budget web allows none', changes: [] }),
    });
    expect((await failureOf(handle.result()))?.message).toBe('budget web allows none');
    expect(callsOf().at(-1)).toBe('restore');
  });

  it('is told when its alert is resolved, and looked at again at once, which by itself changes nothing', async () => {
    const handle = await heal({ hold: holdsForEver });
    await eventually('held', () => callsOf().includes('hold'));
    const [open] = Object.values((await stateOf(bench, name)).open);
    expect(open?.runId).toBe((await handle.describe()).runId);
    await deliver(bench, batch(rule(name), [request(name, { status: 'resolved' })]));
    await eventually('looked again', () => callsOf().filter((call) => call === 'assess').length === 2);
    expect((await handle.describe()).status.name).toBe('RUNNING');
    const story = await eventually('it says so', async () => {
      const now = await handle.query<Story>(MESSAGE.story);
      return now.lines.some(({ text }) => text.includes('the alert is resolved')) && now;
    });
    expect(story.held).toHaveLength(1);
    await handle.cancel();
    await failureOf(handle.result());
  });
});

describe('an instance that is not sick', () => {
  it.each([
    ['healthy', 'not-needed'],
    ['gone', 'not-needed'],
    ['protected', 'refused'],
  ] as const)('%s: %s, and nothing is changed', async (verdict, outcome) => {
    const handle = await heal({ assess: async () => ({ verdict, why: 'seen so' }) });
    expect(await handle.result()).toEqual({ outcome, reason: 'seen so', changes: [] });
    expect(callsOf()).toEqual(['assess']);
  });

  it('replaced between look and cut: not needed', async () => {
    const handle = await heal({
      cut: () =>
        Promise.reject(ApplicationFailure.nonRetryable('another pod bears the name', INSTANCE_ERRORS.replaced)),
    });
    expect(await handle.result()).toMatchObject({ outcome: 'not-needed', reason: 'another pod bears the name' });
  });

  it('healthy again at the look before the eviction: given back, not evicted', async () => {
    let looks = 0;
    const handle = await heal({
      hold: stillSick,
      assess: async ({ target }) => (++looks === 1 ? sick(target) : { verdict: 'healthy', why: 'Ready' }),
    });
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'assess', 'restore']);
  });
});

describe('what goes wrong', () => {
  it('a person cancels: undone, cancelled, and the same alert does not start again', async () => {
    const handle = await heal({ hold: holdsForEver });
    await eventually('held', () => callsOf().includes('hold'));
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect((await handle.describe()).status.name).toBe('CANCELLED');
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'restore']);
    const settled = await eventually('told', async () => Object.values((await stateOf(bench, name)).settled)[0]);
    expect(settled).toMatchObject({ outcome: 'cancelled' });
  });

  it('a person cancels what another has given back meanwhile: cancelled, not failed', async () => {
    const handle = await heal({
      hold: async () => {
        await holdsForEver(undefined as never).catch(() => undefined);
        return { verdict: 'given-back', why: 'Salvor itself gave its traffic back', changes: [] };
      },
    });
    await eventually('held', () => callsOf().includes('hold'));
    await handle.signal(MESSAGE.cancel, { by: 'person:ada', reason: '' });
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect(callsOf()).toEqual(['assess', 'cut', 'hold']);
    const settled = await eventually('told', async () => Object.values((await stateOf(bench, name)).settled)[0]);
    expect(settled).toMatchObject({ outcome: 'cancelled' });
  });

  it('is cancelled while it waits: the wait is over before anything is undone, or it would set again what is undone', async () => {
    let over = 0;
    let restored = 0;
    const handle = await heal({
      hold: async (asked) => {
        try {
          return await holdsForEver(asked);
        } finally {
          await delay(300); // the last write of a wait that is slow to end
          over = performance.now();
        }
      },
      restore: async (asked) => {
        restored = performance.now();
        return usual.restore(asked);
      },
    });
    await eventually('held', () => callsOf().includes('hold'));
    await handle.cancel();
    await failureOf(handle.result());
    expect(over).toBeGreaterThan(0);
    expect(restored).toBeGreaterThan(over);
  });

  it('a cut that fails may have been applied all the same: it is undone', async () => {
    const handle = await heal({
      cut: () => Promise.reject(ApplicationFailure.nonRetryable('no', INSTANCE_ERRORS.forbidden)),
    });
    expect((await failureOf(handle.result()))?.message).toBe('no');
    expect(callsOf()).toEqual(['assess', 'cut', 'restore']);
  });

  it('an undo that fails is named, with what a person must do', async () => {
    const handle = await heal({
      hold: async () => ({ verdict: 'contested', why: 'kubectl changed it twice', changes: [], manager: 'kubectl' }),
      restore: () => Promise.reject(ApplicationFailure.nonRetryable('may not patch pods', INSTANCE_ERRORS.forbidden)),
    });
    expect((await failureOf(handle.result()))?.message).toBe(
      'kubectl changed it twice; and could not undo "cut traffic": may not patch pods. A person must undo it',
    );
  });

  it('after a failure a repeat of the firing alert waits for the cooldown, and is a retry', async () => {
    const handle = await heal({ hold: stillSick }, { replace: false });
    await failureOf(handle.result());
    await eventually('told', async () => pod(name) in (await stateOf(bench, name)).attempts);
    await deliver(bench, batch(rule(name), [request(name)]));
    const state = await eventually('it waits', async () => {
      const now = await stateOf(bench, name);
      return Object.keys(now.queue).length > 0 && now;
    });
    expect(Object.values(state.queue)).toMatchObject([{ gate: 'cooldown', target: pod(name) }]);
    expect(state.attempts[pod(name)]).toHaveLength(1);
  });
});
