import type { WatchState } from '../../model/ports/scalable.ts';
import type { Decision } from '../../model/scaling/controller.ts';

/** What one look could see, for whoever follows it. */
interface Look {
  decision: Pick<Decision, 'at' | 'hold'>;
  /** What could not be read. */
  problems: readonly string[];
  /** Milliseconds without sight after which a person is to know. */
  tellAfter: number;
}

/**
 * What is not seen is held, for missing data are not zero; held for long, somebody is to know. It is blind where nothing new was
 * measured, and where it holds because a signal could not be read that might ask for more.
 *
 * @returns the state after the look, and what is to be told now, once
 */
export function sightAfter(
  { blind, ...rest }: WatchState,
  { decision: { at, hold }, problems, tellAfter }: Look,
): { state: WatchState; verdict?: 'blind' | 'seen' } {
  const isBlind = hold === 'missing-data' || (hold === 'partial-data' && problems.length > 0);
  if (!isBlind) return { state: rest, ...(blind?.told && { verdict: 'seen' }) };
  const since = blind?.since ?? at;
  if (blind?.told || at - since < tellAfter) return { state: { ...rest, blind: blind ?? { since } } };
  return { state: { ...rest, blind: { since, told: true } }, verdict: 'blind' };
}
