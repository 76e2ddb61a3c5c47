import type { AuditPage } from '../audit.ts';
import type { Change, Held, ObjectRef } from '../change.ts';
import type { ClearanceRequest, Objection } from '../clearance.ts';
import type { Plan } from '../plan.ts';
import type { DrainInstanceOptions } from '../rule.ts';

/**
 * The Instance port: what drain-instance needs of the world. Its methods are the activities of the same names.
 * Times are absolute (ISO), set by the workflow, so that a retried activity keeps its deadline.
 * Every mutation carries the identity (`instance.uid`) as a precondition; each is idempotent or looks before it acts again.
 *
 * Errors are ApplicationFailures with a type of {@link INSTANCE_ERRORS}; retryable or not is part of the type.
 */
export interface InstancePort {
  /** A fresh look at live state: is it sick, may it be touched, how would its traffic be cut? A short read. */
  assess(request: AssessRequest): Promise<Assessment>;
  /** Takes the instance out of traffic, alive. Repeating it changes nothing more. Heartbeat not needed. */
  cut(request: CutRequest): Promise<Change[]>;
  /**
   * Waits (heartbeating, on the watch queue) until the instance has been healthy for `stableFor`, and then gives its
   * traffic back itself; or until the deadline; or until it is gone.
   */
  hold(request: HoldRequest): Promise<HoldResult>;
  /** Gives the traffic back exactly as it was. Nothing to do where it is gone or already given back. */
  restore(request: CutRequest): Promise<Change[]>;
  /**
   * Asks for its replacement (pod: eviction; node: eviction of all its pods, and termination; Auto Scaling instance:
   * termination) until it is granted or the deadline passes. Heartbeats.
   */
  replace(request: ReplaceRequest): Promise<ReplaceResult>;
  /** Waits until the replacement serves. Heartbeats, on the watch queue. */
  verify(request: VerifyRequest): Promise<VerifyResult>;
}

/** Who acts, for held changes, field managers and idempotency. */
export interface Actor {
  runbook: string;
  /** First run ID of the remediation. */
  remediation: string;
}

export interface AssessRequest {
  target: string;
  options: DrainInstanceOptions;
  actor: Actor;
  /** The identity that an earlier look has fixed; another object of this name is answered as `gone`. */
  uid?: string;
}

export type Assessment =
  | { verdict: 'healthy' | 'gone' | 'protected'; why: string }
  | {
      verdict: 'sick';
      why: string;
      instance: ObjectRef;
      /** How its traffic will be cut, and why this way. */
      traffic: { way: TrafficWay; why: string };
      /**
       * What follows the cut. `hold` (and where it is absent): it may recover, else it is replaced, then that is verified.
       * `replacement`: the cut alone makes its platform start a replacement, so that is verified first; it never comes back
       * into traffic by itself, and is done away with, or given back, when it was kept for `keepFor` milliseconds.
       */
      course?: { kind: 'hold' } | { kind: 'replacement'; keepFor: number; afterwards: 'delete' | 'give-back' };
      /** The fields that the cut will hold, with what was there before; empty where nothing is to be cut. */
      held: Pick<Held, 'field' | 'before' | 'set'>[];
      /** Its workload as it stands: what `verify` compares with. */
      owner: Owner;
      /** What acting would do. */
      plan: Plan;
    };

/**
 * Pod: the traffic label, the readiness gate, quarantine. Node: cordon. Auto Scaling instance: standby with the desired
 * capacity one less, or standby with a replacement at once. None: it is out already, or nothing takes it out.
 */
export type TrafficWay = 'label' | 'gate' | 'quarantine' | 'cordon' | 'standby' | 'standby-replaced' | 'none';

export interface Owner {
  /** Target key of the controller, e.g. `k8s/prod/shop/deployment.apps/web`. */
  key: string;
  uid: string;
  desired: number;
  ready: number;
  /** Key of what the unavailable budget counts over: the Deployment above a ReplicaSet, else the owner itself. */
  workload: string;
}

