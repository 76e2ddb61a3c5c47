import { describe, expect, it } from 'vitest';
import type { Scale, WatchBacklogRequest } from '../../../model/ports/scalable.ts';
import { startingState } from '../../../model/scaling/controller.ts';
import { watchBacklog } from '../../../providers/backlog/watch.ts';
import { UnavailableError } from '../../../providers/errors.ts';
import type { Pulse } from '../../../providers/instance.ts';
import type { ProviderReading, ScalableProvider } from '../../../providers/scalable.ts';
import type { SignalAnswer, Signals } from '../../../providers/signals.ts';
import { deployment, scaleOf, scaleRule } from '../../support/scaling.ts';

const TARGET = deployment('web');

/** Signals that say, of each query, so much at this moment. */
const saying = (values: Record<string, number | Error>): Signals => ({
  read: async (query): Promise<SignalAnswer> => {
    const value = 'promql' in query ? values[query.promql] : undefined;
    if (value instanceof Error) throw value;
    return value === undefined ? { problem: 'gives no series' } : { samples: [{ at: Date.now(), value }] };
  },
});

const providing = (readings: () => ProviderReading, by?: string): ScalableProvider => ({
  read: async () => readings(),
  whoSet: async () => by,
  scaleTo: () => Promise.reject(new Error('a watch writes nothing')),
  giveBack: () => Promise.reject(new Error('a watch writes nothing')),
});

const found = (scale: Scale): ProviderReading => ({ verdict: 'found', scale, version: '1' });

/** As it stands once Salvor has set it to `set`. */
const standing = (set: number, ready = set): Scale => {
  const scale = scaleOf(TARGET, 2);
  return { ...scale, by: { ...scale.by, value: set }, desired: set, ready };
};

class Beats implements Pulse {
  readonly since = Date.now();
  readonly aloneUntil = 0;
  readonly stop = new AbortController();
  readonly signal = this.stop.signal;
  readonly said: unknown[] = [];
  readonly last: unknown;

  constructor(last?: unknown) {
    this.last = last;
  }

  readonly stillMine = async (): Promise<void> => undefined;

  beat(details: unknown): void {
    this.said.push(details);
  }
}

function asking(set: number, more: object = {}, deadline = new Date(Date.now() + 60_000)): WatchBacklogRequest {
  const options = scaleRule('r').with;
  return {
    actor: { runbook: 'scale-on-backlog', remediation: 'run-1' },
    target: TARGET,
    options: { ...options, every: 10, perReplica: 1, goodFor: 0, ...more },
    scale: scaleOf(TARGET, 2),
    set,
    state: { controller: startingState() },
    deadline: deadline.toISOString(),
  };
}

const watch = (asked: WatchBacklogRequest, scalable: ScalableProvider, signals: Signals, pulse = new Beats()) =>
  watchBacklog(asked, { scalable, signals, pulse });

