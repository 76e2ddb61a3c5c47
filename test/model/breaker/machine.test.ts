import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BreakerEvent,
  type BreakerOptions,
  type BreakerState,
  closedState,
  dueAt,
  isRespected,
  jitterOf,
  mayTry,
  openTime,
  step,
  type Transition,
} from '../../../model/breaker/machine.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const OPTIONS: BreakerOptions = {
  openFor: 30 * SECOND,
  maxOpen: 10 * MINUTE,
  healthyFor: 10 * MINUTE,
  confirmWithin: MINUTE,
  assertEvery: 15 * SECOND,
  respectClose: 30 * MINUTE,
  halfOpen: { successes: 3, failures: 1, trials: 10, every: 5 * SECOND, within: MINUTE, share: 0 },
  probe: { failures: 3 },
};
const WHY = 'as it was seen';

/** A breaker whose clock the test moves. */
class Bench {
  now = 0;
  state: BreakerState = closedState(0);
  readonly transitions: Transition[] = [];
  readonly options: BreakerOptions;
  readonly jitter: number;

  constructor(options: BreakerOptions = OPTIONS, jitter = 1) {
    this.options = options;
    this.jitter = jitter;
  }

  does(event: BreakerEvent): this {
    const { state, transition } = step(this.state, event, this.options, { now: this.now, jitter: this.jitter });
    // As it comes back from wherever it was kept.
    this.state = JSON.parse(JSON.stringify(state)) as BreakerState;
    if (transition) this.transitions.push(transition);
    return this;
  }

  after(ms: number): this {
    this.now += ms;
    return this.does({ kind: 'time' });
  }

  tries(verdict: 'failing' | 'healthy' | 'unknown'): this {
    const due = dueAt(this.state, this.options);
    if (due !== null && due > this.now) this.after(due - this.now);
    if (mayTry(this.state, this.options, this.now)) this.does({ kind: 'try' });
    return this.does({ kind: 'found', verdict, why: WHY });
  }

  alert(trusted = false): this {
    return this.does({ kind: 'alert', why: 'an alert', trusted });
  }

  /** Up to when its time is over. */
  waits(): this {
    return this.after((this.state.until ?? this.now) - this.now);
  }

  get ways(): string[] {
    return this.transitions.map(({ to, cause }) => `${to} (${cause})`);
  }
}

const open = (options = OPTIONS): Bench => new Bench(options).alert(true);

