import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openTime } from '../../model/breaker/machine.ts';
import { MESSAGE, proposalId, remediationId } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { readBreaker } from '../../providers/temporal/breakers.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import { type Bench, stateOf } from '../support/workflows.ts';
import {
  alerted,
  type BreakerBench,
  Dependant,
  type Handle,
  inPhase,
  orders,
  startBreakers,
  storyOf,
  waysOf,
} from './breaker-support.ts';

let sandbox: Sandbox<'temporal'>;
let breakers: BreakerBench;
let bench: Bench;
const all = new Map<string, Dependant>();
let one: Dependant;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  breakers = await startBreakers(sandbox.temporal.address, all);
  bench = breakers.bench;
});
afterAll(async () => {
  await breakers.stop();
  await sandbox.stop();
});
beforeEach(() => {
  one = new Dependant();
  all.set(one.name, one);
});

const HOUR = 3_600_000;
const LONG = 600_000;
const endingOf = (handle: Handle) => handle.result() as Promise<Ending>;

describe('a breaker of a dependency that fails', () => {
  it('is opened when that is confirmed, tried after a while, and closed when it is healthy: as it was before', async () => {
    const handle = await alerted(bench, one);
    await inPhase(handle, 'open');
    one.verdict = 'healthy';
    const ending = await endingOf(handle);
    expect(ending).toMatchObject({ outcome: 'recovered' });
    expect(await waysOf(handle)).toEqual([
      'confirming (alert)',
      'open (confirmed)',
      'half-open (time)',
      'closed (successes)',
    ]);
    expect(one.positions).toEqual(['open', 'closed']);
    expect(ending.changes.map(({ step }) => step)).toEqual(['open', 'close']);
    expect((await storyOf(handle)).held).toEqual([]);
  });

  it('lets nothing but the trials reach it while it is open', async () => {
    const handle = await alerted(bench, one);
    await inPhase(handle, 'open');
    await eventually('a relapse', async () => ((await storyOf(handle)).breaker?.state.relapses ?? 0) > 1);
    one.verdict = 'healthy';
    await endingOf(handle);
    const whileOpen = one.asked.filter(({ position }) => position !== 'closed');
    expect(whileOpen.length).toBeGreaterThan(2);
    expect(whileOpen.every(({ kind }) => kind === 'try')).toBe(true);
  });

  it('is open for twice as long after each relapse, within the bounds, and tells so', async () => {
    const handle = await alerted(bench, one);
    const timeline = await eventually('three relapses', async () => {
      const { breaker } = await storyOf(handle);
      return (breaker?.state.relapses ?? 0) >= 3 && breaker?.timeline;
    });
    const open = timeline.filter(({ to }) => to === 'open');
    for (const { relapses, at, until } of open) {
      const base = Math.min(1_200, 300 * 2 ** relapses);
      expect((until ?? 0) - at).toBeGreaterThanOrEqual(Math.floor(base * 0.9));
      expect((until ?? 0) - at).toBeLessThanOrEqual(Math.ceil(base * 1.1));
    }
    expect(open.map(({ cause }) => cause).slice(0, 3)).toEqual(['confirmed', 'failures', 'failures']);
    one.verdict = 'healthy';
    await endingOf(handle);
  });

  it('lets a share through while it is tried, where that is wanted, and nothing again after a relapse', async () => {
    const handle = await alerted(bench, one, { halfOpen: { share: 10 } });
    await eventually('a relapse', async () => ((await storyOf(handle)).breaker?.state.relapses ?? 0) >= 1);
    one.verdict = 'healthy';
    await endingOf(handle);
    expect(one.positions.slice(0, 3)).toEqual(['open', { share: 10 }, 'open']);
    expect(one.positions.at(-1)).toBe('closed');
  });

  it('is watched after it was closed, and opened again for longer where it fails again', async () => {
    const handle = await alerted(bench, one, { dependency: { healthyFor: LONG } });
    await inPhase(handle, 'open');
    one.verdict = 'healthy';
    await inPhase(handle, 'closed');
    await eventually('its responder knows', async () => {
      const state = await stateOf(bench, one.name, one.name);
      return Object.keys(state.open).length === 0 && Object.values(state.settled)[0]?.outcome === 'recovered';
    });
    one.verdict = 'failing';
    await inPhase(handle, 'open');
    expect((await storyOf(handle)).breaker?.state.relapses).toBeGreaterThanOrEqual(1);
    expect((await waysOf(handle)).filter((way) => way === 'open (relapse)')).toHaveLength(1);
    await handle.cancel();
    await expect(endingOf(handle)).rejects.toThrow();
    expect(one.position).toBe('closed');
  });
});