describe('a watch of a backlog', () => {
  it('answers when more is asked for than is set', async () => {
    const provider = providing(() => found(standing(4)));
    const result = await watch(asking(4), provider, saying({ queue_length: 600 }));
    expect(result).toMatchObject({ verdict: 'scale', to: 6, points: [{ backlog: 600, ready: 4 }] });
  });

  it('that may not go up does not answer for that; for less it does', async () => {
    const provider = providing(() => found(standing(4)));
    const soon = new Date(Date.now() + 50);
    const behavior = {
      ...asking(4).options.behavior,
      scaleDown: { stabilizationWindow: 0, policies: [], select: 'Max' },
    };
    const more = { ...asking(4, {}, soon), capped: true as const };
    expect(await watch(more, provider, saying({ queue_length: 600 }))).toMatchObject({ verdict: 'later' });
    const less = { ...asking(4, { behavior }), capped: true as const };
    expect(await watch(less, provider, saying({ queue_length: 0 }))).toMatchObject({ verdict: 'scale', to: 2 });
  });

  it('of what has no size of its own goes back to as many as there were', async () => {
    const scale = { ...scaleOf(TARGET, 3), ready: 3 };
    const unset = { ...scale, by: { ...scale.by, value: null } };
    const soon = new Date(Date.now() + 50);
    const behavior = {
      ...asking(4).options.behavior,
      scaleDown: { stabilizationWindow: 0, policies: [], select: 'Max' },
    };
    const asked = { ...asking(6, { behavior }, soon), scale: unset };
    const six = { ...unset, by: { ...unset.by, value: 6 }, desired: 6, ready: 6 };
    const result = await watch(
      asked,
      providing(() => found(six)),
      saying({ queue_length: 0 }),
    );
    expect(result).toMatchObject({ verdict: 'scale', to: 3 });
  });

  it('answers good where the size is what it was and nothing waits, after so long', async () => {
    const pulse = new Beats();
    const provider = providing(() => found(standing(2)));
    const result = await watch(asking(2, { goodFor: 30 }), provider, saying({ queue_length: 0 }), pulse);
    expect(result.verdict).toBe('good');
    expect(result.points.length).toBeGreaterThan(1);
    expect(pulse.said.length).toBeGreaterThan(1);
  });

  it('says who has set it otherwise, and to what', async () => {
    const result = await watch(
      asking(4),
      providing(() => found(standing(3)), 'kubectl-edit'),
      saying({ queue_length: 0 }),
    );
    expect(result).toMatchObject({ verdict: 'overruled', by: 'kubectl-edit', to: 3 });
  });

  it('what its own note says is no change by somebody else: an attempt has set it whose answer was lost', async () => {
    const noted = providing(() => ({ verdict: 'found', scale: standing(8), version: '1', noted: 8 }));
    expect(await watch(asking(5), noted, saying({ queue_length: 600 }))).toMatchObject({ verdict: 'adopted', to: 8 });
    const other = providing(() => ({ verdict: 'found', scale: standing(7), version: '1', noted: 8 }));
    expect(await watch(asking(5), other, saying({ queue_length: 600 }))).toMatchObject({ verdict: 'overruled', to: 7 });
  });

  it('says so where something else has come to set its size', async () => {
    const scale = standing(4);
    const object = { key: 'k8s/test/shop/horizontalpodautoscaler.autoscaling/web', uid: 'uid-of-hpa' };
    const by = { object, field: 'spec.minReplicas', value: 1 };
    const result = await watch(
      asking(4),
      providing(() => found({ ...scale, by })),
      saying({ queue_length: 0 }),
    );
    expect(result).toMatchObject({ verdict: 'overruled', why: expect.stringContaining('spec.minReplicas') });
  });

  it('never takes what cannot be read for nothing: not down, not good', async () => {
    const silent = saying({ queue_length: new UnavailableError('no answer') });
    const soon = new Date(Date.now() + 100);
    expect(
      await watch(
        asking(9, {}, soon),
        providing(() => found(standing(9))),
        silent,
      ),
    ).toMatchObject({
      verdict: 'later',
      why: expect.stringContaining('no answer'),
    });
    expect(
      (
        await watch(
          asking(2, {}, soon),
          providing(() => found(standing(2))),
          silent,
        )
      ).verdict,
    ).toBe('later');
  });

  it('says once that it is blind, when that lasts, and says so when it sees again; meanwhile it changes nothing', async () => {
    const provider = providing(() => found(standing(9)));
    const values: Record<string, number | Error> = { queue_length: new UnavailableError('no answer') };
    const asked = asking(9, { stalledAfter: 40 });
    const blind = await watch(asked, provider, saying(values));
    expect(blind).toMatchObject({ verdict: 'blind', why: expect.stringContaining('no answer') });
    if (blind.verdict !== 'blind') return;
    expect(blind.points.length).toBeGreaterThan(2);

    const soon = new Date(Date.now() + 100);
    const later = await watch({ ...asked, state: blind.state, deadline: soon.toISOString() }, provider, saying(values));
    expect(later.verdict).toBe('later');
    if (later.verdict !== 'later') return;
    values['queue_length'] = 540;
    const seen = await watch({ ...asked, state: later.state }, provider, saying(values));
    expect(seen).toMatchObject({ verdict: 'seen', why: expect.stringContaining('540 items wait') });
    expect(seen.verdict === 'seen' && seen.state.blind).toBeUndefined();
  });

  it('is blind where one signal cannot be read that might ask for more, and not where it holds nothing back', async () => {
    const provider = providing(() => found(standing(9)));
    const latency = { seconds: { promql: 'latency' }, objective: 1 };
    const asked = asking(9, { stalledAfter: 30, latency });
    const half = saying({ queue_length: 0 });
    expect(await watch(asked, provider, half)).toMatchObject({
      verdict: 'blind',
      why: expect.stringContaining('the latency is not known'),
    });
    expect(await watch(asked, provider, saying({ queue_length: 5_000 }))).toMatchObject({ verdict: 'scale', to: 20 });
  });

  it('says so where what was added does not become ready', async () => {
    const result = await watch(
      asking(10, { readyWithin: 30 }),
      providing(() => found(standing(10, 3))),
      saying({ queue_length: 600 }),
    );
    expect(result).toMatchObject({ verdict: 'unready', why: expect.stringContaining('3 of 10 are ready') });
  });

  it('what an autoscaler has added is no reason to raise its minimum', async () => {
    const scale = { ...standing(4), desired: 9, ready: 9 };
    const soon = new Date(Date.now() + 50);
    const silent = saying({ queue_length: new UnavailableError('no answer') });
    expect(
      (
        await watch(
          asking(4, {}, soon),
          providing(() => found(scale)),
          silent,
        )
      ).verdict,
    ).toBe('later');
  });

  it('an autoscaler gets its minimum back when no more is asked for than it had', async () => {
    const asked = asking(9, { backlog: { items: { promql: 'queue_length' }, drainWithin: 60_000 } });
    const scale = { ...asked.scale, by: { ...asked.scale.by, value: 1 }, desired: 4, ready: 4 };
    const now = { ...scale, by: { ...scale.by, value: 9 }, desired: 9, ready: 9 };
    const behavior = { ...asked.options.behavior, scaleDown: { stabilizationWindow: 0, policies: [], select: 'Max' } };
    const request = { ...asked, scale, options: { ...asked.options, behavior } } as WatchBacklogRequest;
    const result = await watch(
      request,
      providing(() => found(now)),
      saying({ queue_length: 120 }),
    );
    expect(result).toMatchObject({ verdict: 'scale', to: 1 });
  });

  it('gone: gone', async () => {
    const gone = providing(() => ({ verdict: 'gone', why: 'seen so' }));
    expect(await watch(asking(4), gone, saying({}))).toMatchObject({ verdict: 'gone', why: 'seen so' });
  });

  it('not to be touched: what is set stays, until the time is over; where nothing is set yet it is looked at anew', async () => {
    const refresh = providing(() => ({ verdict: 'protected', why: 'an instance refresh runs' }));
    const soon = new Date(Date.now());
    expect(await watch(asking(4, {}, soon), refresh, saying({}))).toMatchObject({
      verdict: 'later',
      why: 'an instance refresh runs',
    });
    expect(await watch({ ...asking(4), unheld: true }, refresh, saying({}))).toMatchObject({ verdict: 'overruled' });
  });

  it('a limit that is changed meanwhile holds from then on', async () => {
    const wide = providing(() => found({ ...standing(10, 10), max: 30 }));
    const asked = asking(10);
    const narrow = { ...asked, scale: { ...asked.scale, max: 10 } };
    const result = await watch(narrow, wide, saying({ queue_length: 6_000 }));
    expect(result).toMatchObject({ verdict: 'scale' });
    expect(result.verdict === 'scale' && result.to).toBeGreaterThan(10);
  });

  it('goes on where the attempt before it was, and ends when it is told to', async () => {
    const before = new Beats();
    const provider = providing(() => found(standing(10, 10)));
    const first = watch(asking(10), provider, saying({ queue_length: 600 }), before);
    const cut = first.catch((error: unknown) => error);
    await expect.poll(() => before.said.length).toBeGreaterThan(2);
    before.stop.abort(new Error('the worker stops'));
    expect(await cut).toMatchObject({ message: 'the worker stops' });
    const soon = new Date(Date.now());
    const next = await watch(
      asking(10, {}, soon),
      provider,
      saying({ queue_length: 600 }),
      new Beats(before.said.at(-1)),
    );
    expect(next.points.length).toBeGreaterThan(2);
  });
});
