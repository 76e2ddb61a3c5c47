import type { Bound } from './bound.ts';
import type { CircuitBreakerOptions } from './breaker/options.ts';
import type { RevertDriftOptions } from './drift/options.ts';
import type { ResolvedLimits } from './limits.ts';
import type { ScaleOnBacklogOptions } from './scaling/options.ts';

/** A rule with defaults merged and every duration in milliseconds: plain JSON, as it travels in signals. */
export type ResolvedRule<R extends Runbook = Runbook> = { [One in R]: RuleFor<One> }[R];

interface RuleFor<R extends Runbook> {
  /** `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, or `run:<runbook>` for `salvor run`. */
  name: string;
  runbook: R;
  mode: Mode;
  with: RunbookOptions[R];
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

export const RUNBOOKS = ['drain-instance', 'scale-on-backlog', 'circuit-breaker', 'revert-drift'] as const;
export type Runbook = (typeof RUNBOOKS)[number];

/** What may stand under `with:`, by runbook. */
export interface RunbookOptions {
  'drain-instance': DrainInstanceOptions;
  'scale-on-backlog': ScaleOnBacklogOptions;
  'circuit-breaker': CircuitBreakerOptions;
  'revert-drift': RevertDriftOptions;
}

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
  /** How to cut the traffic of a pod; auto takes the first way that applies. */
  traffic: 'auto' | 'label' | 'gate' | 'quarantine' | 'none';
  /** A pod may be taken out of its owner's selector, and is kept for so long (milliseconds) after; absent: it may not. */
  quarantine?: { keepFor: number; afterwards: 'delete' | 'give-back' };
  /** What it must meet to be healthy, beside what its platform says; absent: nothing. */
  health?: HealthChecks;
  /**
   * How often it may become sick again while it is held: then it is replaced without waiting longer. Absent in rules of
   * older versions: as often as it likes.
   */
  flaps?: number;
  /** Of a node; absent: {@link NODE_OPTIONS}. */
  node?: NodeOptions;
  /** Lifecycle hooks of its Auto Scaling group that are heartbeaten while it is worked on, and completed; absent: none. */
  lifecycleHooks?: string[];
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

/** How a node is drained. What stays on it in any case: pods of DaemonSets and static pods. */
export interface NodeOptions {
  /** It may be one of the control plane. */
  controlPlane: boolean;
  /** Pods with emptyDir volumes are evicted too: what is in them is lost. Otherwise such a node is not drained. */
  emptyDir: boolean;
  /** Pods without a controller are evicted too: nothing starts them again. Otherwise such a node is not drained. */
  bare: boolean;
  /** Evictions under way at once. */
  parallel: number;
  /** When it is empty its machine is terminated through its Auto Scaling group, which replaces it. */
  terminate: boolean;
  /** Milliseconds for which it stays cordoned after it was drained, while Salvor waits for it to recover. */
  keepFor: number;
}

export const NODE_OPTIONS: NodeOptions = {
  controlPlane: false,
  emptyDir: false,
  bare: false,
  parallel: 10,
  terminate: false,
  keepFor: 3_600_000,
};

/** All that are given must be met. */
export interface HealthChecks {
  /** A PromQL query that gives one number, with `${name}` and the like of the target; within these bounds it is healthy. */
  promql?: { query: string; atMost?: number; atLeast?: number };
  /** GET on the instance's own address; `within` milliseconds. Of pods and nodes. */
  http?: { scheme: 'http' | 'https'; port: number; path: string; status: number; within: number };
}