describe('the states of a breaker', () => {
  it('opens only when its failure is confirmed, tries after a while, and closes when the trials succeed', () => {
    const bench = new Bench().alert().tries('failing').tries('failing').tries('failing').waits();
    bench.tries('healthy').tries('healthy').tries('healthy');
    expect(bench.ways).toEqual(['confirming (alert)', 'open (confirmed)', 'half-open (time)', 'closed (successes)']);
    expect(bench.transitions.every(({ reason }) => reason !== '')).toBe(true);
  });

  it('opens nothing for an alert while the dependency is healthy, or nobody can tell', () => {
    expect(new Bench().alert().tries('healthy').ways.at(-1)).toBe('closed (healthy)');
    const unknown = new Bench().alert();
    for (let n = 0; n < 20; n += 1) unknown.tries('unknown');
    expect(unknown.ways).toEqual(['confirming (alert)', 'closed (unconfirmed)']);
  });

  it('opens by an alert alone where the rule trusts it', () => {
    expect(open().ways).toEqual(['open (alert)']);
  });

  it('takes one look at numbers, which have a minimum of calls, and several probes', () => {
    expect(new Bench({ ...OPTIONS, confirm: {} }).alert().tries('failing').ways.at(-1)).toBe('open (confirmed)');
    const probed = new Bench().alert().tries('failing').tries('failing');
    expect(probed.state.phase).toBe('confirming');
    expect(probed.tries('healthy').ways.at(-1)).toBe('closed (healthy)');
  });

  it('holds no numbers against it that are of the time before it was opened', () => {
    const window = 2 * MINUTE;
    const watched = open({ ...OPTIONS, confirm: { window } })
      .waits()
      .tries('healthy')
      .tries('healthy')
      .tries('healthy');
    expect(watched.state).toMatchObject({ phase: 'closed', tries: { next: 2 * window } });
    expect(mayTry(watched.state, watched.options, 2 * window - 1)).toBe(false);
    // Without a probe a share of the calls is judged by them.
    const { probe: _, ...unprobed } = { ...OPTIONS, confirm: { window } };
    const shared = open(unprobed).waits().does({ kind: 'resolved' });
    expect(shared.state).toMatchObject({ phase: 'half-open', tries: { next: 2 * window } });
    expect(shared.state.until).toBe(2 * window + OPTIONS.halfOpen.within);
    // Open for longer than that there is nothing to wait for.
    const long = open({ ...OPTIONS, openFor: 5 * MINUTE, confirm: { window } }).waits();
    expect(long.tries('healthy').tries('healthy').tries('healthy').state.tries.next).toBe(long.now);
  });

  it('is open for twice as long after each relapse, up to the most', () => {
    const bench = open();
    const times: number[] = [];
    for (let n = 0; n < 7; n += 1) {
      times.push(((bench.state.until ?? 0) - bench.state.since) / SECOND);
      bench.waits().tries('failing');
    }
    expect(times).toEqual([30, 60, 120, 240, 480, 600, 600]);
  });

  it('forgets its relapses when it has been healthy for long, and not before', () => {
    const relapsed = (): Bench => open().waits().tries('failing').waits().tries('healthy').tries('healthy');
    const soon = relapsed()
      .tries('healthy')
      .after(OPTIONS.healthyFor - 1)
      .tries('failing')
      .tries('failing');
    expect(soon.tries('failing').state).toMatchObject({ phase: 'closed', relapses: 0 });
    const sooner = relapsed().tries('healthy').tries('failing').tries('failing').tries('failing');
    expect(sooner.state).toMatchObject({ phase: 'open', relapses: 2 });
    expect(sooner.ways.at(-1)).toBe('open (relapse)');
    expect(relapsed().tries('healthy').after(OPTIONS.healthyFor).state).toMatchObject({ phase: 'closed', relapses: 0 });
  });

  it('wants its successes in a row', () => {
    const options = { ...OPTIONS, halfOpen: { ...OPTIONS.halfOpen, failures: 2 } };
    const bench = open(options).waits().tries('healthy').tries('healthy').tries('failing').tries('healthy');
    expect(bench.state).toMatchObject({ phase: 'half-open', tries: { made: 4, successes: 1, failures: 1 } });
    expect(bench.tries('failing').ways.at(-1)).toBe('open (failures)');
  });

  it('opens again where its trials are used up, or its time', () => {
    const few = { ...OPTIONS, halfOpen: { ...OPTIONS.halfOpen, trials: 3 } };
    expect(open(few).waits().tries('unknown').tries('unknown').tries('unknown').ways.at(-1)).toBe('open (trials)');
    expect(open().waits().tries('healthy').after(OPTIONS.halfOpen.within).ways.at(-1)).toBe('open (within)');
  });

  it('takes it for no relapse that nobody can tell, and for no break in a row of successes', () => {
    const few = { ...OPTIONS, halfOpen: { ...OPTIONS.halfOpen, trials: 3 } };
    const unknown = open(few).waits().tries('unknown').tries('healthy').tries('unknown');
    expect(unknown.state).toMatchObject({ phase: 'open', relapses: 0 });
    expect(open().waits().after(OPTIONS.halfOpen.within).state).toMatchObject({ phase: 'open', relapses: 0 });
    expect(open().waits().tries('failing').state).toMatchObject({ phase: 'open', relapses: 1 });
    const gap = open().waits().tries('healthy').tries('unknown').tries('healthy').tries('healthy');
    expect(gap.state.phase).toBe('closed');
  });

  it('tries at once when the alert is resolved, and does no more than that', () => {
    const bench = open().after(SECOND).does({ kind: 'resolved' });
    expect(bench.state.phase).toBe('open');
    expect(bench.after(0).ways.at(-1)).toBe('half-open (time)');
    expect(bench.tries('failing').state).toMatchObject({ phase: 'open', relapses: 1 });
  });

  it('stays as a person opened it, until the time is up or a person closes it', () => {
    const by = 'person:ann';
    const bench = new Bench().does({ kind: 'open', by, until: 5 * MINUTE, why: 'they move house' });
    bench
      .does({ kind: 'resolved' })
      .after(4 * MINUTE)
      .does({ kind: 'found', verdict: 'healthy', why: WHY });
    expect(bench.state).toMatchObject({ phase: 'open', by });
    expect(mayTry(bench.state, OPTIONS, bench.now)).toBe(false);
    expect(bench.after(MINUTE).state.phase).toBe('half-open');
    const forever = new Bench().does({ kind: 'open', by, until: null, why: '' });
    expect(dueAt(forever.state, OPTIONS)).toBeNull();
    expect(forever.after(1_000 * MINUTE).state.phase).toBe('open');
    expect(forever.does({ kind: 'close', by, why: '' }).state.phase).toBe('closed');
  });

  it('respects that a person closed it, for as long as is said', () => {
    const bench = open().does({ kind: 'close', by: 'person:ann', why: 'they are up' });
    expect(isRespected(bench.state, bench.now)).toBe(true);
    for (let n = 0; n < 5; n += 1)
      bench.after(MINUTE).alert(true).does({ kind: 'found', verdict: 'failing', why: WHY });
    expect(bench.ways.at(-1)).toBe('closed (person)');
    expect(mayTry(bench.state, OPTIONS, bench.now)).toBe(false);
    expect(bench.waits().alert(true).ways.at(-1)).toBe('open (alert)');
  });
});

