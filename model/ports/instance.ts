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
  /** Asks for its replacement (Kubernetes: eviction) until it is granted or the deadline passes. Heartbeats. */
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
      traffic: { way: 'label' | 'gate' | 'none'; why: string };
      /** The fields that the cut will hold, with what was there before; empty where nothing is to be cut. */
      held: Pick<Held, 'field' | 'before' | 'set'>[];
      /** Its workload as it stands: what `verify` compares with. */
      owner: Owner;
      /** What acting would do. */
      plan: Plan;
    };

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
  | { verdict: 'sick'; why: string; changes: Change[]; outSince?: string }
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
  /** Asked right before each try. */
  clearance?: ClearanceRequest;
}

export type ReplaceResult =
  | { verdict: 'replaced'; why: string; changes: Change[] }
  /** It was gone, or replaced by somebody else, before Salvor asked. */
  | { verdict: 'gone'; why: string; changes: Change[] }
  /** A disruption budget did not allow it before the deadline. */
  | { verdict: 'blocked'; why: string; changes: Change[] }
  /** It was not its time: nothing was asked for. */
  | { verdict: 'held-back'; why: string; changes: Change[]; objection: Objection };

export interface VerifyRequest {
  actor: Actor;
  instance: ObjectRef;
  owner: Owner;
  deadline: string;
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
} as const;