describe('a breaker of a dependency that does not fail', () => {
  it('is not opened, whatever the alert says', async () => {
    one.verdict = 'healthy';
    const handle = await alerted(bench, one);
    expect(await endingOf(handle)).toMatchObject({ outcome: 'not-needed', reason: 'it is healthy', changes: [] });
    expect(one.positions).toEqual([]);
  });

  it('is not opened where nobody can tell, and its alert waits to be looked at again', async () => {
    one.verdict = 'unknown';
    const handle = await alerted(bench, one, { dependency: { confirmWithin: 200 } });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'refused', changes: [] });
    await eventually('it waits', async () => {
      const { queue } = await stateOf(bench, one.name, one.name);
      return Object.values(queue)[0]?.gate === 'unconfirmed';
    });
    expect(one.positions).toEqual([]);
  });

  it('is opened all the same where the rule trusts the alert', async () => {
    one.verdict = 'healthy';
    const handle = await alerted(bench, one, { options: { trustAlert: true } });
    await endingOf(handle);
    expect((await waysOf(handle))[0]).toBe('open (alert)');
    expect(one.positions).toEqual(['open', 'closed']);
  });
});

describe('a person', () => {
  it('opens it, and it stays open until he closes it, whatever the alert says', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: LONG, maxOpen: LONG } });
    await inPhase(handle, 'open');
    one.verdict = 'healthy';
    const opened = await orders(handle, { order: 'open' });
    expect(opened).toMatchObject({ state: 'open', by: 'person:ann', dependency: one.name });
    expect(opened.until).toBeUndefined();
    await handle.signal(MESSAGE.resolved);
    await eventually('the hint was heard', async () =>
      (await storyOf(handle)).lines.some(({ text }) => text.includes('resolved')),
    );
    expect((await storyOf(handle)).breaker?.state.phase).toBe('open');
    const closed = await orders(handle, { order: 'close' });
    expect(closed).toMatchObject({ state: 'closed', by: 'person:ann' });
    expect(one.position).toBe('closed');
    expect(await endingOf(handle)).toMatchObject({ outcome: 'cancelled' });
    expect(one.asked.filter(({ kind }) => kind === 'try')).toEqual([]);
  });

  it('opens it for a time, after which it is tried', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: LONG, maxOpen: LONG } });
    await inPhase(handle, 'open');
    one.verdict = 'healthy';
    await orders(handle, { order: 'open', until: new Date(Date.now() + 300).toISOString() });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'recovered' });
    expect((await waysOf(handle)).slice(2)).toEqual(['open (person)', 'half-open (time)', 'closed (successes)']);
  });

  it('closes it, and for so long it is not opened, although it fails', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: LONG, maxOpen: LONG, respectClose: 1_000 } });
    await inPhase(handle, 'open');
    await orders(handle, { order: 'close' });
    const asked = one.asked.length;
    expect(await endingOf(handle)).toMatchObject({ outcome: 'cancelled', reason: 'closed by person:ann: she says so' });
    expect(one.asked).toHaveLength(asked);
    expect(one.positions).toEqual(['open', 'closed']);
  });

  it('orders it where none was open', async () => {
    one.verdict = 'healthy';
    const order = { order: 'open', by: 'person:ann', reason: 'they move house' } as const;
    const handle = await alerted(bench, one, { options: { order } });
    await eventually('it is open', () => one.position === 'open');
    await orders(handle, { order: 'close' });
    await endingOf(handle);
    expect(await waysOf(handle)).toEqual(['open (person)', 'closed (person)']);
  });

  it('cancels it, and it is closed as it was before', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: LONG, maxOpen: LONG } });
    await inPhase(handle, 'open');
    await eventually('it is open', () => one.position === 'open');
    await handle.cancel();
    await expect(endingOf(handle)).rejects.toThrow();
    expect(one.positions).toEqual(['open', 'closed']);
    const story = await storyOf(handle);
    expect(story).toMatchObject({ held: [], ending: { outcome: 'cancelled' } });
  });
});