const optionsOf = fc.record({
  openFor: fc.integer({ min: SECOND, max: MINUTE }),
  maxOpen: fc.integer({ min: MINUTE, max: 10 * MINUTE }),
  healthyFor: fc.integer({ min: 0, max: 20 * MINUTE }),
  confirmWithin: fc.integer({ min: SECOND, max: 5 * MINUTE }),
  assertEvery: fc.integer({ min: SECOND, max: MINUTE }),
  respectClose: fc.integer({ min: 0, max: 60 * MINUTE }),
  halfOpen: fc.record({
    successes: fc.integer({ min: 1, max: 5 }),
    failures: fc.integer({ min: 1, max: 5 }),
    trials: fc.integer({ min: 5, max: 20 }),
    every: fc.integer({ min: SECOND, max: 30 * SECOND }),
    within: fc.integer({ min: SECOND, max: 5 * MINUTE }),
    share: fc.constant(0),
  }),
  probe: fc.record({ failures: fc.integer({ min: 1, max: 5 }) }),
});

const verdict = fc.constantFrom('failing', 'healthy', 'unknown');
const ONE: fc.Arbitrary<{ wait: number; jitter: number; event: BreakerEvent }> = fc.record({
  wait: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 * MINUTE })),
  jitter: fc.double({ min: 0, max: 1, noNaN: true }).map(jitterOf),
  event: fc.oneof(
    { weight: 3, arbitrary: fc.constant<BreakerEvent>({ kind: 'time' }) },
    { weight: 4, arbitrary: fc.constant<BreakerEvent>({ kind: 'try' }) },
    { weight: 4, arbitrary: verdict.map((v): BreakerEvent => ({ kind: 'found', verdict: v as 'failing', why: WHY })) },
    fc.boolean().map((trusted): BreakerEvent => ({ kind: 'alert', why: WHY, trusted })),
    fc.constant<BreakerEvent>({ kind: 'resolved' }),
    fc.constant<BreakerEvent>({ kind: 'open', by: 'person:ann', until: null, why: WHY }),
    fc.constant<BreakerEvent>({ kind: 'close', by: 'person:ann', why: WHY }),
  ),
});

/** Whatever happens to it, in whatever order. @param each sees every state on the way */
function runs(
  options: BreakerOptions,
  happens: { wait: number; jitter: number; event: BreakerEvent }[],
  each: (before: BreakerState, after: BreakerState, now: number, transition: Transition | undefined) => void = () =>
    undefined,
): { state: BreakerState; now: number } {
  let state = closedState(0);
  let now = 0;
  const does = (event: BreakerEvent, jitter: number) => {
    if (event.kind === 'try' && !mayTry(state, options, now)) return;
    const next = step(state, event, options, { now, jitter });
    each(state, next.state, now, next.transition);
    state = next.state;
  };
  for (const { wait, jitter, event } of happens) {
    now += wait;
    does({ kind: 'time' }, jitter);
    does(event.kind === 'open' ? { ...event, until: now + 5 * MINUTE } : event, jitter);
  }
  return { state, now };
}

