import { setTimeout as delay } from 'node:timers/promises';
import type { Change } from '../../../model/change.ts';
import type { Difference } from '../../../model/drift/difference.ts';
import { OWN_MANAGER } from '../../../model/drift/managers.ts';
import type { RevertRequest, RevertResult } from '../../../model/ports/desired-state.ts';
import type { DriftMeans } from '../../desired-state.ts';
import { FinalError } from '../../errors.ts';
import { HeldBack } from '../../instance.ts';
import { beating } from '../../pulse.ts';
import { MovedError } from '../../source/git.ts';
import { ApiError, explain, isPassing, isStatus } from '../errors.ts';
import { lookAtAll, type Means, type View } from './compare.ts';
import type { Looked } from './look.ts';
import { UnfitSource } from './manifest.ts';
import { type At, withSource } from './source.ts';
import type { Live } from './try.ts';
import { lostChanges, NotReplaced, StillThere, write } from './write.ts';

/** Writes to an object that others write to at the same time. */
const TRIES = 5;

export async function revert(means: Means, request: RevertRequest, drift: DriftMeans): Promise<RevertResult> {
  const { pulse } = drift;
  const act = () =>
    withSource(means.options, request.revision, pulse, (at) => new Revert(means, request, drift, at).run());
  try {
    return await beating(pulse, () => undefined, act);
  } catch (error) {
    if (error instanceof MovedError) return { verdict: 'changed', why: error.message, changes: [] };
    throw error;
  }
}

class Revert {
  readonly #means: Means;
  readonly #request: RevertRequest;
  readonly #drift: DriftMeans;
  readonly #at: At;
  readonly #changes: Change[] = [];

  constructor(means: Means, request: RevertRequest, drift: DriftMeans, at: At) {
    this.#means = means;
    this.#request = request;
    this.#drift = drift;
    this.#at = at;
  }

  async run(): Promise<RevertResult> {
    try {
      const view = await this.#view(this.#request.reviewed);
      const todo: Difference[] = [];
      for (const reviewed of this.#request.reviewed) {
        const why = this.#other(reviewed, view);
        if (why !== undefined) return this.#is('changed', `${why}; nothing was touched`);
        if (view.seen.get(reviewed.address)?.looked) todo.push(reviewed);
      }
      for (const reviewed of this.#request.reviewed) if (!todo.includes(reviewed)) this.#tellLost(reviewed, view);
      for (const reviewed of todo.sort(byOrder)) {
        const ended = await this.#revert(reviewed, view);
        if (ended) return ended;
      }
      return this.#is('reverted', `${todo.length} of ${this.#request.reviewed.length} reverted now`);
    } catch (error) {
      return this.#ended(error);
    }
  }

  /** What the source does not have is told from what it has by looking at all. */
  #view(reviewed: readonly Difference[]): Promise<View> {
    const only = reviewed.some(({ action }) => action === 'delete')
      ? undefined
      : new Set(reviewed.map(({ address }) => address));
    return lookAtAll(this.#means, this.#request, this.#at, only);
  }

  /** Why it is not what was reviewed; undefined where it is, or where an earlier attempt has reverted it. */
  #other(reviewed: Difference, view: View): string | undefined {
    const { address } = reviewed;
    const found = view.seen.get(address)?.looked;
    const { isRepeat } = this.#drift;
    if (!found) return isRepeat ? undefined : `${address} does not differ any more`;
    const { difference } = found;
    const isHalf = (isRepeat || this.#hasDeleted(reviewed)) && reviewed.action === 'replace';
    if (
      (isHalf && difference.action === 'create' && found.write) ||
      (difference.digest === reviewed.digest && found.write)
    )
      return undefined;
    return `${address} is not as it was reviewed: it is ${difference.class} now (${difference.why})`;
  }

  #hasDeleted({ address }: Difference): boolean {
    return this.#changes.some(({ object, field }) => object.key === address && field === 'delete');
  }

