import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClearanceActivities, NOT_CLEARED, type Objection } from '../../model/clearance.ts';
import { MESSAGE, proposalId, remediationId } from '../../model/names.ts';
import { INSTANCE_ERRORS } from '../../model/ports/instance.ts';
import type {
  BacklogResult,
  ScalablePort,
  ScaleToRequest,
  WatchBacklogRequest,
  WatchState,
} from '../../model/ports/scalable.ts';
import type { Story } from '../../model/remediation.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import { startingState } from '../../model/scaling/controller.ts';
import { cancelRun } from '../../providers/temporal/cancel.ts';
import { findMeant } from '../../providers/temporal/runs.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { deployment, Sized, scaleRule, short, watched } from '../support/scaling.ts';
import { eventually } from '../support/wait.ts';
import { type Bench, batch, deliver, instance, request, startBench, stateOf } from '../support/workflows.ts';
import { failureOf, nameIn, reportsOf, waitsForEver } from './support.ts';

interface World extends Partial<ScalablePort> {
  sized: Sized;
  untilCleared?: ClearanceActivities['untilCleared'];
}

const worlds = new Map<string, World>();
const called: string[] = [];
let sandbox: Sandbox<'temporal'>;
let bench: Bench;
let name: string;

/** The world of a request's target. */
function worldOf(what: keyof ScalablePort, request: { target?: string; scale?: { object: { key: string } } }): World {
  const own = nameIn(request.target ?? request.scale?.object.key ?? '');
  called.push(`${what} ${own}`);
  const world = worlds.get(own);
  if (!world) throw new Error(`no world of ${own}`);
  return world;
}

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, instance(), {
    readScale: async (asked) => (await worldOf('readScale', asked).readScale?.(asked)) ?? short(asked.target),
    watchBacklog: async (asked) => (await worldOf('watchBacklog', asked).watchBacklog?.(asked)) ?? watched('good'),
    scaleTo: async (asked) => {
      const world = worldOf('scaleTo', asked);
      return (world.scaleTo ?? world.sized.scaleTo)(asked);
    },
    giveScaleBack: async (asked) => worldOf('giveScaleBack', asked).sized.giveScaleBack(asked),
    untilCleared: async (asked) => (await worlds.get(nameIn(asked.target))?.untilCleared?.(asked)) ?? { cleared: true },
  });
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  name = `t${randomUUID().slice(0, 8)}`;
});

async function heal(own: Omit<World, 'sized'>, more: Partial<ResolvedRule<'scale-on-backlog'>> = {}) {
  const sized = new Sized();
  worlds.set(name, { ...own, sized });
  const target = deployment(name);
  await deliver(bench, batch(scaleRule(name, more), [request(name, { target })]));
  const workflowId = more.mode === 'observe' ? proposalId(name, target) : remediationId(target);
  const { runId } = await eventually('started', () => bench.client.workflow.getHandle(workflowId).describe());
  return { sized, runId, target, handle: bench.client.workflow.getHandle(workflowId, runId) };
}

const callsOf = () => called.filter((call) => call.endsWith(` ${name}`)).map((call) => call.split(' ')[0]);

/** What a request is about. */
function sizedOf({ scale }: ScaleToRequest): Sized {
  const world = worlds.get(nameIn(scale.object.key));
  if (!world) throw new Error(`no world of ${scale.object.key}`);
  return world.sized;
}

/** Answers one after the other, then for ever the last; while it is held back, nothing. */
function inTurn(...results: (BacklogResult | 'forever')[]): (asked: WatchBacklogRequest) => Promise<BacklogResult> {
  let turn = 0;
  return async ({ capped }) => {
    // It is held back: nothing less is asked for.
    if (capped) return waitsForEver();
    const result = results[Math.min(turn, results.length - 1)];
    turn += 1;
    return result === 'forever' || result === undefined ? waitsForEver() : result;
  };
}

const notesOf = (runId: string) =>
  bench.pages.filter(({ stream }) => stream.id === runId).flatMap(({ notes }) => notes);

