import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClearanceActivities, NOT_CLEARED, type Objection } from '../../model/clearance.ts';
import type { HushRequest } from '../../model/herald.ts';
import { MESSAGE, proposalId, responderId } from '../../model/names.ts';
import { INSTANCE_ERRORS, type InstancePort } from '../../model/ports/instance.ts';
import type { Story } from '../../model/remediation.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { door, eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  pod,
  remediationOf,
  request,
  rule,
  startBench,
} from '../support/workflows.ts';
import { failureOf, holdsForEver, nameIn, reportOf, stillSick, waitsForEver, worldOf } from './support.ts';

/** What a remediation does beside healing: it asks before it acts, silences its alert, and tells people. */

const usual = instance();
const worlds = new Map<string, Partial<InstancePort>>();
/** By pod name: how long a wait for clearance lasts, and what becomes of a silence. */
const clearings = new Map<string, ClearanceActivities['untilCleared']>();
const silences = new Map<string, (asked: HushRequest) => Promise<string>>();
/** Places in budgets that were given back. */
const freed: { workload: string; runId: string }[] = [];

let sandbox: Sandbox<'temporal'>;
let bench: Bench;
let name: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, worldOf(worlds), {
    untilCleared: async (asked) => (await clearings.get(nameIn(asked.target))?.(asked)) ?? { cleared: true },
    hush: async (asked) => (await silences.get(nameIn(asked.target))?.(asked)) ?? 'nothing is silenced',
    free: async (workload, runId) => {
      freed.push({ workload, runId });
    },
  });
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  name = `t${randomUUID().slice(0, 8)}`;
});

async function heal(
  own: Partial<InstancePort>,
  overrides: Partial<ReturnType<typeof rule>['with']> = {},
  more: Partial<ResolvedRule<'drain-instance'>> = {},
) {
  worlds.set(name, own);
  const r = { ...rule(name), ...more };
  const alert = request(name, { labels: { alertname: 'KubePodNotReady', pod: name } });
  await deliver(bench, batch({ ...r, with: { ...r.with, ...overrides } }, [alert]));
  const { workflowId } = remediationOf(bench, name);
  const { runId } = await eventually('started', () => remediationOf(bench, name).describe());
  // Of this very run: its request may be decided anew.
  return bench.client.workflow.getHandle(workflowId, runId);
}

const callsOf = () => bench.calls.filter((call) => call.endsWith(name)).map((call) => call.split(' ')[0]);
const toldOf = async (handle: Awaited<ReturnType<typeof heal>>) =>
  reportOf(bench, name, (await handle.describe()).runId);

const WORKLOAD = 'k8s/test/shop/deployment.apps/web';
const PAUSED: Objection = { gate: 'paused', reason: 'k8s/test is paused by person:ada' };
const NO_ROOM: Objection = { gate: 'unavailable', reason: '1 of 3 is unavailable already' };

/** As the activity answers in that attempt; only once, for its request is decided anew. */
function notCleared(objection: Objection, attempt: number): InstancePort['cut'] {
  let asked = 0;
  return async (request) => {
    if (++asked > 1) return usual.cut(request);
    throw ApplicationFailure.create({
      ...{ message: objection.reason, type: NOT_CLEARED, nonRetryable: true },
      details: [objection, attempt],
    });
  };
}

const freedBy = async (handle: Awaited<ReturnType<typeof heal>>) => {
  const { runId } = await handle.describe();
  return freed.filter((one) => one.runId === runId).map(({ workload }) => workload);
};

describe('when it is not the time to cut', () => {
  it('nothing is done, nothing is undone, and its request is decided anew', async () => {
    const handle = await heal({ cut: notCleared(PAUSED, 1) });
    expect(await handle.result()).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('paused by person:ada'),
      changes: [],
    });
    expect(callsOf().slice(0, 3)).not.toContain('restore');
    expect((await toldOf(handle)).again).toMatchObject({ gate: 'paused', request: { fingerprint: `fp-${name}` } });
    expect(await freedBy(handle)).toEqual([WORKLOAD]);
  });

  it('what an attempt before may have cut is given back first', async () => {
    const handle = await heal({ cut: notCleared(NO_ROOM, 2) });
    expect(await handle.result()).toMatchObject({
      outcome: 'refused',
      changes: [{ what: expect.stringContaining('could not report it') }, { after: 'on' }],
    });
    expect(callsOf().slice(0, 3)).toEqual(['assess', 'cut', 'restore']);
    expect((await toldOf(handle)).again).toMatchObject({ gate: 'unavailable' });
  });

  it('and what may have been cut cannot be given back, it has failed', async () => {
    const handle = await heal({
      cut: notCleared(NO_ROOM, 2),
      restore: () => Promise.reject(ApplicationFailure.nonRetryable('no', INSTANCE_ERRORS.contested)),
    });
    expect((await failureOf(handle.result()))?.message).toContain('A person must undo it');
    expect((await toldOf(handle)).again).toBeUndefined();
  });
});

