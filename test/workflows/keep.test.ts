import { randomUUID } from 'node:crypto';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { storyOf as historyStory } from '../../cli/history.ts';
import type { ClearanceActivities, Objection } from '../../model/clearance.ts';
import { MESSAGE, remediationId } from '../../model/names.ts';
import {
  type Assessment,
  type HoldRequest,
  type HoldResult,
  INSTANCE_ERRORS,
  type InstancePort,
} from '../../model/ports/instance.ts';
import type { Ending, Story } from '../../model/remediation.ts';
import { NODE_OPTIONS, type ResolvedRule } from '../../model/rule.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { door, eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  request,
  rule,
  sick,
  startBench,
  stateOf,
} from '../support/workflows.ts';
import { failureOf, holdsForEver, nameIn, reportsOf, stillSick, waitsForEver, worldOf } from './support.ts';

/** What a remediation still holds when the healing is done: a drained node, an instance whose cut has replaced it. */

const usual = instance();
const worlds = new Map<string, Partial<InstancePort>>();
const clearings = new Map<string, ClearanceActivities['untilCleared']>();
let hushed: () => Promise<string> = async () => 'nothing is silenced';
const freed: { workload: string; runId: string }[] = [];
const MINUTE = 60_000;
const outside = {
  untilCleared: (async (asked) =>
    (await clearings.get(nameIn(asked.target))?.(asked)) ?? { cleared: true }) as ClearanceActivities['untilCleared'],
  free: async (workload: string, runId: string) => {
    freed.push({ workload, runId });
  },
  hush: () => hushed(),
};

let sandbox: Sandbox<'temporal'>;
let bench: Bench;
let name: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, worldOf(worlds), outside);
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  name = `t${randomUUID().slice(0, 8)}`;
});

const node = (of: string): string => `k8s/test/node/${of}`;
const machine = (of: string): string => `asg/test/${of}/i-0123456789abcdef0`;
const pod = (of: string): string => `k8s/test/shop/pod/${of}`;
type Sick = Extract<Assessment, { verdict: 'sick' }>;

interface Given {
  with?: Partial<ResolvedRule['with']>;
  escalate?: boolean;
  hush?: boolean;
  key?: (of: string) => string;
}

async function heal(own: Partial<InstancePort>, given: Given = {}) {
  const { key = node, escalate = false, hush = false } = given;
  const target = key(name);
  worlds.set(nameIn(target), own);
  const usually = rule(name);
  const r: ResolvedRule<'drain-instance'> = {
    ...usually,
    with: { ...usually.with, ...given.with },
    onFailure: { escalate },
    hush,
  };
  await deliver(bench, batch(r, [request(name, { target })]));
  const { runId } = await eventually('started', () =>
    bench.client.workflow.getHandle(remediationId(target)).describe(),
  );
  return bench.client.workflow.getHandle(remediationId(target), runId);
}
type Handle = Awaited<ReturnType<typeof heal>>;

const callsOf = (of = name) => bench.calls.filter((call) => call.endsWith(` ${of}`)).map((call) => call.split(' ')[0]);
const storyOf = (handle: Handle) => handle.query<Story>(MESSAGE.story);
const told = async (handle: Handle) => reportsOf(bench, name, (await handle.describe()).runId);
const inPhase = (handle: Handle, phase: string) =>
  eventually(`in ${phase}`, async () => (await storyOf(handle)).phase === phase);
/** As it is told where no worker answers. */
const toldByHistory = async (handle: Handle) => historyStory(await handle.fetchHistory());
/** How many its history has, without those of a workflow task that a slow machine did not do in time. */
async function eventsOf(handle: Handle): Promise<number> {
  const { events = [] } = await handle.fetchHistory();
  const late = events?.filter((event) => event.workflowTaskTimedOutEventAttributes) ?? [];
  return (events?.length ?? 0) - 3 * late.length;
}