describe('a target that is short of replicas', () => {
  it('is scaled as the signals ask, step by step back, and then let go', async () => {
    const turns = inTurn(
      watched('scale', { to: 9 }),
      watched('scale', { to: 4 }),
      watched('scale', { to: 2 }),
      watched('good'),
    );
    const { handle, sized, runId } = await heal({ watchBacklog: turns });
    const ending = await handle.result();
    expect(ending).toMatchObject({ outcome: 'remediated', reason: expect.stringContaining('it is good') });
    expect(sized.writes).toEqual(['2 → 6', '6 → 9', '9 → 4', '4 → 2', 'back 2 → 2']);
    const held = notesOf(runId).flatMap(({ entry }) => (entry.kind === 'held' ? [entry.held.set] : []));
    expect([...new Set(held)]).toEqual([6, 9, 4, 2]);
    expect(notesOf(runId).at(-1)?.entry.kind).toBe('ended');
  });

  it('takes as many events as it has decisions, not as it has looks', async () => {
    const { handle } = await heal({ watchBacklog: inTurn(watched('scale', { to: 2 }), watched('good')) });
    await handle.result();
    const once = (await handle.fetchHistory()).events?.length ?? 0;
    expect(once).toBeLessThanOrEqual(50);
    name = `t${randomUUID().slice(0, 8)}`;
    const more = [9, 5, 7, 2].map((to) => watched('scale', { to }));
    const { handle: longer } = await heal({ watchBacklog: inTurn(...more, watched('good')) });
    await longer.result();
    const all = (await longer.fetchHistory()).events?.length ?? 0;
    expect((all - once) / 3).toBeLessThanOrEqual(12);
  });

  it('tells what is set, what is held and what there is to draw', async () => {
    const { handle } = await heal({ watchBacklog: inTurn(watched('scale', { to: 9 }), 'forever') });
    const story = await eventually('it follows with 9', async () => {
      const now = await handle.query<Story>(MESSAGE.story);
      return now.held[0]?.set === 9 && now.phase === 'follow' && now;
    });
    expect(story.held).toMatchObject([{ field: 'spec.replicas', before: 2, set: 9, runbook: 'scale-on-backlog' }]);
    expect(story.chart).toMatchObject([{ backlog: 500, forecast: 700 }]);
    await handle.cancel();
    await failureOf(handle.result());
  });

  it('is looked at when its alert is resolved, which by itself changes nothing', async () => {
    const { handle, sized, target } = await heal({ watchBacklog: inTurn('forever') });
    await eventually('watched', () => callsOf().includes('watchBacklog'));
    await deliver(bench, batch(scaleRule(name), [request(name, { target, status: 'resolved' })]));
    await eventually('looked again', () => callsOf().filter((call) => call === 'readScale').length === 2);
    expect(sized.writes).toEqual(['2 → 6']);
    await handle.cancel();
    await failureOf(handle.result());
    expect(sized.value).toBe(2);
  });
});

describe('what needs no change', () => {
  it.each([
    ['gone', 'not-needed'],
    ['protected', 'refused'],
  ] as const)('%s: %s', async (verdict, outcome) => {
    const { handle, sized } = await heal({ readScale: async () => ({ verdict, why: 'seen so' }) });
    expect(await handle.result()).toEqual({ outcome, reason: 'seen so', changes: [] });
    expect(sized.writes).toEqual([]);
  });

  const good = async ({ target }: { target: string }) => {
    const { desired: _, ...seen } = short(target);
    return { ...seen, verdict: 'good' as const, why: 'nothing waits' };
  };

  it('good signals: followed for a while, for an alert on a slope comes before them; then it is left alone', async () => {
    const { handle, sized } = await heal({ readScale: good, watchBacklog: inTurn(watched('good')) });
    expect(await handle.result()).toMatchObject({ outcome: 'not-needed', reason: 'it is good', changes: [] });
    expect(callsOf()).toEqual(['readScale', 'watchBacklog']);
    expect(sized.writes).toEqual([]);
  });

  it('good signals that ask for more a while later: then it is scaled', async () => {
    const turns = inTurn(watched('scale', { to: 5 }), watched('good'));
    const { handle, sized } = await heal({ readScale: good, watchBacklog: turns });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(sized.writes).toEqual(['2 → 5', 'back 5 → 2']);
  });

  it('is only observed where the rule says so', async () => {
    const { handle, sized } = await heal({}, { mode: 'observe' });
    expect(await handle.result()).toMatchObject({
      outcome: 'observed',
      plan: ['set spec.replicas to 6', 'follow the signals'],
    });
    expect(sized.writes).toEqual([]);
  });
});