export interface CutRequest {
  step: string;
  actor: Actor;
  instance: ObjectRef;
  held: Held[];
  /** Absent in runs that an older version began. */
  options?: DrainInstanceOptions;
  /** Of a cut: what is to be on record before it acts. */
  audit?: AuditPage;
  /** Of a cut: asked right before it acts. */
  clearance?: ClearanceRequest;
}

export interface HoldRequest extends CutRequest {
  /** ISO time at which waiting for recovery ends. */
  deadline: string;
  /** Milliseconds. */
  stableFor: number;
}

export type HoldResult =
  | { verdict: 'recovered'; why: string; changes: Change[] }
  /** Still sick at the deadline. `outSince`: ISO time since which the EndpointSlices show the cut, if they do. */
  | {
      verdict: 'sick';
      why: string;
      changes: Change[];
      outSince?: string;
      /** It came and went too often: that it looks healthy at some moment says nothing. */
      flapped?: boolean;
    }
  | { verdict: 'gone'; why: string; changes: Change[] }
  /** Salvor itself gave it back, by `salvor release` or an undo, and it is sick. */
  | { verdict: 'given-back'; why: string; changes: Change[] }
  /** Somebody else changed a held field twice; `manager` is the field manager that did. */
  | { verdict: 'contested'; why: string; changes: Change[]; manager: string };

export interface ReplaceRequest {
  step: string;
  actor: Actor;
  instance: ObjectRef;
  owner: Owner;
  /** ISO time before which it must not start: the end of `quietFor`. */
  notBefore: string;
  deadline: string;
  /** What is held of it; absent in runs that an older version began, as `options`. */
  held?: Held[];
  options?: DrainInstanceOptions;
  /** Asked right before each mutation. */
  clearance?: ClearanceRequest;
}

/** `changes` is what was done in any case, also before it was blocked, held back or failed. */
export type ReplaceResult =
  | {
      verdict: 'replaced';
      why: string;
      changes: Change[];
      /** Controllers that have to replace what was moved away from it, as they were before: `verify` is given them. */
      moved?: Owner[];
      /** It is still there itself (a node that was drained and not terminated): its cut stays until it recovers. */
      stays?: boolean;
    }
  /** It was gone, or replaced by somebody else, before Salvor asked. */
  | { verdict: 'gone'; why: string; changes: Change[] }
  /** A disruption budget did not allow it before the deadline. */
  | { verdict: 'blocked'; why: string; changes: Change[] }
  /** It was not its time, or not any more: nothing more was asked for. */
  | { verdict: 'held-back'; why: string; changes: Change[]; objection: Objection; moved?: Owner[] }
  /** Only a part could be done, and trying again will not do the rest. */
  | { verdict: 'failed'; why: string; changes: Change[] };

export interface VerifyRequest {
  actor: Actor;
  instance: ObjectRef;
  owner: Owner;
  deadline: string;
  moved?: Owner[];
  /** As of {@link ReplaceRequest}. */
  held?: Held[];
  options?: DrainInstanceOptions;
}

export type VerifyResult = { verified: boolean; why: string };

/** Types of the errors; those named here are final, everything else is tried again. */
export const INSTANCE_ERRORS = {
  /** The credentials do not allow the call: a person must grant it. */
  forbidden: 'Forbidden',
  /** Several disruption budgets select the pod (500 from the eviction API): a person must mend them. */
  misconfiguredBudget: 'MisconfiguredBudget',
  /** No such cluster, account or kind in the configuration. */
  unknownTarget: 'UnknownTarget',
  /** The API refuses the request as invalid. */
  invalid: 'Invalid',
  /** The field to be held was changed since the diagnosis, or somebody else holds it: nothing was touched. */
  contested: 'Contested',
  /** Another object bears the name now (or none does): nothing was touched. */
  replaced: 'Replaced',
  /** Somebody else has locked the state, and did not let go of it in time: nothing was touched. */
  locked: 'Locked',
} as const;