describe('what happens to an open breaker', () => {
  it('tries at once when its alert is resolved', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: LONG, maxOpen: LONG } });
    await inPhase(handle, 'open');
    one.verdict = 'healthy';
    await handle.signal(MESSAGE.resolved);
    expect(await endingOf(handle)).toMatchObject({ outcome: 'recovered' });
  });

  it('is opened again where its switch was closed by a restart', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: LONG, maxOpen: LONG } });
    await eventually('it is open', () => one.position === 'open');
    one.position = 'closed';
    await eventually('it is open again', () => one.position === 'open');
    await handle.cancel();
    await expect(endingOf(handle)).rejects.toThrow();
    expect(await storyOf(handle)).toMatchObject({
      changes: [{ step: 'open' }, { step: 'keep-open' }, { step: 'close' }],
    });
  });

  it('is left to whoever closes it behind its back, and people are told', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: LONG, maxOpen: LONG } });
    await eventually('it is open', () => one.position === 'open');
    one.position = 'closed';
    one.contestedBy = 'somebody';
    await expect(endingOf(handle)).rejects.toThrow();
    expect(await storyOf(handle)).toMatchObject({ held: [], ending: { outcome: 'failed' } });
    expect(one.positions).toEqual(['open']);
  });

  it('is not opened where a gate objects right before', async () => {
    one.objection = { gate: 'paused', reason: 'paused by ann' };
    const handle = await alerted(bench, one);
    expect(await endingOf(handle)).toMatchObject({ outcome: 'refused', changes: [] });
    expect(one.positions).toEqual([]);
  });

  it('fails where its switch cannot be set, and says so', async () => {
    one.broken = 'no rights';
    const handle = await alerted(bench, one);
    await expect(endingOf(handle)).rejects.toThrow();
    expect(one.positions).toEqual([]);
  });

  it('costs at most 60 events of history an hour at default settings', async () => {
    const handle = await alerted(bench, one, { dependency: { openFor: 100, maxOpen: 100 } });
    const relapsed = async (times: number) =>
      eventually(`${times} relapses`, async () => {
        const { relapses = 0 } = (await storyOf(handle)).breaker?.state ?? {};
        return relapses >= times && { relapses };
      });
    const eventsOf = async () => ((await handle.fetchHistory()).events ?? []).length;
    await relapsed(1);
    const before = { events: await eventsOf(), ...(await relapsed(1)) };
    await relapsed(before.relapses + 8);
    const after = { ...(await relapsed(1)), events: await eventsOf() };
    const perRelapse = (after.events - before.events) / (after.relapses - before.relapses);
    let relapses = 0;
    for (let at = 0; at < HOUR; relapses += 1) at += openTime({ openFor: 30_000, maxOpen: LONG }, relapses, 0.9);
    expect(perRelapse * (relapses - 1)).toBeLessThanOrEqual(60);
    await handle.cancel();
    await expect(endingOf(handle)).rejects.toThrow();
  });

  it('would be opened, in mode observe, and is not', async () => {
    await alerted(bench, one, { mode: 'observe' });
    const proposal = bench.client.workflow.getHandle(proposalId(one.name, one.key));
    await eventually('it runs', () => proposal.describe());
    expect(await proposal.result()).toMatchObject({ outcome: 'observed', plan: expect.any(Array) });
    expect(one.positions).toEqual([]);
  });
});

