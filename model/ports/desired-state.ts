import type { AuditPage } from '../audit.ts';
import type { Change } from '../change.ts';
import type { ClearanceRequest, Objection } from '../clearance.ts';
import type { Difference } from '../drift/difference.ts';
import type { Stack } from '../drift/options.ts';
import type { Plan } from '../plan.ts';
import type { Actor } from './instance.ts';

/**
 * The DesiredState port: what revert-drift needs of the world. Its methods are the activities of the same names, both on the
 * watch queue and heartbeating, for a plan may take minutes.
 *
 * Errors are ApplicationFailures with a type of {@link import('./instance.ts').INSTANCE_ERRORS}; a lock of the state that is
 * somebody else's is waited for within the activity, and after `lockWithin` it is `Locked`.
 */
export interface DesiredStatePort {
  /** What differs now. Changes nothing in the world, nor in the state of the tool. */
  compareState(request: CompareRequest): Promise<Comparison>;
  /**
   * Looks anew at what was reviewed and, only where it is still the same, reverts just that. Repeating it changes nothing more.
   */
  revertDrift(request: RevertRequest): Promise<RevertResult>;
  /** The plan of reverting these, with the digest that an approval is about: workflows have none. Reads nothing. */
  planRevert(request: PlanRevertRequest): Promise<Plan>;
  /** Alerts that fire now and meet all matchers of the stack's `holdWhile`, for people; empty: none, or none are asked for. A short read. */
  alertsWhile(request: AlertsRequest): Promise<string[]>;
}

export interface CompareRequest {
  stack: Stack;
  actor: Actor;
  /** As of {@link import('../drift/options.ts').RevertDriftOptions}. */
  prune: string[];
  /** As of {@link import('../drift/options.ts').RevertDriftOptions}. */
  create: string[];
  /** The commit of an earlier look: it is compared with that one; absent: with what the ref points at now. */
  revision?: string;
}

export type Comparison =
  /** It must not be compared, and a person has to mend that: the source is empty, … */
  | { verdict: 'refused'; why: string }
  | {
      /** `same`: nothing at all; `differs`: something, if only what is not drift. */
      verdict: 'same' | 'differs';
      /** One line for people. */
      why: string;
      /** The commit that was compared with; absent: a folder. */
      revision?: string;
      /** The gravest first, at most {@link import('../drift/difference.ts').MOST_DIFFERENCES}. */
      differences: Difference[];
      /** Those that were left out. */
      more?: number;
    };

export interface RevertRequest extends CompareRequest {
  step: string;
  /** What is to be reverted, as it was seen and, where it needs that, approved: these addresses, and to nothing else. */
  reviewed: Difference[];
  audit?: AuditPage;
  /** Asked right before it writes. */
  clearance?: ClearanceRequest;
}

/** `changes` is what was done in any case, also by an attempt whose answer was lost. */
export type RevertResult =
  | { verdict: 'reverted'; why: string; changes: Change[] }
  /** It is not, or not only, what was reviewed any more: nothing (more) was touched. */
  | { verdict: 'changed'; why: string; changes: Change[] }
  /** It was not its time, or not any more: nothing more was touched. */
  | { verdict: 'held-back'; why: string; changes: Change[]; objection: Objection }
  /** A part could not be done, and trying again will not do it. */
  | { verdict: 'failed'; why: string; changes: Change[] };

export interface PlanRevertRequest {
  target: string;
  reviewed: Difference[];
  revision?: string;
}

export interface AlertsRequest {
  stack: Stack;
  /** Fingerprint of the alert that it was started for, which holds nothing. */
  except: string;
}
