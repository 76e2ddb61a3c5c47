/** What turns webhooks into actions, measured by the same protocol whatever it is. */
export interface Engine {
  readonly name: string;
  /** Makes so many things that an alert can be about; answers their ids. */
  targets(count: number): Promise<string[]>;
  /** Sends the alert about one target; answers whether it was acknowledged (status 200). */
  send(id: string): Promise<boolean>;
  /** The actions that were really carried out on each target: when each was received, milliseconds since the epoch. */
  actions(): Promise<ReadonlyMap<string, readonly number[]>>;
  /** The ways in which its processes can die by SIGKILL. */
  readonly deaths: readonly Death[];
  /** The phase is over: nothing is left to do for its targets. */
  retire(): Promise<void>;
  stop(): Promise<void>;
}

export interface Death {
  name: string;
  kill(): Promise<void>;
  /** Starts again what was killed; resolves when it is ready. */
  restart(): Promise<void>;
}
