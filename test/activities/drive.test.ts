import { expect, it } from 'vitest';
import { Drive } from '../../activities/drive.ts';
import { type BreakerState, closedState } from '../../model/breaker/machine.ts';
import type { Finding, KeepOpenRequest, Position, SetSwitchRequest } from '../../model/ports/switch.ts';
import type { Prober, SwitchProvider } from '../../providers/switch.ts';
import { actor, dependency, heldOf, inMs, pulse } from '../providers/switch-support.ts';

/** What is driven, on paper: how the switch was set, in order, with what was tried meanwhile. */
function driven(state: BreakerState, halfOpen: object, finding: Finding['verdict'] = 'healthy') {
  const seen: (Position | 'kept' | 'tried')[] = [];
  const of = dependency({ flag: {} as never }, { assertEvery: 100 });
  const it = { ...of, halfOpen: { ...of.halfOpen, every: 1, ...halfOpen } };
  const provider = {
    set: async ({ position }: SetSwitchRequest) => {
      seen.push(position);
      return [];
    },
    keepOpen: async ({ deadline }: KeepOpenRequest) => {
      seen.push('kept');
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, Date.parse(deadline) - Date.now())));
      return { changes: [], why: 'it stayed open' };
    },
  } as unknown as SwitchProvider;
  const judge = async (): Promise<Finding> => {
    seen.push('tried');
    return { verdict: finding, why: '' };
  };
  const prober: Prober = { confirm: judge, try: judge };
  const held = heldOf({
    position: 'open',
    why: '',
    held: [{ object: { key: 'k', uid: 'u' }, field: 'f', before: null, set: 1 }],
  });
  const request = { dependency: it, actor: actor(), step: 'drive', state, held, deadline: inMs(400) };
  return { seen, run: () => new Drive(request, { provider, prober, pulse: pulse(), last: undefined }).run() };
}

const phase = (now: 'open' | 'half-open', until: number, next = 0): BreakerState => ({
  ...closedState(0),
  ...{ phase: now, since: Date.now(), until: Date.now() + until },
  tries: { made: 0, successes: 0, failures: 0, next: Date.now() + next },
});

it('closes to all again what let a share through, when it is open, before that is kept', async () => {
  const { seen, run } = driven(phase('open', 60_000), { share: 10 });
  await run();
  expect(seen.slice(0, 2)).toEqual(['open', 'kept']);
});

it('asks nothing of a switch that never lets a share through, but to be kept', async () => {
  const { seen, run } = driven(phase('open', 60_000), { share: 0 });
  await run();
  expect(new Set(seen)).toEqual(new Set(['kept']));
});

it('lets the share through from the begin of its half-open time, for without calls there is nothing to judge by', async () => {
  const { seen, run } = driven(phase('half-open', 60_000, 150), { share: 10 });
  await run();
  expect(seen[0]).toEqual({ share: 10 });
  expect(seen.indexOf('tried')).toBeGreaterThan(0);
});