/** A wait of the runbook for recovery, and after it the one of what is kept. */
const sickThen = (then: InstancePort['hold']): InstancePort['hold'] => {
  let held = 0;
  return async (asked) => (++held === 1 ? stillSick(asked) : then(asked));
};

const cordoned = (target: string): Sick => ({
  ...sick(target),
  traffic: { way: 'cordon', why: 'it is a node' },
  held: [{ field: 'spec.unschedulable', before: null, set: true }],
});
const drained = (kept: InstancePort['hold'], more: Partial<InstancePort> = {}): Partial<InstancePort> => ({
  assess: async ({ target }) => cordoned(target),
  hold: sickThen(kept),
  replace: async () => ({ verdict: 'replaced', why: '3 pods were evicted', changes: [], stays: true }),
  ...more,
});
const ends =
  (result: HoldResult): InstancePort['hold'] =>
  async () =>
    result;

describe('a node that was drained and stays', () => {
  it('is handed over when its pods serve elsewhere: its slot and its place are free while it stays cordoned', async () => {
    const recovered = door<HoldResult>();
    const asked: HoldRequest[] = [];
    const handle = await heal(
      drained(async (hold) => {
        asked.push(hold);
        return recovered.opened;
      }),
      { with: { node: { ...NODE_OPTIONS, keepFor: 10 * MINUTE } } },
    );
    await inPhase(handle, 'keep');
    await eventually('the second wait', () => asked.length > 0);
    const state = await eventually('its responder knows', async () => {
      const now = await stateOf(bench, name);
      return Object.keys(now.open).length === 0 && now;
    });
    expect(Object.values(state.settled)).toMatchObject([{ outcome: 'remediated' }]);
    const { runId } = await handle.describe();
    expect(freed.filter((one) => one.runId === runId)).toHaveLength(1);
    expect((await storyOf(handle)).held).toHaveLength(1);
    expect(await toldByHistory(handle)).toMatchObject({ phase: 'keep', held: [{ field: 'spec.unschedulable' }] });
    expect(Date.parse(asked[0]?.deadline ?? '') - Date.now()).toBeGreaterThan(9 * MINUTE);

    // Another of the scope gets the only slot, and a repeat of the alert says nothing new.
    const other = `${name}-b`;
    await deliver(bench, batch(rule(name), [request(other), request(name, { target: node(name) })]));
    const second = bench.client.workflow.getHandle(remediationId(pod(other)));
    expect(await eventually('the other', () => second.result() as Promise<Ending>)).toMatchObject({
      outcome: 'recovered',
    });
    expect((await stateOf(bench, name)).tally).toMatchObject({ admit: 2, coalesce: 1 });

    recovered.open({ verdict: 'recovered', why: 'healthy for 1 s', changes: [] });
    expect(await handle.result()).toMatchObject({
      outcome: 'remediated',
      reason: 'a new pod is Ready; it has recovered, and is uncordoned: healthy for 1 s',
    });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold', 'assess', 'replace', 'verify', 'hold']);
    expect(await told(handle)).toMatchObject([{ outcome: 'remediated', reason: 'a new pod is Ready' }]);
    expect(freed.filter((one) => one.runId === runId)).toHaveLength(1);
    expect((await storyOf(handle)).held).toEqual([]);
    expect(await eventsOf(handle)).toBeLessThanOrEqual(54);
  });

  it.each([
    ['gone', 'it is gone by now'],
    ['given-back', 'it was given back by hand'],
  ] as const)('%s meanwhile: it was remediated, and nothing more is done', async (verdict, reason) => {
    const handle = await heal(drained(ends({ verdict, why: 'seen so', changes: [] })));
    expect(await handle.result()).toMatchObject({ outcome: 'remediated', reason: expect.stringContaining(reason) });
    expect(callsOf().at(-1)).toBe('hold');
  });

  it('still sick when its time is over: it stays cordoned and on record, people are told, and its responder is not', async () => {
    const handle = await heal(drained(stillSick), { escalate: true });
    const failure = await failureOf(handle.result());
    expect(failure?.message).toMatch(
      /was drained .* still sick: .* still held is left for a person to decide about \(salvor release/,
    );
    expect(callsOf()).not.toContain('restore');
    const { held, lines } = await storyOf(handle);
    expect(await toldByHistory(handle)).toMatchObject({ held, ending: { outcome: 'failed' } });
    expect(held).toMatchObject([{ field: 'spec.unschedulable', set: true }]);
    expect(lines.map(({ text }) => text)).toContainEqual(expect.stringContaining('it stays cordoned'));
    expect(await told(handle)).toMatchObject([{ outcome: 'remediated' }]);
    expect((await stateOf(bench, name)).attempts).toEqual({});
    const { runId } = await handle.describe();
    expect(bench.heralded.flatMap(({ raise = [] }) => raise.map(({ id }) => id))).toContain(runId);
    const kinds = bench.pages.flatMap(({ stream, notes }) => (stream.id === runId ? notes : []));
    expect(kinds.filter(({ entry }) => entry.kind === 'released')).toEqual([]);
    expect(kinds.map(({ entry }) => entry)).toContainEqual(
      expect.objectContaining({ kind: 'evidence', what: 'hand-over', verdict: 'remediated' }),
    );
  });

  it('that somebody else takes back: what that person set stays, and people are told', async () => {
    const why = 'kubectl changed spec.unschedulable, twice by now';
    const handle = await heal(drained(ends({ verdict: 'contested', why, changes: [], manager: 'kubectl' })));
    expect((await failureOf(handle.result()))?.message).toContain(why);
    expect(callsOf().at(-1)).toBe('restore');
    expect((await storyOf(handle)).held).toEqual([]);
  });

  it('is given back when a person cancels', async () => {
    const handle = await heal(drained(holdsForEver));
    await inPhase(handle, 'keep');
    await eventually('the second wait', () => callsOf().filter((call) => call === 'hold').length === 2);
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect(callsOf().at(-1)).toBe('restore');
    expect(await told(handle)).toMatchObject([{ outcome: 'remediated' }]);
  });

  it.each([
    ['that are not replaced in time', async () => ({ verified: false, why: '2 of 3 are Ready' }), '2 of 3 are Ready'],
    ['when a person cancels the wait for them', waitsForEver, undefined],
  ] as const)('is uncordoned for its pods %s', async (_, verify, why) => {
    const handle = await heal(drained(stillSick, { verify }));
    if (why === undefined) {
      await eventually('verifying', () => callsOf().includes('verify'));
      await handle.cancel();
    }
    const failure = await failureOf(handle.result());
    if (why !== undefined) expect(failure?.message).toBe(why);
    expect(callsOf().slice(-2)).toEqual(['verify', 'restore']);
    expect(await told(handle)).toMatchObject([{ outcome: why === undefined ? 'cancelled' : 'failed' }]);
  });

  it('and that somebody else had cordoned before is not waited for', async () => {
    const handle = await heal(
      drained(stillSick, {
        assess: async ({ target }) => ({ ...cordoned(target), held: [], traffic: { way: 'none', why: 'cordoned' } }),
      }),
    );
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(callsOf()).toEqual(['assess', 'hold', 'assess', 'replace', 'verify']);
  });

  it('of which only a part could be drained is uncordoned, what was done is on record, and it has failed', async () => {
    const object = { key: pod('moved'), uid: 'u' };
    const change = { step: 'replace', what: 'evicted', object, field: 'eviction', before: null, after: null, at: '' };
    const handle = await heal(
      drained(stillSick, {
        replace: async () => ({ verdict: 'failed', why: 'two budgets select web-1', changes: [change] }),
      }),
    );
    const failure = await failureOf(handle.result());
    expect(failure?.message).toBe('two budgets select web-1');
    expect((await storyOf(handle)).changes).toContainEqual(change);
    expect(callsOf().slice(-2)).toEqual(['replace', 'restore']);
  });

  it('goes on being kept by another worker, told once, when the one that handed it over is gone', async () => {
    const own = drained(holdsForEver);
    const first = await startBench(sandbox.temporal.address, worldOf(new Map([[name, own]])), outside);
    await deliver(first, batch(rule(name), [request(name, { target: node(name) })]));
    const handle = await eventually('started', async () => {
      const found = first.client.workflow.getHandle(remediationId(node(name)));
      await found.describe();
      return found;
    });
    await inPhase(handle, 'keep');
    await eventually('the second wait', () => first.calls.filter((call) => call.startsWith('hold')).length === 2);
    await first.stop();
    const recovers = worldOf(new Map([[name, { hold: usual.hold }]]));
    const second = await startBench(sandbox.temporal.address, recovers, outside, first.taskQueue);
    try {
      const again = second.client.workflow.getHandle(remediationId(node(name)));
      expect(await again.result()).toMatchObject({ outcome: 'remediated' });
      expect(second.calls).toEqual([`hold ${name}`]);
      expect(await reportsOf(second, name, (await again.describe()).runId)).toHaveLength(1);
    } finally {
      await second.stop();
    }
  });
});

const quarantined = (
  course: { keepFor: number; afterwards: 'delete' | 'give-back' },
  more: Partial<InstancePort> = {},
): Partial<InstancePort> => ({
  assess: async ({ target }) => ({
    ...sick(target),
    traffic: { way: 'quarantine', why: 'the rule allows it' },
    course: { kind: 'replacement', ...course },
  }),
  replace: async () => ({ verdict: 'replaced', why: 'the pod was deleted', changes: [] }),
  ...more,
});
const SHORT = { keepFor: 1_000, afterwards: 'delete' } as const;
const LONG = { keepFor: 10 * MINUTE, afterwards: 'delete' } as const;
const PAUSED: Objection = { gate: 'paused', reason: 'k8s/test is paused by person:ada' };

describe('what its cut has replaced', () => {
  it('is handed over when its replacement serves, kept for its time by one timer, and done away with', async () => {
    const handle = await heal(quarantined(SHORT), { key: pod });
    expect(await handle.result()).toMatchObject({
      outcome: 'remediated',
      reason: 'a new pod is Ready; the pod was deleted',
    });
    expect(callsOf()).toEqual(['assess', 'cut', 'verify', 'assess', 'replace']);
    expect(await told(handle)).toMatchObject([{ outcome: 'remediated', reason: 'a new pod is Ready' }]);
    const { held, changes } = await storyOf(handle);
    expect(held).toEqual([]);
    expect(changes).toMatchObject([{ after: 'off' }]);
    expect(await eventsOf(handle)).toBeLessThanOrEqual(44);
  });

  it.each([
    ['healthy', async () => ({ verdict: 'healthy' as const, why: 'the pod is Ready' })],
    ['sick, and not what its cut had made of it', async ({ target }: { target: string }) => sick(target)],
  ])('and was put back by hand meanwhile is left alone: it is %s', async (_, now) => {
    let looks = 0;
    const kept = quarantined(SHORT);
    const handle = await heal(
      { ...kept, assess: async (asked) => (++looks === 1 ? kept.assess!(asked) : now(asked)) },
      { key: pod },
    );
    expect(await handle.result()).toMatchObject({
      outcome: 'remediated',
      reason: expect.stringContaining('put back by hand meanwhile, and is left alone'),
    });
    expect(callsOf()).toEqual(['assess', 'cut', 'verify', 'assess']);
    expect((await storyOf(handle)).held).toEqual([]);
  });

  it('is silent until its replacement serves, and heard while it is kept', async () => {
    const served = door();
    let [silent, ended] = [0, 0];
    hushed = async () => {
      silent += 1;
      try {
        return await waitsForEver();
      } finally {
        ended += 1;
      }
    };
    const own = quarantined(LONG);
    const verify: InstancePort['verify'] = async (asked) => {
      await served.opened;
      return usual.verify(asked);
    };
    const handle = await heal({ ...own, verify }, { key: pod, hush: true });
    await eventually('silent', () => silent === 1);
    expect(ended).toBe(0);
    served.open();
    await inPhase(handle, 'keep');
    await eventually('heard', () => ended === 1);
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect([silent, ended]).toEqual([1, 1]);
  });

  it('takes no slot while it is kept', async () => {
    const handle = await heal(quarantined(LONG), { key: pod });
    await inPhase(handle, 'keep');
    await eventually('its slot is free', async () => Object.keys((await stateOf(bench, name)).open).length === 0);
    expect((await storyOf(handle)).next).toMatchObject({ what: 'do away with it', until: expect.any(String) });
    expect(await toldByHistory(handle)).toMatchObject({ phase: 'keep', held: [{ set: 'off' }] });
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect(callsOf()).toEqual(['assess', 'cut', 'verify', 'restore']);
    expect(await told(handle)).toHaveLength(1);
  });

  it('is given back where the rule says so', async () => {
    const handle = await heal(quarantined({ keepFor: 1_000, afterwards: 'give-back' }), { key: pod });
    expect(await handle.result()).toMatchObject({
      outcome: 'remediated',
      reason: 'a new pod is Ready; it was kept, and given back',
      changes: [{ after: 'off' }, { after: 'on' }],
    });
    expect(callsOf()).toEqual(['assess', 'cut', 'verify', 'restore']);
    expect((await storyOf(handle)).held).toEqual([]);
  });

  it('of a group whose numbers have changed meanwhile is decided about anew, by the numbers of now', async () => {
    const key = (of: string) => machine(of);
    const contested = ApplicationFailure.nonRetryable('desired was 4 and is 3 now', INSTANCE_ERRORS.contested);
    let [looks, cuts] = [0, 0];
    const looked = async ({ target }: { target: string }): Promise<Sick> => {
      const before = 4 - Math.min(looks++, 1);
      return { ...sick(target), held: [{ field: 'DesiredCapacity', before, set: before - 1 }] };
    };
    const asked: unknown[] = [];
    const handle = await heal(
      {
        assess: looked,
        cut: async ({ held, ...request }) => {
          asked.push(held[0]?.before);
          if (++cuts === 1) throw contested;
          return usual.cut({ held, ...request });
        },
        restore: async () => [],
      },
      { key },
    );
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    expect(callsOf(nameIn(machine(name))).slice(-6)).toEqual(['assess', 'cut', 'restore', 'assess', 'cut', 'hold']);
    expect(asked).toEqual([4, 3]);
    expect((await storyOf(handle)).held).toEqual([]);
  });

  it('of a group that never holds still fails after so many looks, and of a pod at once', async () => {
    const contested = ApplicationFailure.nonRetryable('it was changed', INSTANCE_ERRORS.contested);
    const own: Partial<InstancePort> = { cut: () => Promise.reject(contested), restore: async () => [] };
    const handle = await heal(own, { key: machine });
    expect((await failureOf(handle.result()))?.message).toContain('it was changed');
    const { changes, lines } = await storyOf(handle);
    expect(changes).toEqual([]);
    expect(lines.filter(({ text }) => text.endsWith('it is looked at again'))).toHaveLength(4);
    name = `${name}-b`;
    const other = await heal(own, { key: pod });
    expect((await failureOf(other.result()))?.message).toContain('it was changed');
    expect(callsOf()).toEqual(['assess', 'cut', 'restore']);
  });

  it('and is not to be kept is done away with at once, and its end is told when it is the end', async () => {
    const key = (of: string) => machine(of);
    const id = nameIn(machine(name));
    const handle = await heal(quarantined({ keepFor: 0, afterwards: 'delete' }), { key });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(callsOf(id).slice(-5)).toEqual(['assess', 'cut', 'verify', 'assess', 'replace']);
    const reports = await told(handle);
    expect(reports).toMatchObject([{ reason: 'a new pod is Ready; the pod was deleted' }]);
    expect((await storyOf(handle)).lines.map(({ text }) => text).join('\n')).not.toMatch(/evict/);
    expect(await eventsOf(handle)).toBeLessThanOrEqual(34);
  });

  it.each([
    ['is not replaced in time', async () => ({ verified: false, why: 'no new pod is Ready' }), 'no new pod is Ready'],
    ['waits for its replacement when a person cancels', waitsForEver, undefined],
  ] as const)('that %s is given back', async (_, verify, why) => {
    const handle = await heal(quarantined(LONG, { verify }), { key: pod });
    if (why === undefined) {
      await eventually('verifying', () => callsOf().includes('verify'));
      await handle.cancel();
    }
    const failure = await failureOf(handle.result());
    if (why !== undefined) expect(failure?.message).toBe(why);
    expect(callsOf()).toEqual(['assess', 'cut', 'verify', 'restore']);
    expect(await told(handle)).toMatchObject([{ outcome: why === undefined ? 'cancelled' : 'failed' }]);
  });

  it.each(['failed', 'blocked'] as const)(
    'and cannot be done away with (%s) stays out of traffic, and people are told',
    async (verdict) => {
      const why = 'it is protected from scale in';
      const replace: InstancePort['replace'] = async () => ({ verdict, why, changes: [] });
      const handle = await heal(quarantined(SHORT, { replace }), { key: pod, escalate: true });
      expect((await failureOf(handle.result()))?.message).toContain(why);
      expect(callsOf()).toEqual(['assess', 'cut', 'verify', 'assess', 'replace']);
      expect((await storyOf(handle)).held).toHaveLength(1);
      const { runId } = await handle.describe();
      expect(bench.heralded.flatMap(({ raise = [] }) => raise.map(({ id }) => id))).toContain(runId);
      expect(await told(handle)).toMatchObject([{ outcome: 'remediated' }]);
    },
  );

  it('is done away with when nothing objects any more', async () => {
    const opened = door<{ cleared: true }>();
    clearings.set(name, () => opened.opened);
    let asked = 0;
    const asUsual = quarantined(SHORT).replace as InstancePort['replace'];
    const replace: InstancePort['replace'] = async (given) => {
      expect(given.clearance, 'it takes nothing from its workload').toMatchObject({ unbudgeted: true });
      if (++asked > 1) return asUsual(given);
      return { verdict: 'held-back', why: PAUSED.reason, changes: [], objection: PAUSED };
    };
    const handle = await heal(quarantined(SHORT, { replace }), { key: pod });
    await inPhase(handle, 'held back');
    expect(asked).toBe(1);
    opened.open({ cleared: true });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(asked).toBe(2);
  });

  it('is given back when a person cancels while it is held back', async () => {
    clearings.set(name, waitsForEver);
    const replace: InstancePort['replace'] = async () => ({
      ...{ verdict: 'held-back', why: PAUSED.reason, changes: [], objection: PAUSED },
    });
    const handle = await heal(quarantined(SHORT, { replace }), { key: pod });
    await inPhase(handle, 'held back');
    await handle.cancel();
    expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    expect(callsOf().at(-1)).toBe('restore');
  });

  it.each([
    { gate: 'excluded', reason: 'it carries the annotation salvor.dev/skip' },
    { gate: 'observing', reason: 'the rule only observes by now' },
  ] as const)('is left, and people told, when it is not to be touched any more ($gate)', async (objection) => {
    const replace: InstancePort['replace'] = async () => ({
      ...{ verdict: 'held-back', why: objection.reason, changes: [], objection },
    });
    const handle = await heal(quarantined(SHORT, { replace }), { key: pod, escalate: true });
    expect(await handle.result()).toMatchObject({
      outcome: 'remediated',
      reason: expect.stringContaining(`left alone: ${objection.reason}. What is still held is left for a person`),
    });
    const { runId } = await handle.describe();
    expect(bench.heralded.flatMap(({ raise = [] }) => raise.map(({ id }) => id))).toContain(runId);
    expect(callsOf()).toEqual(['assess', 'cut', 'verify', 'assess', 'replace']);
    expect((await storyOf(handle)).held).toHaveLength(1);
  });
});