describe('a breaker, whatever happens to it', () => {
  it('is never stuck: what is open is closed once the dependency is healthy', () => {
    fc.assert(
      fc.property(optionsOf, fc.array(ONE, { maxLength: 60 }), (options, happens) => {
        const long = { ...options, halfOpen: { ...options.halfOpen, within: 1 + 5 * 30 * SECOND } };
        let { state, now } = runs(long, happens);
        for (let turns = 0; state.phase !== 'closed'; turns += 1) {
          if (turns > 100) throw new Error(`still ${state.phase}`);
          const due = dueAt(state, long);
          if (due === null) throw new Error(`nothing would ever happen: ${JSON.stringify(state)}`);
          now = Math.max(now, due);
          state = step(state, { kind: 'time' }, long, { now, jitter: 1 }).state;
          if (!mayTry(state, long, now)) continue;
          state = step(state, { kind: 'try' }, long, { now, jitter: 1 }).state;
          state = step(state, { kind: 'found', verdict: 'healthy', why: WHY }, long, { now, jitter: 1 }).state;
        }
      }),
    );
  });

  it('is open again, and tried again, however long the dependency fails, with no more trials than allowed', () => {
    fc.assert(
      fc.property(optionsOf, fc.array(verdict, { minLength: 50, maxLength: 200 }), (options, verdicts) => {
        let { state, now } = runs(options, [{ wait: 0, jitter: 1, event: { kind: 'alert', why: WHY, trusted: true } }]);
        let made = 0;
        for (const one of verdicts) {
          if (state.phase === 'closed') return;
          now = dueAt(state, options) ?? Number.NaN;
          const next = step(state, { kind: 'time' }, options, { now, jitter: 1 });
          if (next.transition) made = 0;
          state = next.state;
          if (!mayTry(state, options, now)) continue;
          made += 1;
          expect(made).toBeLessThanOrEqual(options.halfOpen.trials);
          state = step(state, { kind: 'try' }, options, { now, jitter: 1 }).state;
          const found = { kind: 'found', verdict: one as 'failing', why: WHY } as const;
          state = step(state, found, options, { now, jitter: 1 }).state;
        }
      }),
    );
  });

  it('makes no more trials in a half-open period than allowed, and none while it is open', () => {
    fc.assert(
      fc.property(optionsOf, fc.array(ONE, { maxLength: 100 }), (options, happens) => {
        runs(options, happens, (before, after) => {
          if (after.phase === 'half-open') expect(after.tries.made).toBeLessThanOrEqual(options.halfOpen.trials);
          if (after.phase === 'open') expect(after.tries.made).toBe(0);
          if (before.phase === 'open') expect(['open', 'half-open', 'closed']).toContain(after.phase);
        });
      }),
    );
  });

  it('is open for a time within the bounds, whatever the jitter', () => {
    fc.assert(
      fc.property(optionsOf, fc.array(ONE, { maxLength: 100 }), (options, happens) => {
        runs(options, happens, (_before, after, now, transition) => {
          if (transition?.to !== 'open' || transition.cause === 'person') return;
          const open = (after.until ?? 0) - now;
          const base = Math.min(options.maxOpen, options.openFor * 2 ** after.relapses);
          expect(open).toBeGreaterThanOrEqual(Math.floor(0.9 * base));
          expect(open).toBeLessThanOrEqual(Math.ceil(1.1 * base));
        });
      }),
    );
    expect(openTime(OPTIONS, 3, 17)).toBe(264 * SECOND);
  });

  it('goes on where it was when its state is loaded again at any time', () => {
    fc.assert(
      fc.property(optionsOf, fc.array(ONE, { maxLength: 60 }), fc.nat(60), (options, happens, crash) => {
        let state = closedState(0);
        let loaded = closedState(0);
        let now = 0;
        for (const [at, { wait, jitter, event }] of happens.entries()) {
          now += wait;
          for (const one of [{ kind: 'time' } as const, event]) {
            if (one.kind === 'try' && !mayTry(state, options, now)) continue;
            state = step(state, one, options, { now, jitter }).state;
            loaded = step(loaded, one, options, { now, jitter }).state;
          }
          if (at === crash) loaded = JSON.parse(JSON.stringify(loaded)) as BreakerState;
        }
        expect(loaded).toEqual(state);
        expect(dueAt(loaded, options)).toBe(dueAt(state, options));
      }),
    );
  });

  it('changes nothing for a person but by a person, or when the time that he gave is over', () => {
    fc.assert(
      fc.property(optionsOf, fc.array(ONE, { maxLength: 100 }), (options, happens) => {
        runs(options, happens, (before, after, now, transition) => {
          if (before.by === undefined || transition === undefined || transition.cause === 'person') return;
          expect(before.until).not.toBeNull();
          expect(now).toBeGreaterThanOrEqual(before.until ?? Number.POSITIVE_INFINITY);
          expect(after.by).toBeUndefined();
        });
      }),
    );
  });
});
