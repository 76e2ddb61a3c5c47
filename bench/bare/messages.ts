/**
 * `eager`: started on the worker's own native connection, so that the first task comes with the answer. `plain`: started
 * by an ordinary client on a connection of its own, so that the first task is polled.
 */
export type Way = 'eager' | 'plain';

/** What the process of bare Temporal is asked for. */
export type Order =
  | { kind: 'paced'; count: number; gapMs: number; way: Way }
  | { kind: 'burst'; count: number; atOnce: number; way: Way };

export type Answer =
  | { kind: 'ready' }
  /** Milliseconds from the call of `start` to the first line of the local activity, one for each. */
  | { kind: 'paced'; latencies: number[] }
  /** Milliseconds until the server had taken every start; completions are counted on the server. */
  | { kind: 'burst'; took: number };

export interface BareActivities {
  touch(id: string): Promise<void>;
}
