import { allowance, type Bound, formatBound } from '../model/bound.ts';
import type { BudgetInput, ReserveAnswer, ReserveRequest } from '../model/budget.ts';
import type { Holder } from '../model/limits.ts';

/** How often holders are looked at; sooner where somebody would be denied. */
const CHECK_DENIED = 10_000;

/** What is carried over continue-as-new. */
export interface BudgetState {
  /** By run ID of the remediation that has it. */
  places: Record<string, Place>;
  /** When the holders were last looked at, milliseconds since the epoch. */
  checked: number;
}

interface Place {
  workflowId: string;
  target: string;
  /** Of its own rule. */
  bound: Bound;
}

/**
 * Who has taken a place in the unavailable budget of one workload. Knows nothing of Temporal. What is unavailable is what
 * is not ready, and every target whose remediation has a place, each once. Rules may differ in their bounds: the
 * strictest of those who have a place, and of the one who asks, is that of all.
 */
export class BudgetLedger {
  readonly #workload: string;
  readonly #state: BudgetState;

  constructor({ workload, state }: BudgetInput) {
    this.#workload = workload;
    // The first that would be denied need not wait for a look.
    this.#state = (state as BudgetState | undefined) ?? { places: {}, checked: 0 };
  }

  /** Whoever has a place keeps it, but is told no where meanwhile more is unavailable than may be. */
  reserve(request: ReserveRequest): ReserveAnswer {
    const objection = this.#objection(request);
    if (objection !== undefined) return { granted: false, reason: objection };
    const { holder, target, bound } = request;
    this.#state.places[holder.runId] = { workflowId: holder.workflowId, target, bound };
    return { granted: true };
  }

  free(runId: string): void {
    delete this.#state.places[runId];
  }

  /** Whether it would be denied, and it is time to look whether those who have a place are still there. */
  isSuspicious(request: ReserveRequest, now: number): boolean {
    return !this.idle && now >= this.#state.checked + CHECK_DENIED && this.#objection(request) !== undefined;
  }

  holders(): Holder[] {
    return Object.entries(this.#state.places).map(([runId, { workflowId }]) => ({ workflowId, runId }));
  }

  /** Takes in which of the holders are over; what they had is free. */
  checked(holders: readonly Holder[], over: readonly boolean[], now: number): void {
    this.#state.checked = now;
    holders.forEach(({ runId }, at) => {
      if (over[at] === true && runId !== undefined) this.free(runId);
    });
  }

  get idle(): boolean {
    return Object.keys(this.#state.places).length === 0;
  }

  carry(): BudgetState {
    return this.#state;
  }

  #objection({ holder, target, bound, desired, unready }: ReserveRequest): string | undefined {
    const others = Object.entries(this.#state.places).filter(([runId]) => runId !== holder.runId);
    const taken = new Set(others.map(([, place]) => place.target));
    const unavailable = new Set([target, ...taken, ...unready]);
    const strictest = [bound, ...others.map(([, place]) => place.bound)].reduce((least, one) =>
      allowance(one, desired) < allowance(least, desired) ? one : least,
    );
    const allowed = allowance(strictest, desired);
    if (unavailable.size <= allowed) return undefined;
    unavailable.delete(target);
    const why = [...unavailable].map((key) => `${nameOf(key)} (${taken.has(key) ? 'under remediation' : 'not ready'})`);
    return (
      `${this.#workload} wants ${desired}, of which at most ${allowed} (maxUnavailable: ${formatBound(strictest)}) may be ` +
      `unavailable; it would be ${unavailable.size + 1}: ${nameOf(target)}${why.length > 0 ? ` besides ${listed(why)}` : ''}`
    );
  }
}

const NAMED = 3;
const listed = (names: readonly string[]): string =>
  names.slice(0, NAMED).join(', ') + (names.length > NAMED ? ` and ${names.length - NAMED} more` : '');

/** Its last segment. */
const nameOf = (key: string): string => decodeURIComponent(key.slice(key.lastIndexOf('/') + 1));
