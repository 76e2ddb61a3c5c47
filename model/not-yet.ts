/**
 * Keys of `salvor.yaml` that are part of its design and have no effect in this version. They are refused, for nobody
 * may believe that a safety which he configured is in force when it is not. Whoever builds one deletes its line.
 */
export interface NotYet {
  /** Keys from the root, `*` for any item of a list. */
  at: string;
  /** Refused with this value only; otherwise with any. */
  value?: unknown;
  /** What to do meanwhile. */
  instead: string;
}

export const NOT_YET: readonly NotYet[] = [
  { at: 'aws', instead: 'remove it; only pods can be targets' },
  { at: 'dependencies', instead: 'remove it; the runbook circuit-breaker does not exist yet' },
  { at: 'stacks', instead: 'remove it; the runbook revert-drift does not exist yet' },
  { at: 'limits', instead: 'remove it, and bound each rule by gates.maxInFlight' },
  { at: 'gateway.people', instead: 'remove it; there is nothing to approve yet' },
  { at: 'rules.*.runbook', value: 'scale-on-backlog', instead: 'use drain-instance' },
  { at: 'rules.*.runbook', value: 'circuit-breaker', instead: 'use drain-instance' },
  { at: 'rules.*.runbook', value: 'revert-drift', instead: 'use drain-instance' },
  { at: 'rules.*.mode', value: 'propose', instead: 'use observe, or act' },
  { at: 'rules.*.hush', value: true, instead: 'remove it; the alert is not silenced' },
  {
    at: 'rules.*.onFailure.escalate',
    value: true,
    instead: 'remove it; nobody is told of a failure, so look at salvor list',
  },
  { at: 'rules.*.approvers', instead: 'remove it; nothing waits for an approval' },
  { at: 'rules.*.schedule', instead: 'remove it; rules start by alerts only' },
  { at: 'rules.*.gates.storm', instead: 'remove it, and bound the rule by gates.maxInFlight' },
  { at: 'rules.*.gates.windows', instead: 'remove it, and mute the route in Alertmanager (mute_time_intervals)' },
  { at: 'rules.*.gates.maxUnavailable', instead: 'remove it, and give the workload a PodDisruptionBudget' },
  { at: 'rules.*.gates.failClosed', instead: 'remove it; no gate reads evidence that could fail' },
  { at: 'defaults.gates.storm', instead: 'remove it, and set gates.maxInFlight' },
  { at: 'defaults.gates.windows', instead: 'remove it, and mute the route in Alertmanager (mute_time_intervals)' },
  { at: 'defaults.gates.maxUnavailable', instead: 'remove it, and give the workloads PodDisruptionBudgets' },
  { at: 'defaults.gates.failClosed', instead: 'remove it; no gate reads evidence that could fail' },
];
