import type { AuditPage } from '../audit.ts';
import type { Change, Held, ObjectRef } from '../change.ts';
import type { ClearanceRequest } from '../clearance.ts';
import type { Plan } from '../plan.ts';
import type { ScalingState } from '../scaling/controller.ts';
import type { ScaleOnBacklogOptions } from '../scaling/options.ts';
import type { Actor } from './instance.ts';

/**
 * The Scalable port: what scale-on-backlog needs of the world. Its methods are the activities of the same names.
 * Sizes are absolute, never deltas; times are absolute (ISO). Every mutation carries the identity and the version that was
 * read, so that a change that a person makes meanwhile is seen and not overwritten.
 *
 * Errors are ApplicationFailures with a type of {@link import('./instance.ts').INSTANCE_ERRORS}: `contested` where the field
 * was changed since it was read, and then it is read again and decided anew.
 */
export interface ScalablePort {
  /** A fresh look: what its size is set by, what the signals ask for, may it be touched? A short read. */
  readScale(request: ReadScaleRequest): Promise<ScaleReading>;
  /**
   * Waits (heartbeating, on the watch queue) until the decision changes: what is set is not what is asked for any more. So
   * history grows with decisions, not with time.
   */
  watchBacklog(request: WatchBacklogRequest): Promise<BacklogResult>;
  /** Sets the size. Repeating it changes nothing more. */
  scaleTo(request: ScaleToRequest): Promise<Change[]>;
  /** Sets it to what it was before. What somebody else has changed meanwhile stays as he set it. */
  giveScaleBack(request: GiveScaleBackRequest): Promise<Change[]>;
}

export interface ReadScaleRequest {
  target: string;
  options: ScaleOnBacklogOptions;
  actor: Actor;
  /** The identity that an earlier look has fixed; another object of this name is answered as `gone`. */
  uid?: string;
}

export type ScaleReading =
  | { verdict: 'gone' | 'protected'; why: string }
  | ({ why: string; scale: Scale } & ScaleOutlook &
      /** The signals ask for more than there is: for how many. */
      (
        | { verdict: 'short'; desired: number }
        /** They do not, so far. */
        | { verdict: 'good' }
      ));

interface ScaleOutlook {
  /** To go on with. */
  state: WatchState;
  /** What acting would do. */
  plan: Plan;
}

/** A target's size, and what it is set by. */
export interface Scale {
  /** The workload or group. */
  object: ObjectRef;
  /** What is written to set its size: itself, or the autoscaler that owns it, whose minimum is raised. */
  by: {
    object: ObjectRef;
    /** `spec.replicas`, `spec.minReplicas` of an HPA, `spec.minReplicaCount` of a ScaledObject, `DesiredCapacity`. */
    field: string;
    /** Absent in an HPA or ScaledObject that leaves it to its default. */
    value: number | null;
  };
  /** Why it is set by that, for people. */
  why: string;
  /** Replicas that it is to have, whoever wants it. */
  desired: number;
  ready: number;
  /** What its own limits allow: of an autoscaler, or a group. */
  min: number;
  max: number;
  /** Key of what the gates count over. */
  workload: string;
}

export interface WatchBacklogRequest {
  actor: Actor;
  target: string;
  options: ScaleOnBacklogOptions;
  /** As it was found: its identities, and what it goes back to. */
  scale: Scale;
  /** What Salvor has set last, or, where it has not acted yet, what it found. */
  set: number | null;
  /** It has not acted yet: it looks whether it has to. */
  unheld?: true;
  /** It may not go further up now: that more is asked for is no reason to answer. */
  capped?: true;
  state: WatchState;
  /** ISO time at which it answers in any case (`later`). */
  deadline: string;
}

/** What a watch remembers, of the controller and beside it: plain JSON. Times are milliseconds since the epoch. */
export interface WatchState {
  controller: ScalingState;
  /** Since when the signals are good and the size is what it was before; absent: they are not. */
  goodSince?: number;
  /** Fewer are ready than were asked for: how many, and since when no more of them became ready. */
  unready?: { ready: number; since: number };
  /** Since when what it follows cannot be seen, and whether that was told. */
  blind?: { since: number; told?: true };
}

/** All but `gone` carry the state to go on with, and what there is to draw since the watch began. */
export type BacklogResult =
  | { verdict: 'gone'; why: string; points: ScalePoint[] }
  | ({ why: string; state: WatchState; points: ScalePoint[] } & (
      | { verdict: 'scale'; to: number }
      /** The signals were good for `goodFor`, and nothing more than before is asked for. */
      | { verdict: 'good' }
      /** More replicas are ready, and the backlog, or the latency, does not fall. */
      | { verdict: 'stalled' }
      /** What was added did not become ready in time. */
      | { verdict: 'unready' }
      /** It has the size that an attempt of this remediation has set, whose answer was lost. */
      | { verdict: 'adopted'; to: number }
      /** Somebody else, or something else, sets the size: who, and to what; it is respected. */
      | { verdict: 'overruled'; by: string; to: number | null }
      /** What it follows cannot be seen, or not all of it, for `stalledAfter`: what is set stays. Told once. */
      | { verdict: 'blind' }
      /** It can be seen again, after it was told that it could not. */
      | { verdict: 'seen' }
      /** Its deadline: nothing has changed. */
      | { verdict: 'later' }
    ));

/** One look, for the picture. `at` in milliseconds since the epoch; null: not known. */
export interface ScalePoint {
  at: number;
  backlog: number | null;
  /** What the backlog is expected to be when an order of now would be ready. */
  forecast: number | null;
  /** Seconds. */
  latency: number | null;
  /** What was asked for. */
  desired: number;
  ready: number;
}

export interface ScaleToRequest {
  step: string;
  actor: Actor;
  /** As it was found first. */
  scale: Scale;
  /** What the field must have now: as it was found, or what was set last; anything else is `contested`. */
  from: number | null;
  to: number;
  /** The note of what is held, with `set` being `to`. */
  held: Held[];
  audit?: AuditPage;
  /** It is set already, by an attempt whose answer was lost: that is told, and nothing is written. */
  adopt?: true;
  /** Asked right before it acts; not on the way back. */
  clearance?: ClearanceRequest;
}

export interface GiveScaleBackRequest {
  step: string;
  actor: Actor;
  scale: Scale;
  held: Held[];
  /** Only the note of what is held goes: the size stays as it is, whoever has set it. */
  letGo?: true;
}