describe('what goes wrong', () => {
  it.each(['stalled', 'unready'] as const)('%s: what is ready stays held, and a person is told', async (verdict) => {
    const points = [{ at: 1, backlog: 900, forecast: null, latency: null, desired: 9, ready: 4 }];
    const turns = inTurn(watched('scale', { to: 9 }), watched(verdict, { points }));
    const { handle, sized, runId } = await heal({ watchBacklog: turns });
    expect((await failureOf(handle.result()))?.message).toMatch(/4 stay, for they serve.*salvor release/);
    expect(sized.writes).toEqual(['2 → 6', '6 → 9', '9 → 4']);
    expect(notesOf(runId).map(({ entry }) => entry.kind)).not.toContain('released');
  });

  it('none of what was added became ready: it has the size that it had before', async () => {
    const points = [{ at: 1, backlog: 900, forecast: null, latency: null, desired: 6, ready: 2 }];
    const { handle, sized } = await heal({ watchBacklog: inTurn(watched('unready', { points })) });
    expect((await failureOf(handle.result()))?.message).toContain('it has the size that it had before');
    expect(sized.value).toBe(2);
  });

  it('something else comes to set the size: it stays as it is, and nothing is held any more', async () => {
    const why = 'its size is set by spec.minReplicas of an autoscaler now';
    const turns = inTurn(watched('overruled', { why, by: 'an autoscaler', to: 2 }));
    const { handle, sized, runId } = await heal({ watchBacklog: turns });
    expect(await handle.result()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining(why) });
    expect(sized.writes).toEqual(['2 → 6']);
    expect(notesOf(runId).map(({ entry }) => entry.kind)).toContain('released');
  });

  it('a later step that fails: what serves stays, held, and a person is told', async () => {
    const sizes = new Sized();
    const scaleTo: ScalablePort['scaleTo'] = async (asked) => {
      if (asked.to > 6) throw ApplicationFailure.nonRetryable('it is forbidden by now', INSTANCE_ERRORS.forbidden);
      return sizes.scaleTo(asked);
    };
    const { handle, sized, runId } = await heal({ scaleTo, watchBacklog: inTurn(watched('scale', { to: 9 })) });
    expect((await failureOf(handle.result()))?.message).toMatch(/it is forbidden by now.*salvor release/);
    expect(sizes.writes).toEqual(['2 → 6']);
    expect(sized.writes).toEqual([]);
    expect(notesOf(runId).map(({ entry }) => entry.kind)).not.toContain('released');
  });

  it('what it follows cannot be seen: it holds, a person is told, and is told no more when it can', async () => {
    const turns = inTurn(watched('blind', { state: BLIND, why: 'no answer' }), 'forever');
    const world = { watchBacklog: turns };
    const { handle, sized, runId } = await heal(
      { watchBacklog: (asked) => world.watchBacklog(asked) },
      { onFailure: { escalate: true } },
    );
    const id = `${runId}-blind`;
    const ofIt = () =>
      bench.heralded.flatMap(({ raise = [], clear = [] }) => [
        ...raise.filter((alert) => alert.id === id).map(({ annotations }) => annotations['summary']),
        ...clear.filter((one) => one === id),
      ]);
    await eventually('a person is told', () => ofIt().length > 0);
    const story = await handle.query<Story>(MESSAGE.story);
    expect(story).toMatchObject({ phase: 'blind', held: [{ set: 6 }] });
    expect(ofIt()).toEqual([expect.stringContaining('blind: no answer')]);
    await handle.cancel();
    await failureOf(handle.result());
    expect(ofIt()).toHaveLength(2);
    expect(sized.writes).toEqual(['2 → 6', 'back 6 → 2']);
  });

  it('it can be seen again: it says so, the alert ends, and it goes on', async () => {
    const turns = inTurn(
      watched('blind', { state: BLIND }),
      watched('seen'),
      watched('scale', { to: 9 }),
      watched('good'),
    );
    const { handle, sized, runId } = await heal({ watchBacklog: turns }, { onFailure: { escalate: true } });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    const { lines } = await handle.query<Story>(MESSAGE.story);
    expect(lines.map(({ phase }) => phase)).toEqual(expect.arrayContaining(['blind', 'seen', 'follow']));
    expect(sized.writes).toEqual(['2 → 6', '6 → 9', 'back 9 → 2']);
    const orders = bench.heralded.filter((order) => JSON.stringify(order).includes(`${runId}-blind`));
    expect(orders).toMatchObject([{ raise: [{ id: `${runId}-blind` }] }, { clear: [`${runId}-blind`] }]);
  });

  it('blind before it has acted: it goes on looking, and acts when it sees again', async () => {
    const readScale: ScalablePort['readScale'] = async ({ target }) => {
      const { desired: _, ...seen } = short(target);
      return { ...seen, verdict: 'good' as const, why: 'nothing waits' };
    };
    const turns = inTurn(
      watched('blind', { state: BLIND }),
      watched('seen'),
      watched('scale', { to: 5 }),
      watched('good'),
    );
    const { handle, sized } = await heal({ readScale, watchBacklog: turns });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(sized.writes).toEqual(['2 → 5', 'back 5 → 2']);
  });

  it('it is gone: what was raised for it is given back', async () => {
    const gone: BacklogResult = { verdict: 'gone', why: 'it was deleted', points: [] };
    const { handle, sized } = await heal({ watchBacklog: inTurn(gone) });
    expect(await handle.result()).toMatchObject({ outcome: 'not-needed', reason: 'it was deleted' });
    expect(sized.writes).toEqual(['2 → 6', 'back 6 → 2']);
  });

  it('a person who sets the size is respected: nothing is written over it, and nothing is held any more', async () => {
    const turns = inTurn(watched('overruled', { why: 'ada set spec.replicas from 6 to 3', by: 'ada', to: 3 }));
    const world = { watchBacklog: turns };
    const { handle, sized, runId } = await heal({
      watchBacklog: (asked) => {
        sized.value = 3;
        return world.watchBacklog(asked);
      },
    });
    expect(await handle.result()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('ada set') });
    expect(sized.writes).toEqual(['2 → 6']);
    expect(sized.value).toBe(3);
    expect(notesOf(runId).map(({ entry }) => entry.kind)).toContain('released');
  });

  it('changed between look and write: it is decided anew, on what it is now', async () => {
    let tries = 0;
    const sized = new Sized();
    const { handle } = await heal({
      scaleTo: async (asked) => {
        tries += 1;
        if (tries === 1) throw ApplicationFailure.nonRetryable('it is 5 now', INSTANCE_ERRORS.contested);
        return sized.scaleTo(asked);
      },
    });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(callsOf().filter((call) => call === 'readScale')).toHaveLength(2);
    expect(sized.writes).toEqual(['2 → 6']);
  });

  it('a person cancels: its size is given back', async () => {
    const { handle, sized, runId } = await heal({ watchBacklog: inTurn(watched('scale', { to: 9 }), 'forever') });
    await eventually('set to 9', () => sized.value === 9);
    await cancelRun(bench.client, { workflowId: handle.workflowId, id: runId }, { by: 'person:ada', reason: 'enough' });
    await failureOf(handle.result());
    expect(await reportsOf(bench, name, runId)).toMatchObject([
      { outcome: 'cancelled', reason: expect.stringContaining('cancelled by person:ada: enough') },
    ]);
    expect(sized.writes.at(-1)).toBe('back 9 → 2');
  });
});

