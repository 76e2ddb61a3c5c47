import type { DispatchRequest } from '../model/dispatch.ts';
import { openUnder } from '../model/gates.ts';
import { type LeaseAnswer, type LeaseRequest, limitsKey, type ResolvedLimits } from '../model/limits.ts';
import type { ResponderState } from '../model/responder.ts';

/** Targets that one question may tell of. */
const MOST_TARGETS = 200;

/** Who may be about to start, for the question to the limits. */
export interface Candidate {
  target: string;
  /** It takes a slot, and but for the limits nothing is known that speaks against it. */
  wants: boolean;
  /** It began to alert just now. */
  isNew: boolean;
}

/**
 * What a responder has of the limits over all rules. Each start takes a slot that was granted for it: one that is free
 * again is never used for a second start by itself, for that would be an act that nobody has counted. It is told of as
 * free with the next question, or given back.
 */
export class Slots {
  readonly #state: ResponderState;
  /** Granted, and nothing was started for them yet; by key. */
  readonly #unused = new Map<string, number>();
  /** Keys of limits of which it is not known whether they have granted something. */
  readonly #uncertain = new Set<string>();

  constructor(state: ResponderState) {
    this.#state = state;
  }

  /** @param room at most so many may start */
  ask(
    candidates: readonly Candidate[],
    { limits, responder, room }: { limits: ResolvedLimits; responder: string; room: number },
  ): Record<string, LeaseRequest> {
    const asked: Record<string, LeaseRequest> = {};
    for (const [key, some] of Map.groupBy(candidates, ({ target }) => limitsKey(target))) {
      const wanting = new Set(some.filter(({ wants }) => wants).map(({ target }) => target)).size;
      const want = Math.max(0, Math.min(wanting, room));
      const began = limits.storm ? some.filter(({ isNew }) => isNew).map(({ target }) => target) : [];
      const has = openUnder(this.#state, key);
      const isFree = (this.#state.slots?.[key] ?? 0) > has;
      if (want === 0 && began.length === 0 && !isFree) continue;
      const targets = [...new Set(began)].slice(0, MOST_TARGETS);
      asked[key] = { responder, want, has, targets, limits };
    }
    return asked;
  }

  /** Takes in what the limits said: from now on they count for it what it said to have, and what they granted. */
  take(asked: Record<string, LeaseRequest>, answers: Record<string, LeaseAnswer>): void {
    for (const [key, { has, want }] of Object.entries(asked)) {
      const answer = answers[key];
      const granted = answer?.granted ?? 0;
      if (want > 0 && (!answer || answer.unanswered)) this.#uncertain.add(key);
      this.#set(key, has + granted);
      this.#unused.set(key, granted);
    }
  }

  /** Something is about to be started for one. */
  use(target: string): void {
    this.#add(limitsKey(target), -1);
  }

  /** Nothing was started for it after all. */
  spare(target: string): void {
    this.#add(limitsKey(target), 1);
  }

  /** All that is free, to be given back; and where the limits may count more for it than it has, how many that is. */
  give(): DispatchRequest['give'] {
    const give: NonNullable<DispatchRequest['give']> = {};
    for (const key of this.#uncertain) give[key] = { slots: 0, unused: 0, has: openUnder(this.#state, key) };
    this.#uncertain.clear();
    for (const [key, has] of Object.entries(this.#state.slots ?? {})) {
      const open = openUnder(this.#state, key);
      if (has <= open) continue;
      const slots = has - open;
      give[key] = { slots, unused: Math.min(slots, Math.max(0, this.#unused.get(key) ?? 0)), has: open };
      this.#set(key, open);
    }
    this.#unused.clear();
    return Object.keys(give).length > 0 ? give : undefined;
  }

  #set(key: string, count: number): void {
    this.#state.slots ??= {};
    if (count > 0) this.#state.slots[key] = count;
    else delete this.#state.slots[key];
  }

  #add(key: string, count: number): void {
    if (this.#state.slots?.[key] === undefined) return;
    this.#unused.set(key, (this.#unused.get(key) ?? 0) + count);
  }
}
