import type { AuditPage } from '../audit.ts';
import type { BreakerState, Transition } from '../breaker/machine.ts';
import type { Dependency } from '../breaker/options.ts';
import type { Stands } from '../breaker/standing.ts';
import type { Change, Held, ObjectRef } from '../change.ts';
import type { ClearanceRequest } from '../clearance.ts';
import type { Plan } from '../plan.ts';
import type { Actor } from './instance.ts';

/**
 * The Switch port: what circuit-breaker needs of the world. Its methods are the activities of the same names. Each of them
 * reads before it writes, and writes only what differs, so repeating it changes nothing more.
 *
 * Errors are ApplicationFailures with a type of {@link import('./instance.ts').INSTANCE_ERRORS}.
 */
export interface SwitchPort {
  /** How the switch stands, and what opening it would change. A short read. */
  readSwitch(request: SwitchRequest): Promise<SwitchReading & { plan: Plan }>;
  /** Sets it. */
  setSwitch(request: SetSwitchRequest): Promise<Change[]>;
  /**
   * Drives the breaker's machine (heartbeating, on the watch queue) until something has to be decided or recorded: looks
   * whether the dependency fails; keeps the switch open; lets a share through and makes the trials; looks whether it stays
   * healthy. So history grows with what happens, not with time. What a crash interrupts goes on where it was: the state is in
   * its heartbeats, and a trial is counted before it is made.
   */
  driveBreaker(request: DriveRequest): Promise<Driven>;
}

/** Nothing passes, all passes, or so much of the traffic (percent). */
export type Position = 'open' | 'closed' | { share: number };

export interface SwitchRequest {
  dependency: Dependency;
  actor: Actor;
}

/** What was seen, for people, and in numbers. */
export interface Finding {
  /** `unknown`: nobody can tell (too few calls, no answer from Prometheus). */
  verdict: 'failing' | 'healthy' | 'unknown';
  why: string;
  facts?: Record<string, number | string>;
}

export interface SwitchReading {
  /** `mixed`: some of several stand otherwise than the others; `why` says which. */
  position: Position | 'mixed';
  why: string;
  /** The fields that opening it will hold, with what is there now. */
  held: Pick<Held, 'object' | 'field' | 'before' | 'set'>[];
}

export interface SetSwitchRequest extends SwitchRequest {
  step: string;
  position: Position;
  /** What is held while it is not closed; closing puts back what `before` says. */
  held: Held[];
  /** Closing: also what other remediations have set, for a person says so. */
  anyones?: true;
  audit?: AuditPage;
  clearance?: ClearanceRequest;
}

export interface KeepOpenRequest extends SwitchRequest {
  step: string;
  held: Held[];
  /** ISO time. */
  deadline: string;
}

export interface KeptOpen {
  /** What it had to set again. */
  changes: Change[];
  why: string;
  /** Somebody else closed it twice: who, and it is left so. */
  contested?: { by: string; object: ObjectRef };
}

export interface DriveRequest extends SwitchRequest {
  step: string;
  state: BreakerState;
  /** What is held while it is not closed; empty before. */
  held: Held[];
  /** Where it is not as the state wants it: what is told of it meanwhile. */
  stands?: Stands;
  /** ISO time at which it answers in any case. */
  deadline: string;
  /** What is to be on record meanwhile. */
  audit?: AuditPage;
}

export interface Driven {
  state: BreakerState;
  /** In order; the last led to `state`, where there is one. */
  transitions: Transition[];
  /** What it had to set, or to set again. */
  changes: Change[];
  contested?: KeptOpen['contested'];
  /** For people, where it is contested. */
  why?: string;
}

/** What the heartbeats of `driveBreaker` say: the latest, also for whoever looks at it from outside. */
export type DriveBeat = Pick<Driven, 'state' | 'transitions' | 'changes'> & { provider?: unknown; stands?: Stands };