const BLIND: WatchState = { controller: startingState(), blind: { since: 1_000, told: true } };
const PAUSED: Objection = { gate: 'paused', reason: 'k8s/test is paused by person:ada' };
const OBSERVING: Objection = { gate: 'observing', reason: 'the rule only observes by now' };

const notCleared = (objection: Objection) =>
  ApplicationFailure.create({
    ...{ message: objection.reason, type: NOT_CLEARED, nonRetryable: true, details: [objection, 1] },
  });

describe('what is not the time to scale up', () => {
  /** Objects to the second step up, once. */
  const objecting = (objection: Objection): ScalablePort['scaleTo'] => {
    const asked: number[] = [];
    return async (wanted: ScaleToRequest) => {
      asked.push(wanted.to);
      if (wanted.to === 9 && asked.filter((to) => to === 9).length === 1) throw notCleared(objection);
      return sizedOf(wanted).scaleTo(wanted);
    };
  };
  const turns = () => inTurn(watched('scale', { to: 9 }), watched('scale', { to: 9 }), watched('good'));

  it('a pause: it stays as it is until that is over, and goes on', async () => {
    const { handle, sized } = await heal({ scaleTo: objecting(PAUSED), watchBacklog: turns() });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(sized.writes).toEqual(['2 → 6', '6 → 9', 'back 9 → 2']);
  });

  it('an objection to a second attempt, whose first has set it: that is its own doing, and goes on from there', async () => {
    const requests: ScaleToRequest[] = [];
    const { handle, sized, runId } = await heal({
      watchBacklog: inTurn(
        watched('scale', { to: 9 }),
        watched('adopted', { to: 9 }),
        watched('scale', { to: 4 }),
        watched('good'),
      ),
      scaleTo: async (wanted) => {
        requests.push(wanted);
        if (wanted.adopt) return [];
        const made = await sizedOf(wanted).scaleTo(wanted);
        if (wanted.to !== 9) return made;
        const details = [PAUSED, 2];
        throw ApplicationFailure.create({ message: 'paused', type: NOT_CLEARED, nonRetryable: true, details });
      },
    });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(requests.map(({ from, to, adopt }) => [from, to, adopt])).toEqual([
      [2, 6, undefined],
      [6, 9, undefined],
      [6, 9, true],
      [9, 4, undefined],
    ]);
    expect(requests[2]?.clearance).toBeUndefined();
    expect(sized.writes).toEqual(['2 → 6', '6 → 9', '9 → 4', 'back 4 → 2']);
    expect(notesOf(runId).at(-1)?.entry.kind).toBe('ended');
  });

  it('a pause that lasts: it goes down meanwhile where less is asked for, and then up no more', async () => {
    let asked = 0;
    const { handle, sized } = await heal({
      ...{ scaleTo: objecting(PAUSED), untilCleared: waitsForEver },
      watchBacklog: async (request) => {
        asked += 1;
        if (request.capped) return watched('scale', { to: 4 });
        return asked === 1 ? watched('scale', { to: 9 }) : watched('good');
      },
    });
    expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
    expect(sized.writes).toEqual(['2 → 6', '6 → 4', 'back 4 → 2']);
  });

  it('a pause, and a person who sets the size meanwhile: that is respected at once', async () => {
    const { handle, sized } = await heal({
      ...{ scaleTo: objecting(PAUSED), untilCleared: waitsForEver },
      watchBacklog: async ({ capped }) =>
        capped ? watched('overruled', { why: 'ada set it to 3', by: 'ada', to: 3 }) : watched('scale', { to: 9 }),
    });
    expect(await handle.result()).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('ada set it to 3'),
    });
    expect(sized.writes).toEqual(['2 → 6']);
  });

  it('a rule that only observes by now: it is given back', async () => {
    const { handle, sized } = await heal({
      ...{ scaleTo: objecting(OBSERVING), watchBacklog: turns() },
      untilCleared: async () => ({ cleared: false, ...OBSERVING }),
    });
    expect(await handle.result()).toMatchObject({ outcome: 'refused', reason: OBSERVING.reason });
    expect(sized.writes).toEqual(['2 → 6', 'back 6 → 2']);
  });

  it('the way down asks nobody', async () => {
    const asked: ScaleToRequest[] = [];
    const { handle } = await heal({
      watchBacklog: inTurn(watched('scale', { to: 9 }), watched('scale', { to: 2 }), watched('good')),
      scaleTo: async (wanted) => {
        asked.push(wanted);
        return sizedOf(wanted).scaleTo(wanted);
      },
    });
    await handle.result();
    expect(asked.map(({ to, from, clearance }) => [from, to, clearance?.unbudgeted])).toEqual([
      [2, 6, true],
      [6, 9, true],
      [9, 2, undefined],
    ]);
  });
});

