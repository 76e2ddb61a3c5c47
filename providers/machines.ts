/**
 * The machines under the nodes of a cluster, by their Auto Scaling groups. Errors are of providers/errors.ts: throttling and
 * silence are UnavailableError, everything that trying again cannot mend is FinalError.
 */
export interface Machines {
  /** Undefined where the instance is in no group, or is not there. */
  find(instanceId: string): Promise<Machine | undefined>;
  /** Why it must not be terminated: an instance refresh runs, scale-in protection, Launch or Terminate suspended. */
  refusal(machine: Machine): Promise<string | undefined>;
  /** Terminates it without making the group smaller. Asking again for one that is going changes nothing. */
  terminate(instanceId: string): Promise<{ requestId?: string }>;
  /** Where it waits in one of these termination hooks: says that it is still worked on. */
  heartbeat(machine: Machine, hooks: readonly string[]): Promise<void>;
  /** Where it waits in one of these termination hooks: lets it go on. */
  complete(machine: Machine, hooks: readonly string[]): Promise<void>;
}

export interface Machine {
  instanceId: string;
  /** Name of its Auto Scaling group. */
  group: string;
  /** As AWS names it: `InService`, `Standby`, `Terminating:Wait`, … */
  state: string;
}
