import type { InstancePort } from '../model/ports/instance.ts';

/** What a long wait of a provider is given: it says that it lives, remembers across attempts, and learns of a cancel. */
export interface Pulse {
  /** Aborted when the wait is to end; its reason is what the wait then throws. */
  signal: AbortSignal;
  /** Says that the wait is alive; `details` is plain JSON, given to the next attempt as `last`. */
  beat(details: unknown): void;
  /** What the attempt before this one said last; undefined on the first. */
  last: unknown;
}

type Waits = 'hold' | 'replace' | 'verify';

/** The Instance port as a provider implements it: its waits get a {@link Pulse}; errors are the provider's own. */
export type InstanceProvider = Omit<InstancePort, Waits> & {
  [W in Waits]: (request: Parameters<InstancePort[W]>[0], pulse: Pulse) => ReturnType<InstancePort[W]>;
};