  /** It was deleted to be replaced, by this attempt or an earlier one, and is not there again. */
  #isGone(reviewed: Difference, looked: Looked): boolean {
    if (reviewed.action !== 'replace') return false;
    return this.#hasDeleted(reviewed) || (this.#drift.isRepeat && looked.difference.action === 'create');
  }

  /** What an earlier attempt has done and could not tell. Times of managers are to the second. */
  #tellLost(reviewed: Difference, { seen }: View): void {
    const { live } = seen.get(reviewed.address) ?? {};
    const { step } = this.#request;
    const since = Math.floor(this.#drift.pulse.since / 1000) * 1000;
    const own = live?.metadata.managedFields?.find(
      ({ manager, operation }) => manager === OWN_MANAGER && operation === 'Update',
    );
    const isOwn = own !== undefined && Date.parse(own.time ?? '') >= since;
    // Of what is gone nothing tells who has deleted it.
    if (isOwn || reviewed.action === 'delete')
      this.#changes.push(...lostChanges(reviewed, { step, live, at: own?.time }));
  }

  /** @returns how the whole has ended; undefined: go on */
  async #revert(reviewed: Difference, view: View): Promise<RevertResult | undefined> {
    let at = view;
    for (let tries = 1; ; tries++) {
      const looked = at.seen.get(reviewed.address)?.looked;
      const why = this.#other(reviewed, at);
      if (why !== undefined) {
        if (looked && this.#isGone(reviewed, looked)) return this.#is('failed', notMadeAgain(reviewed, why));
        return this.#is('changed', `${why}; it was not touched`);
      }
      if (!looked) return undefined;
      await this.#drift.pulse.stillMine();
      try {
        await write(this.#writing, looked, (change) => this.#changes.push(change));
        return undefined;
      } catch (error) {
        if (tries === TRIES || !(await this.#isOvertaken(error, looked))) {
          if (isFinal(error) && this.#isGone(reviewed, looked))
            return this.#is('failed', notMadeAgain(reviewed, explain(error)));
          throw error;
        }
      }
      await delay(10 * 2 ** tries * Math.random());
      at = await this.#view([reviewed]);
    }
  }

  get #writing() {
    return { cluster: this.#means.cluster, step: this.#request.step, signal: this.#drift.pulse.signal };
  }

  /** An operation on what somebody else has removed meanwhile is answered 422, before the version is looked at. */
  async #isOvertaken(error: unknown, { write: what }: Looked): Promise<boolean> {
    if (isStatus(error, 409) || isStatus(error, 404)) return true;
    if (!isStatus(error, 422) || what?.kind !== 'patch' || !what.place.ref) return false;
    const live = await this.#means.cluster.get<Live>(what.place.ref, this.#drift.pulse.signal);
    return live?.metadata.resourceVersion !== what.live.metadata.resourceVersion;
  }

  #ended(error: unknown): RevertResult {
    if (error instanceof HeldBack) {
      return { verdict: 'held-back', why: error.message, changes: this.#changes, objection: error.objection };
    }
    if (error instanceof UnfitSource) return this.#is('changed', `${error.message}; nothing was touched`);
    if (error instanceof StillThere || error instanceof NotReplaced) return this.#is('failed', error.message);
    const { pulse } = this.#drift;
    const made = this.#changes.length;
    // No other attempt will tell what this one has done.
    if (made > 0 && pulse.signal.aborted && pulse.isCancelled?.())
      return this.#is('failed', `stopped after ${made} of its changes`);
    if (made > 0 && error instanceof FinalError) return this.#is('failed', error.message);
    // What passes is tried again by the next attempt, which tells what this one has done.
    if (isFinal(error)) return this.#is('failed', explain(error));
    throw error;
  }

  #is(verdict: 'reverted' | 'changed' | 'failed', why: string): RevertResult {
    return { verdict, why, changes: this.#changes };
  }
}

/** Trying again would be answered the same. */
const isFinal = (error: unknown): boolean =>
  error instanceof ApiError && !isPassing(error) && ![401, 409].includes(error.status);

const notMadeAgain = ({ address }: Difference, why: string): string =>
  `${address} was deleted to be replaced, and was not made again: ${why}. A person has to create it, from the source or by the next proposal`;

/** What others need first: what is created before what is set, and what is deleted last. */
const byOrder = (a: Difference, b: Difference): number => rank(a) - rank(b);
const FIRST = ['Namespace', 'CustomResourceDefinition', 'ServiceAccount'];
const rank = ({ action, kind }: Difference): number =>
  ({ create: 0, update: 10, replace: 20, delete: 30 })[action] + (FIRST.includes(kind) ? FIRST.indexOf(kind) : 9);
