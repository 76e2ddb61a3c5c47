import type { LeaseAnswer, LeaseRequest } from './limits.ts';
import type { Pause } from './pause.ts';
import type { ResolvedRule } from './rule.ts';

/** What a responder has read before it decides: once for all gates and all requests of one turn. */
export interface LookRequest {
  responder: string;
  scope: string;
  rule: ResolvedRule;
  /** Those to be decided: at most 200. */
  targets: string[];
  /** All that counts as unhealthy whatever it looks like: open, waiting, or named by a firing alert; `targets` among them. */
  suspects: string[];
  /** By key of the limits; none where the rule has no limits. */
  leases: Record<string, LeaseRequest>;
  /** Names this question: a lease that is asked for twice is granted once. */
  question: string;
}

export interface Evidence {
  /** Milliseconds since the epoch at which it was read. */
  at: number;
  /** Of those that were asked for. */
  targets: Record<string, TargetEvidence>;
  /** By key; of the targets that have one. */
  workloads: Record<string, WorkloadEvidence>;
  /** Live objects of the targets' kind in the scope (their namespaces): how many, and how many of them are unhealthy. */
  population?: { live: number; unhealthy: number };
  /** Pauses that stand and may concern the rule or these targets. */
  pauses: Pause[];
  /** Whether one of the rule's windows is open; when closed, when the next one opens (milliseconds since the epoch). */
  window: { open: true } | { open: false; opensAt?: number };
  leases: Record<string, LeaseAnswer>;
  /** What could not be read of pauses, windows or population, for people. */
  error?: string;
}

export interface TargetEvidence {
  /** Its one true key, where the one asked for is another name of it: an instance that is a node of a configured cluster. */
  canonical?: string;
  /** Why it is not to be touched: the annotation or tag `salvor.dev/skip` on it or its namespace. */
  excluded?: string;
  /** Another remediation holds a field of it, for people. */
  held?: string;
  /** That is the target's own, which another rule has started and which is under way, for people: it is waited for. */
  busy?: string;
  /** Key of its workload, node pool or group. */
  workload?: string;
  /** What could not be read, for people. */
  error?: string;
}

export interface WorkloadEvidence {
  desired: number;
  /** Keys of those that do not serve, or are missing (`<workload key>#missing-1`): as many as decide as all of them would. */
  unready: string[];
}

/** A local activity of the responder; never throws for what it could not read: that is in the evidence. */
export interface EvidenceActivities {
  look(request: LookRequest): Promise<Evidence>;
}