/** Held back once, or for as long as is said. */
function heldBack(objection: Objection, times = 1): InstancePort['replace'] {
  let asked = 0;
  return async (request) =>
    ++asked <= times ? { verdict: 'held-back', why: objection.reason, changes: [], objection } : usual.replace(request);
}

/** The first wait ends with a sick instance; the ones after it as is said. */
function sickOnceThen(then: InstancePort['hold']): InstancePort['hold'] {
  let held = 0;
  return async (request) => (++held === 1 ? stillSick(request) : then(request));
}

/** A wait for clearance that is over only when it is cancelled. */
const neverCleared: ClearanceActivities['untilCleared'] = waitsForEver;

describe('when it is not the time to replace', () => {
  it('it stays held until nothing objects, is looked at afresh, and replaced', async () => {
    const asked: (string | undefined)[] = [];
    clearings.set(name, async ({ deadline }) => {
      asked.push(deadline);
      return { cleared: true };
    });
    const handle = await heal({ hold: sickOnceThen(holdsForEver), replace: heldBack(PAUSED) });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    // Of the second hold it may be too early to see that it began.
    const steps = callsOf().filter((call) => call !== 'hold');
    expect(steps).toEqual(['assess', 'cut', 'assess', 'replace', 'assess', 'replace', 'verify']);
    expect(asked, 'a pause has no deadline').toEqual([undefined]);
    expect(await freedBy(handle)).toEqual([WORKLOAD]);
  });

  it('it gets its traffic back as soon as it recovers meanwhile', async () => {
    clearings.set(name, neverCleared);
    const handle = await heal({ hold: sickOnceThen(usual.hold), replace: heldBack(NO_ROOM) });
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'assess', 'replace', 'hold']);
  });

  it('and that lasts beyond the deadline, the traffic is given back, and it has failed', async () => {
    const deadlines: (string | undefined)[] = [];
    clearings.set(name, async ({ deadline }) => {
      deadlines.push(deadline);
      return { cleared: false, ...NO_ROOM };
    });
    const handle = await heal({ hold: sickOnceThen(holdsForEver), replace: heldBack(NO_ROOM) });
    expect((await failureOf(handle.result()))?.message).toContain('1 of 3 is unavailable already');
    expect(callsOf().at(-1)).toBe('restore');
    expect(deadlines).toEqual([expect.any(String)]);
  });

  it('for a person has excluded it, the traffic is given back, and it is left alone', async () => {
    const handle = await heal({
      hold: stillSick,
      replace: heldBack({ gate: 'excluded', reason: 'annotated salvor.dev/skip' }),
    });
    expect(await handle.result()).toMatchObject({ outcome: 'refused', reason: 'annotated salvor.dev/skip' });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'assess', 'replace', 'restore']);
    expect((await toldOf(handle)).again).toBeUndefined();
  });

  it('and a person cancels: both waits are over before it is undone', async () => {
    clearings.set(name, neverCleared);
    const handle = await heal({ hold: sickOnceThen(holdsForEver), replace: heldBack(PAUSED) });
    await eventually('held back', () => callsOf().filter((call) => call === 'hold').length === 2);
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect(callsOf().at(-1)).toBe('restore');
  });
});

describe('the place in the budget', () => {
  it('is given back by what may have taken it, and by nothing else', async () => {
    const recovers = await heal({});
    await recovers.result();
    expect(await freedBy(recovers)).toEqual([WORKLOAD]);
    name = `${name}-b`;
    const healthy = await heal({ assess: async () => ({ verdict: 'healthy', why: 'Ready' }) });
    await healthy.result();
    expect(await freedBy(healthy)).toEqual([]);
  });
});

