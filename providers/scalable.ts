import type { Change } from '../model/change.ts';
import type { GiveScaleBackRequest, Scale, ScaleToRequest } from '../model/ports/scalable.ts';
import type { Attempt } from './instance.ts';

/**
 * The Scalable port as a provider implements it, for one target; what the signals ask for is no matter of its own. Errors are
 * the provider's own: FinalError `Contested` where the field is not what the request says that it is.
 */
export interface ScalableProvider {
  /**
   * A fresh look, never from a cache. `protected`: Salvor must not touch it; that another remediation holds its size is one
   * reason.
   *
   * @param remediation who looks: what it holds itself is no reason
   * @param uid the identity that an earlier look has fixed; another object of this name is answered as `gone`
   */
  read(remediation: string, uid?: string): Promise<ProviderReading>;
  /**
   * Sets the size in one write, together with the note of what is held where the object can carry one. In the order read → ask
   * ({@link Attempt.stillMine}) → write, with the version that was read as a precondition. Nothing to do where it is set already,
   * and the note says that this remediation did it.
   *
   * @throws FinalError `Contested` where its value is neither `from` nor, by this remediation's own note, what an earlier attempt
   * has set; or, of a request to `adopt`, where it is not set already; `Replaced` where the object is another one; {@link import('./instance.ts').HeldBack} passes through
   */
  scaleTo(request: ScaleToRequest, attempt: Attempt): Promise<Change[]>;
  /**
   * Sets it to what it was before, exactly (also absent), and removes the note. It counts as Salvor's where it has the value of
   * `held`, or what this remediation's note on it says: an attempt whose answer was lost may have set it. What somebody else has
   * set stays, and only the note goes. Nothing to do where it is gone, or was given back.
   */
  giveBack(request: GiveScaleBackRequest, attempt: Attempt): Promise<Change[]>;
  /** Who set the size last, other than this runbook: a field manager, a principal; undefined where nobody can tell. */
  whoSet(scale: Scale): Promise<string | undefined>;
}

export type ProviderReading =
  | { verdict: 'gone'; why: string }
  | { verdict: 'protected'; why: string }
  | {
      verdict: 'found';
      scale: Scale;
      /** What the note of the remediation that looks says that it has set; absent where there is none. */
      noted?: number;
      /** Of what is written (`scale.by.object`): its resourceVersion, or the like; for messages and tests. */
      version: string;
    };
