import type { Change, Held, ObjectRef } from '../model/change.ts';
import type { Objection } from '../model/clearance.ts';
import type { InstancePort } from '../model/ports/instance.ts';

/**
 * One attempt at an activity. Another may take its place without its knowing: when it has lost Temporal but still
 * reaches the API, or was stopped for a while. So before it writes it asks, in the order read → ask → write, and writes
 * with the version that it read as a precondition: an undo always changes that version, so a write that the undo has
 * overtaken is refused by the API itself.
 */
export interface Attempt {
  /** Milliseconds since the epoch: when the first attempt at this activity was asked for. */
  since: number;
  /** Milliseconds since the epoch: until then no other attempt can have begun, nor anything that follows this one. */
  aloneUntil: number;
  /** Asks whether this attempt still counts. @throws where it does not, or nobody can tell: then write nothing more */
  stillMine(): Promise<void>;
}

/**
 * What {@link Attempt.stillMine} throws within `replace` where it is not the time for a mutation, or not any more. A provider
 * that has done a part by then catches it and answers `held-back` with its changes; whoever has not may let it pass.
 */
export class HeldBack extends Error {
  override readonly name = 'HeldBack';
  readonly objection: Objection;

  constructor(objection: Objection) {
    super(objection.reason);
    this.objection = objection;
  }
}

/** What a long wait of a provider is given: it says that it lives, remembers across attempts, and learns of a cancel. */
export interface Pulse extends Attempt {
  /** Aborted when the wait is to end; its reason is what the wait then throws. */
  signal: AbortSignal;
  /** Says that the wait is alive; `details` is plain JSON, given to the next attempt as `last`. */
  beat(details: unknown): void;
  /** What the attempt before this one said last; undefined on the first. */
  last: unknown;
  /**
   * Whether {@link Pulse.signal} was aborted because the whole was cancelled, and not only this attempt: then what has been
   * done by then is told by a result, for no other attempt will tell it.
   */
  isCancelled?(): boolean;
}

type Waits = 'hold' | 'replace' | 'verify';
type Writes = 'cut' | 'restore';

/**
 * The Instance port as a provider implements it: its waits get a {@link Pulse}, its short writes an {@link Attempt};
 * errors are the provider's own.
 */
export type InstanceProvider = Omit<InstancePort, Waits | Writes> & {
  [W in Waits]: (request: Parameters<InstancePort[W]>[0], pulse: Pulse) => ReturnType<InstancePort[W]>;
} & {
  [W in Writes]: (request: Parameters<InstancePort[W]>[0], attempt: Attempt) => ReturnType<InstancePort[W]>;
};

/** Ends what is told of a change that was made, but of which no answer came. */
export const LOST = ' (the answer was lost with an earlier attempt)';

/** What came of giving one held field back by hand. */
export interface Release {
  /**
   * - `given-back`: it is as it was before Salvor held it
   * - `as-before`: it was so already; the note is gone
   * - `kept`: somebody else has changed it, or holds it now, and that is respected; the note is gone
   * - `gone`: the object is no longer there
   * - `unclear`: it looks as Salvor set it, and nothing says that it was Salvor: nothing was touched, a person must decide
   */
  result: 'given-back' | 'as-before' | 'kept' | 'gone' | 'unclear';
  /** For people. */
  why: string;
  /** What was written. */
  changes: Change[];
}

/** What an object itself says is held on it; or why that cannot be told, for people. */
export type HeldOn = { object: ObjectRef } & ({ holds: Held[]; problem?: never } | { holds?: never; problem: string });
