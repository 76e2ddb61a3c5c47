import type { Held } from '../model/change.ts';
import type { Release } from './instance.ts';
import type { SwitchProvider } from './switch.ts';

/** A switch that can also be given back by hand, without its remediation. */
export interface ReleasableSwitch extends SwitchProvider {
  /** Whether it may be its own, of several on one object; absent: it has no object of a cluster. */
  owns?(field: string): boolean;
  release(held: Held, dryRun: boolean): Promise<Release>;
}
