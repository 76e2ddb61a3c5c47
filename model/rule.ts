/** A rule with defaults merged and every duration in milliseconds: plain JSON, as it travels in signals. */
export interface ResolvedRule {
  /** `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, or `run:<runbook>` for `salvor run`. */
  name: string;
  runbook: Runbook;
  mode: Mode;
  with: DrainInstanceOptions;
  gates: ResolvedGates;
  onFailure: { escalate: boolean };
  hush: boolean;
}

export const RUNBOOKS = ['drain-instance'] as const;
export type Runbook = (typeof RUNBOOKS)[number];

/** How much a rule is trusted: observe records what it would do; act acts. */
export const MODES = ['observe', 'act'] as const;
export type Mode = (typeof MODES)[number];

export interface ResolvedGates {
  /** Remediations open at once in the scope. */
  maxInFlight: number;
  /** Milliseconds after the end of a remediation in which its target is left alone. */
  cooldown: number;
  retries: { max: number; per: number };
  /** Milliseconds a request may wait before it is refused and escalated. */
  waitAtMost: number;
  /** Requests kept waiting; beyond it they are refused `queue-full`. */
  maxQueue: number;
}

/** Options of drain-instance (`with:`), durations in milliseconds. */
export interface DrainInstanceOptions {
  /** How to cut the traffic; auto takes the first way that applies. */
  traffic: 'auto' | 'label' | 'gate' | 'none';
  /** How long the instance may take to heal by itself while it is out of traffic. */
  recoverWithin: number;
  /** How long it must be healthy without a break before traffic is given back. */
  stableFor: number;
  /** Replace it (evict) when it did not recover; otherwise give back and escalate. */
  replace: boolean;
  /** How long the EndpointSlices must have shown the cut before it is evicted. */
  quietFor: number;
  /** How long an eviction may be put off by a disruption budget. */
  evictWithin: number;
  /** How long the replacement may take to become ready. */
  verifyWithin: number;
}
