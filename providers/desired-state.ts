import type { Stack } from '../model/drift/options.ts';
import type { CompareRequest, Comparison, RevertRequest, RevertResult } from '../model/ports/desired-state.ts';
import type { HeldOn, Pulse } from './instance.ts';

/** The desired state of one stack, as a provider implements it; errors are the provider's own. */
export interface DesiredStateProvider {
  /**
   * Looks; touches neither the world nor the state of the tool. Beats while it works, and ends its processes when the pulse's
   * signal is aborted, whose reason it then throws.
   */
  compare(request: CompareRequest, means: DriftMeans): Promise<Comparison>;
  /**
   * Compares anew, and where every reviewed difference is still there with the same digest (or gone, by an attempt whose answer
   * was lost: {@link DriftMeans.isRepeat}), writes just those. In the order read → ask ({@link Pulse.stillMine}, which may throw
   * {@link import('./instance.ts').HeldBack}) → write.
   */
  revert(request: RevertRequest, means: DriftMeans): Promise<RevertResult>;
}

export interface DriftMeans {
  pulse: Pulse;
  /** An earlier attempt may have reverted a part. */
  isRepeat: boolean;
  /** All that Salvor holds now, as the objects themselves say: read once, when it is asked for. */
  held(): Promise<HeldOn[]>;
}

/** The desired states of all stacks. `stacksOf` of `stacks-of.ts` makes them. */
export interface Stacks {
  /** @throws FinalError `UnknownTarget` where it needs a cluster or an account that is not configured */
  of(stack: Stack): DesiredStateProvider;
}
