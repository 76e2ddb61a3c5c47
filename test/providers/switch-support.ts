import type { Dependency, SwitchOptions } from '../../model/breaker/options.ts';
import type { Held } from '../../model/change.ts';
import type { Position, SetSwitchRequest, SwitchReading } from '../../model/ports/switch.ts';
import type { Attempt, Pulse } from '../../providers/instance.ts';

export const dependency = (own: SwitchOptions, change: Partial<Dependency> = {}): Dependency => ({
  name: 'payments',
  switch: own,
  confirmWithin: 60_000,
  openFor: 30_000,
  maxOpen: 600_000,
  healthyFor: 600_000,
  halfOpen: { successes: 3, failures: 1, trials: 10, every: 5_000, within: 60_000, share: 10 },
  assertEvery: 50,
  respectClose: 600_000,
  ...change,
});

export const actor = (remediation = 'remediation-1') => ({ runbook: 'circuit-breaker', remediation });

/** What the workflow makes of a reading. */
export const heldOf = ({ held }: SwitchReading, who = actor()): Held[] =>
  held.map((one) => ({ ...one, ...who, until: new Date(Date.now() + 600_000).toISOString() }));

export const setRequest = (
  of: Dependency,
  position: Position,
  held: Held[],
  who = actor(),
  step = position === 'closed' ? 'close' : 'open',
): SetSwitchRequest => ({ dependency: of, actor: who, step, position, held });

/** An attempt that counts, and how often it asked whether it does. */
export function attempt(since = Date.now()): Attempt & { asked: number } {
  const it = {
    since,
    aloneUntil: 0,
    asked: 0,
    stillMine: async () => {
      it.asked += 1;
    },
  };
  return it;
}

/** A wait that a test stops; what it said, and what an earlier one has said. */
export function pulse(last?: unknown): Pulse & { beats: unknown[]; stop(cancelled?: boolean): void } {
  const controller = new AbortController();
  let isCancelled = false;
  const beats: unknown[] = [];
  return {
    ...attempt(),
    signal: controller.signal,
    last,
    beats,
    beat: (details) => {
      beats.push(structuredClone(details));
    },
    isCancelled: () => isCancelled,
    stop: (cancelled = true) => {
      isCancelled = cancelled;
      controller.abort(new Error('stopped by the test'));
    },
  };
}

export const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();
