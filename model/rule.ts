import type { Bound } from './bound.ts';
import type { ResolvedLimits } from './limits.ts';

/** A rule with defaults merged and every duration in milliseconds: plain JSON, as it travels in signals. */
export interface ResolvedRule {
  /** `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, or `run:<runbook>` for `salvor run`. */
  name: string;
  runbook: Runbook;
  mode: Mode;
  with: DrainInstanceOptions;
  gates: ResolvedGates;
  onFailure: { escalate: boolean };
  /** Silence the alert while it is worked on. */
  hush: boolean;
  /** Who may approve what it proposes: names, and `group:<name>`; empty: everybody who is known. */
  approvers: string[];
  /** Milliseconds in which a proposal must be approved; then it is refused. */
  approveWithin: number;
  /** Over all rules. */
  limits?: ResolvedLimits;
}

export const RUNBOOKS = ['drain-instance'] as const;
export type Runbook = (typeof RUNBOOKS)[number];

/** How much a rule is trusted: observe records what it would do; propose waits for a person's approval of it; act acts. */
export const MODES = ['observe', 'propose', 'act'] as const;
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
  /** Of the target's own workload, node pool or group: how much may be unavailable, what is in flight included. */
  maxUnavailable: Bound;
  /** Above this share (percent) of unhealthy objects in the scope everything in it is held, until `settleFor` of calm. */
  storm: { above: number; settleFor: number };
  /** When it may act, such as `Mon-Fri 08:00-20:00 Europe/Berlin`; none: always. */
  windows: string[];
  /** An error while evidence is read refuses. */
  failClosed: boolean;
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
