import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClearanceActivities, NOT_CLEARED, type Objection } from '../../model/clearance.ts';
import type { InstancePort } from '../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  remediationOf,
  request,
  rule,
  startBench,
  stateOf,
} from '../support/workflows.ts';
import { failureOf, holdsForEver, nameIn, reportOf, stillSick, waitsForEver, worldOf } from './support.ts';

/** A rule that has come to observe, or is gone, stops what it has begun before its next mutation; and one that flaps. */

const usual = instance();
const worlds = new Map<string, Partial<InstancePort>>();
const clearings = new Map<string, ClearanceActivities['untilCleared']>();
let sandbox: Sandbox<'temporal'>;
let bench: Bench;
let name: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, worldOf(worlds), {
    untilCleared: async (asked) => (await clearings.get(nameIn(asked.target))?.(asked)) ?? { cleared: true },
  });
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  name = `t${randomUUID().slice(0, 8)}`;
});

async function heal(own: Partial<InstancePort>, options: Partial<DrainInstanceOptions> = {}) {
  worlds.set(name, own);
  const r = rule(name);
  await deliver(bench, batch({ ...r, with: { ...r.with, ...options } }, [request(name)]));
  const { runId, workflowId } = await eventually('started', () => remediationOf(bench, name).describe());
  return { runId, handle: bench.client.workflow.getHandle(workflowId, runId) };
}
const callsOf = () => bench.calls.filter((call) => call.endsWith(name)).map((call) => call.split(' ')[0]);

const OBSERVING: Objection = { gate: 'observing', reason: 'the rule r only observes by now' };
const REMOVED: Objection = { gate: 'unknown-rule', reason: 'the configuration of the worker has no rule r (any more)' };
const PAUSED: Objection = { gate: 'paused', reason: 'k8s/test is paused by person:ada' };

const notCleared =
  (objection: Objection): InstancePort['cut'] =>
  () =>
    Promise.reject(
      ApplicationFailure.create({
        ...{ message: objection.reason, type: NOT_CLEARED, nonRetryable: true },
        details: [objection, 1],
      }),
    );

/** Held back once. */
function heldBack(objection: Objection): InstancePort['replace'] {
  let asked = 0;
  return async (given) =>
    ++asked === 1 ? { verdict: 'held-back', why: objection.reason, changes: [], objection } : usual.replace(given);
}

describe('a rule that only observes by now', () => {
  it('has nothing cut, and the alert is refused, for good', async () => {
    const { handle, runId } = await heal({ cut: notCleared(OBSERVING) });
    expect(await handle.result()).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('only observes by now'),
      changes: [],
    });
    expect(callsOf()).toEqual(['assess', 'cut']);
    expect((await reportOf(bench, name, runId)).again).toBeUndefined();
    const state = await eventually('its responder knows', async () => {
      const now = await stateOf(bench, name);
      return Object.keys(now.open).length === 0 && now;
    });
    expect(Object.values(state.settled)).toMatchObject([{ outcome: 'refused' }]);
    expect(state.queue).toEqual({});
  });

  it.each([OBSERVING, REMOVED])('has nothing replaced, and the traffic is given back ($gate)', async (objection) => {
    const { handle } = await heal({ hold: stillSick, replace: heldBack(objection) });
    expect(await handle.result()).toMatchObject({ outcome: 'refused', reason: objection.reason });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'assess', 'replace', 'restore']);
  });

  it('ends the wait of what was held back for something else, and the traffic is given back', async () => {
    clearings.set(name, async () => ({ cleared: false, ...OBSERVING }));
    let held = 0;
    const hold: InstancePort['hold'] = async (given) => (++held === 1 ? stillSick(given) : holdsForEver(given));
    const { handle } = await heal({ hold, replace: heldBack(PAUSED) });
    expect(await handle.result()).toMatchObject({ outcome: 'refused', reason: OBSERVING.reason });
    expect(callsOf().filter((call) => call === 'replace')).toHaveLength(1);
    expect(callsOf().at(-1)).toBe('restore');
  });
});

it('a rule that the worker does not know (yet) has nothing cut, and its request waits to be decided anew', async () => {
  const { handle, runId } = await heal({ cut: notCleared(REMOVED) });
  expect(await handle.result()).toMatchObject({ outcome: 'refused', changes: [] });
  expect((await reportOf(bench, name, runId)).again).toMatchObject({ gate: 'unknown-rule' });
  const state = await eventually('it waits', async () => {
    const now = await stateOf(bench, name);
    return Object.keys(now.queue).length > 0 && now;
  });
  expect(Object.values(state.queue)).toMatchObject([{ gate: 'unknown-rule', putOff: true }]);
  expect(callsOf()).toEqual(['assess', 'cut']);
});

describe('an instance that was held back, and flaps', () => {
  const flapping: InstancePort['hold'] = async () => ({
    verdict: 'sick',
    why: 'it became sick again 3 times',
    changes: [],
    flapped: true,
  });

  it('is replaced as soon as nothing objects, without being waited for any longer', async () => {
    let asked = 0;
    clearings.set(name, async () => {
      asked += 1;
      // The first wait is cancelled for the sake of what flaps.
      return asked === 1 ? waitsForEver() : { cleared: true };
    });
    const { handle } = await heal({ hold: flapping, replace: heldBack(PAUSED) }, { flaps: 3 });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    const steps = ['assess', 'cut', 'hold', 'assess', 'replace', 'hold', 'assess', 'replace', 'verify'];
    expect(callsOf()).toEqual(steps);
    expect(asked).toBe(2);
  });

  it('is replaced also where it looks healthy in the moment in which it is looked at', async () => {
    let looks = 0;
    const assess: InstancePort['assess'] = async (given) =>
      ++looks === 1 ? usual.assess(given) : { verdict: 'healthy', why: 'the pod is Ready' };
    const { handle } = await heal({ assess, hold: flapping }, { flaps: 3 });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'assess', 'replace', 'verify']);
  });

  it('is given back, and has failed, where that lasts beyond the deadline', async () => {
    let asked = 0;
    clearings.set(name, async () =>
      ++asked === 1 ? waitsForEver() : { cleared: false, ...PAUSED, gate: 'unavailable' },
    );
    const { handle } = await heal(
      { hold: flapping, replace: heldBack({ ...PAUSED, gate: 'unavailable' }) },
      { flaps: 3 },
    );
    expect((await failureOf(handle.result()))?.message).toContain('could not be replaced before');
    expect(callsOf().at(-1)).toBe('restore');
  });
});
