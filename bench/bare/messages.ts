/** What the process of bare Temporal is asked for. */
export type Order =
  | { kind: 'paced'; count: number; gapMs: number }
  | { kind: 'burst'; count: number; atOnce: number };

export type Answer =
  | { kind: 'ready' }
  /** Milliseconds from the call of `start` to the first line of the local activity, one for each. */
  | { kind: 'paced'; latencies: number[] }
  /** Milliseconds until the server had taken every start; completions are counted on the server. */
  | { kind: 'burst'; took: number };

export interface BareActivities {
  touch(id: string): Promise<void>;
}