describe('a remediation of days', () => {
  it('goes on in a new run, and is one for responder, record and people', async () => {
    let turn = 0;
    const many = 200;
    const { handle, sized, runId, target } = await heal({
      watchBacklog: async () => {
        turn += 1;
        if (turn <= many) return watched('scale', { to: turn % 2 === 0 ? 6 : 7 });
        return waitsForEver();
      },
    });
    const latest = bench.client.workflow.getHandle(handle.workflowId);
    const story = await eventually(
      'it follows in another run',
      async () => {
        const { runId: now } = await latest.describe();
        const told = await latest.query<Story>(MESSAGE.story);
        return now !== runId && turn > many && told.phase === 'follow' && told;
      },
      120_000,
    );
    expect(story.held).toMatchObject([{ field: 'spec.replicas', before: 2, remediation: runId }]);
    expect(story.chart?.length).toBeGreaterThan(0);
    expect(story.chart?.length).toBeLessThanOrEqual(240);
    const meant = await eventually('it is listed', async () => {
      const found = await findMeant(bench.client, runId);
      return 'run' in found && found.run.outcome === 'running' && found.run;
    });
    expect(meant).toMatchObject({ id: runId, target, rule: name, runbook: 'scale-on-backlog' });
    // Its responder still waits for it, and looks after it by the run that it has started.
    expect(Object.values((await stateOf(bench, name)).open)).toMatchObject([{ runId }]);
    await deliver(bench, batch(scaleRule(name), [request(name, { target, status: 'resolved' })]));
    await eventually('the hint has come', () => callsOf().filter((call) => call === 'readScale').length === 2);

    await cancelRun(bench.client, { workflowId: handle.workflowId, id: runId }, { by: 'person:ada', reason: '' });
    await failureOf(latest.result());
    expect(sized.value).toBe(2);
    const reports = await eventually('its responder is told', async () => {
      const told = await reportsOf(bench, name, runId);
      return told.length > 0 && told;
    });
    expect(reports).toMatchObject([{ outcome: 'cancelled', reason: expect.stringContaining('person:ada') }]);
    const keys = [...new Set(notesOf(runId).map(({ key }) => Number(key)))].sort((a, b) => a - b);
    expect(keys).toEqual(Array.from({ length: keys.length }, (_, i) => i + 1));
    expect(keys.length).toBeGreaterThan(2 * many);
  }, 180_000);

  it('goes on in a new run also before it has acted, where its size is changed again and again', async () => {
    let turn = 0;
    const { handle, sized, runId } = await heal({
      readScale: async ({ target }) => {
        const { desired: _, ...seen } = short(target);
        return { ...seen, verdict: 'good', why: 'nothing waits' };
      },
      watchBacklog: async ({ unheld }) => {
        turn += 1;
        if (turn <= 400) return watched('overruled', { why: 'a policy set it', by: 'a policy', to: 3 });
        return unheld ? watched('scale', { to: 5 }) : watched('good');
      },
    });
    const latest = bench.client.workflow.getHandle(handle.workflowId);
    await eventually('it is over', async () => (await latest.describe()).status.name === 'COMPLETED', 120_000);
    expect((await latest.describe()).runId).not.toBe(runId);
    expect(await latest.result()).toMatchObject({ outcome: 'remediated' });
    expect(sized.writes).toEqual(['2 → 5', 'back 5 → 2']);
    expect(notesOf(runId).at(-1)?.entry.kind).toBe('ended');
  }, 180_000);
});
