import type { AuditPage } from '../audit.ts';
import type { Dependency } from '../breaker/options.ts';
import type { Change, Held, ObjectRef } from '../change.ts';
import type { ClearanceRequest } from '../clearance.ts';
import type { Actor } from './instance.ts';

/**
 * The Switch port: what circuit-breaker needs of the world. Its methods are the activities of the same names. Each of them
 * reads before it writes, and writes only what differs, so repeating it changes nothing more.
 *
 * Errors are ApplicationFailures with a type of {@link import('./instance.ts').INSTANCE_ERRORS}.
 */
export interface SwitchPort {
  /** How the switch stands, and what opening it would change. A short read. */
  readSwitch(request: SwitchRequest): Promise<SwitchReading>;
  /** Looks whether the dependency fails, by the numbers or the probe. A short read. */
  confirmFailure(request: SwitchRequest): Promise<Finding>;
  /** Sets it. */
  setSwitch(request: SetSwitchRequest): Promise<Change[]>;
  /**
   * Waits (heartbeating, on the watch queue) while it is open: reads the switch every `assertEvery`, and sets it again where
   * it is not as it should be (an Envoy that was restarted), until the deadline.
   */
  keepOpen(request: KeepOpenRequest): Promise<KeptOpen>;
  /** One trial. Never throws for what the dependency does: that is its finding. */
  tryDependency(request: SwitchRequest): Promise<Finding>;
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
