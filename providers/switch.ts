import type { Dependency } from '../model/breaker/options.ts';
import type { Change, Held } from '../model/change.ts';
import type { Finding, KeepOpenRequest, KeptOpen, SetSwitchRequest, SwitchReading } from '../model/ports/switch.ts';
import type { Attempt, Pulse, Release } from './instance.ts';

/** The switch of one dependency, as a provider implements it; errors are the provider's own. */
export interface SwitchProvider {
  /** How it stands, this moment, and what opening it would hold. */
  read(): Promise<SwitchReading>;
  /** Reads, and writes only what differs. Closing puts back what `held` says was there before. */
  set(request: SetSwitchRequest, attempt: Attempt): Promise<Change[]>;
  /**
   * Looks every `assertEvery` until the deadline, and opens it again where it is not. When the pulse's signal is aborted it
   * answers what it has done by then where {@link Pulse.isCancelled} says so, and otherwise throws the signal's reason.
   */
  keepOpen(request: KeepOpenRequest, pulse: Pulse): Promise<KeptOpen>;
}

/** The switches of all dependencies. `switchesOf` of `switches-of.ts` makes them. */
export interface Switches {
  /** @throws FinalError `UnknownTarget` where it needs a cluster that is not configured */
  of(dependency: Dependency): SwitchProvider;
  /**
   * Gives back one held field of a switch, without Temporal. An object of a cluster has its own key, what is in no cluster (an
   * Envoy, an HTTP API) that of its dependency, `dependency/<name>`, which must be configured.
   */
  release(held: Held, dryRun: boolean): Promise<Release>;
}

/** How a dependency fares. `proberOf` of `prober-of.ts` makes it. Neither throws for what a dependency or Prometheus does. */
export interface Prober {
  /** By the numbers; where no `confirm` is given, by one probe. @throws the signal's reason */
  confirm(dependency: Dependency, signal: AbortSignal): Promise<Finding>;
  /** One trial: the probe; where there is none, the numbers. @throws the signal's reason */
  try(dependency: Dependency, signal: AbortSignal): Promise<Finding>;
}