describe('a silence', () => {
  /** Notes when it begins and when it has ended. */
  function silence(): { asked: HushRequest[]; ended: () => number } {
    const asked: HushRequest[] = [];
    let ended = 0;
    silences.set(name, async (request) => {
      asked.push(request);
      try {
        return await waitsForEver();
      } finally {
        ended += 1;
      }
    });
    return { asked, ended: () => ended };
  }
  /** The runbook does not end before the silence has begun. */
  const afterItBegan =
    (asked: HushRequest[], then: InstancePort['hold']): InstancePort['hold'] =>
    async (request) => {
      await eventually('silent', () => asked.length > 0);
      return then(request);
    };
  const HUSH = { hush: true };

  it('is there while it works, and over before people are told of the end', async () => {
    const { asked, ended } = silence();
    const handle = await heal({ hold: afterItBegan(asked, usual.hold) }, {}, HUSH);
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    expect(ended()).toBe(1);
    expect(asked).toMatchObject([
      {
        labels: { alertname: 'KubePodNotReady', pod: name },
        fingerprint: `fp-${name}`,
        target: pod(name),
        tell: {
          responder: responderId(name, 'shop'),
          batch: { requests: [{ status: 'resolved', target: pod(name) }] },
        },
      },
    ]);
  });

  it('is over when it has failed', async () => {
    const { asked, ended } = silence();
    const handle = await heal({ hold: afterItBegan(asked, stillSick) }, { replace: false }, HUSH);
    await failureOf(handle.result());
    expect(ended()).toBe(1);
  });

  it('is there while it is undone for a person, and over then', async () => {
    const { asked, ended } = silence();
    const handle = await heal(
      {
        hold: afterItBegan(asked, holdsForEver),
        restore: async (request) => {
          expect(ended()).toBe(0);
          return usual.restore(request);
        },
      },
      {},
      HUSH,
    );
    await eventually('silent', () => asked.length > 0);
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect(callsOf().at(-1)).toBe('restore');
    expect(ended()).toBe(1);
  });

  it('that cannot be had holds nothing back, and the story says so', async () => {
    silences.set(name, () => Promise.reject(ApplicationFailure.nonRetryable('401 Unauthorized')));
    const handle = await heal({}, {}, HUSH);
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    const { lines } = await handle.query<Story>(MESSAGE.story);
    expect(lines.map(({ text }) => text)).toContainEqual(expect.stringContaining('401 Unauthorized'));
  });

  it('whose end hangs does not hold the end back for long', async () => {
    const asked: HushRequest[] = [];
    const over = door();
    silences.set(name, async (request) => {
      asked.push(request);
      const beat = setInterval(() => Context.current().heartbeat(), 200);
      await over.opened;
      clearInterval(beat);
      return '';
    });
    const handle = await heal({ hold: afterItBegan(asked, usual.hold) }, {}, HUSH);
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    over.open();
  });

  it('is not there for what only observes', async () => {
    const { asked } = silence();
    worlds.set(name, {});
    const alert = request(name, { labels: { alertname: 'KubePodNotReady' } });
    await deliver(bench, batch({ ...rule(name, {}, 'observe'), ...HUSH }, [alert]));
    const proposal = bench.client.workflow.getHandle(proposalId(name, pod(name)));
    await eventually('observed', async () => (await proposal.describe()).status.name === 'COMPLETED');
    expect(asked).toEqual([]);
  });
});

describe('a failure', () => {
  const raisedFor = (target: string) =>
    bench.heralded.flatMap(({ raise = [] }) => raise).filter((alert) => alert.target === target);

  it('is escalated with what was tried', async () => {
    const handle = await heal({ hold: stillSick }, { replace: false }, { onFailure: { escalate: true } });
    await failureOf(handle.result());
    const { runId } = await handle.describe();
    const [raised, ...more] = raisedFor(pod(name));
    expect(more).toEqual([]);
    expect(raised).toMatchObject({
      id: runId,
      alertname: 'SalvorEscalation',
      labels: { alert: 'KubePodNotReady', pod: name },
      annotations: { summary: expect.stringContaining('does not allow to replace it') },
    });
    expect(raised?.annotations['description']).toMatch(/label on → off[\s\S]*label off → on/);
  });

  it('of which the rule wants nobody told is not', async () => {
    const handle = await heal({ hold: stillSick }, { replace: false });
    await failureOf(handle.result());
    expect(raisedFor(pod(name))).toEqual([]);
  });
});