describe('a worker that dies', () => {
  const states = ['confirming', 'open', 'half-open', 'closed'] as const;
  it.each(states)('while it is %s: another goes on where it was', async (phase) => {
    const mortal = await startBreakers(sandbox.temporal.address, all);
    const { taskQueue } = mortal.bench;
    one.verdict = phase === 'confirming' ? 'unknown' : 'failing';
    const long = {
      dependency: {
        confirmWithin: 60_000,
        healthyFor: phase === 'closed' ? 2_000 : 300,
        openFor: phase === 'open' ? 3_000 : 300,
      },
      halfOpen: { every: 1_000, within: 60_000, trials: 20, failures: 20 },
    };
    const { runId } = await (await alerted(mortal.bench, one, long)).describe();
    const handle = bench.client.workflow.getHandle(remediationId(one.key), runId);
    if (phase === 'closed') {
      await inPhase(handle, 'open');
      one.verdict = 'healthy';
    }
    await eventually(`it is ${phase}`, () => {
      if (phase === 'half-open') return one.asked.some(({ kind }) => kind === 'try');
      if (phase === 'confirming') return one.asked.length > 0;
      if (phase === 'open') return one.position === 'open';
      return one.positions.at(-1) === 'closed';
    });
    const { at, until } = (await storyOf(handle)).breaker?.timeline.at(-1) ?? { at: 0, until: 0 };
    await mortal.stop();
    one.verdict = phase === 'confirming' ? 'failing' : 'healthy';
    const heir = await startBreakers(sandbox.temporal.address, all, taskQueue);
    try {
      if (phase === 'confirming') {
        await inPhase(handle, 'open');
        one.verdict = 'healthy';
      }
      expect(await endingOf(handle)).toMatchObject({ outcome: 'recovered' });
      const timeline = (await storyOf(handle)).breaker?.timeline ?? [];
      if (phase !== 'half-open') expect(timeline).toContainEqual(expect.objectContaining({ at, until }));
      expect(one.positions).toEqual(['open', 'closed']);
    } finally {
      await heir.stop();
    }
  });
});

describe('a breaker that is open for weeks', () => {
  it('goes on in a new run, with what it holds and what it remembers, and is one for responder, record and people', async () => {
    const first = await alerted(bench, one, { dependency: { openFor: 1, maxOpen: 1 } });
    const { runId } = await first.describe();
    const latest = bench.client.workflow.getHandle(first.workflowId) as Handle;
    await eventually(
      'it relapses in another run',
      async () => {
        const { runId: now } = await latest.describe();
        return now !== runId && ((await storyOf(latest)).breaker?.state.relapses ?? 0) > 300;
      },
      120_000,
    );
    // The server ends what has 50 MB of history.
    expect((await first.describe()).historySize).toBeLessThan(10 * 1024 * 1024);
    // Nothing was let through meanwhile, and its past is bounded.
    expect(one.positions).toEqual(['open']);
    expect(await orders(latest, { order: 'open' })).toMatchObject({ state: 'open', remediation: runId });
    const story = await storyOf(latest);
    expect(story.held).toMatchObject([{ field: 'switch', before: 'closed', remediation: runId }]);
    expect(story.breaker?.timeline).toHaveLength(200);
    expect(story.lines.length).toBeLessThan(1_000);
    expect(await readBreaker(bench.client, one.name)).toMatchObject({ state: 'open', remediation: runId });
    expect(Object.values((await stateOf(bench, one.name, one.name)).open)).toMatchObject([{ runId }]);

    expect(await orders(latest, { order: 'close' })).toMatchObject({ state: 'closed', by: 'person:ann' });
    expect(await endingOf(latest)).toMatchObject({ outcome: 'cancelled' });
    expect(one.positions).toEqual(['open', 'closed']);
    const notes = bench.pages.filter(({ stream }) => stream.id === runId).flatMap(({ notes: of }) => of);
    const keys = [...new Set(notes.map(({ key }) => Number(key)))].sort((a, b) => a - b);
    expect(keys).toEqual(Array.from({ length: keys.length }, (_, i) => i + 1));
    // What the record has of the end outlives the history.
    const ended = notes.findLast(({ entry }) => entry.kind === 'ended')?.entry;
    expect(ended).toMatchObject({ breaker: { state: { phase: 'closed' }, timeline: expect.any(Array) } });
  }, 180_000);
});
