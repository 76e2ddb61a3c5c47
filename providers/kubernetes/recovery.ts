import type { CheckResult } from '../checks.ts';
import { UnavailableError } from '../errors.ts';
import type { Kind } from './examine.ts';
import type { Health } from './health.ts';
import type { Pod } from './objects.ts';

/** What an attempt tells the next one of it. */
export interface Returns {
  /** How often it became sick again. */
  flaps: number;
  /** Whether it was healthy when it was last known. */
  wasHealthy: boolean;
}

/** While the platform finds it healthy, its checks are asked so often, or three times in `stableFor`. */
const ASK_MS = { least: 1_000, most: 5_000 };

interface Given {
  kind: Kind;
  /** Milliseconds. */
  stableFor: number;
  /** Asks all checks of the rule; undefined where it has none. @throws UnavailableError where nobody knows */
  ask: ((pod: Pod) => Promise<CheckResult>) | undefined;
  /** Called when an answer has come. */
  wake(): void;
  returns: Returns;
}

/**
 * For how long a pod has been healthy without a break: as the platform says and, where the rule has checks, as each of
 * their answers said. No answer is a break as well, though no return of the sickness. It is counted from what this attempt
 * has seen itself, and anew where a condition has changed unseen.
 */
export class Recovery {
  readonly #given: Given;
  readonly #every: number;
  /** As the platform says; `since` in milliseconds since the epoch. Undefined while it is sick. */
  #platform: { since: number; transitions: string } | undefined;
  /** When the first and the last of the healthy answers without a break were asked for. */
  #checked: { first: number; last: number } | undefined;
  #answer: CheckResult | undefined;
  #asking = false;
  #lastAsked = 0;
  #nextAsk = 0;
  #failure: unknown;

  constructor(given: Given) {
    this.#given = given;
    this.#every = Math.max(ASK_MS.least, Math.min(ASK_MS.most, Math.ceil(given.stableFor / 3)));
  }

  /** Takes in how it looks now, undefined where it cannot be seen, and asks the checks when it is time. */
  see(pod: Pod | undefined): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (!pod || !this.#given.kind.health(pod).healthy) {
      this.#platform = undefined;
      if (pod) this.#isSick();
      return;
    }
    const now = Date.now();
    const transitions = this.#given.kind.transitions(pod);
    if (this.#platform?.transitions !== transitions) {
      this.#forgetChecks();
      this.#platform = { since: now, transitions };
      this.#nextAsk = Math.max(now, this.#lastAsked + ASK_MS.least);
    }
    if (!this.#given.ask) this.#given.returns.wasHealthy = true;
    else if (!this.#asking && now >= this.#nextAsk) void this.#ask(this.#given.ask, pod);
  }

  get isStable(): boolean {
    const { stableFor, ask } = this.#given;
    if (!this.#platform) return false;
    if (!ask) return Date.now() - this.#platform.since >= stableFor;
    return this.#checked !== undefined && this.#checked.last - this.#checked.first >= stableFor;
  }

  /** When it is to be looked at even if nothing happens; milliseconds since the epoch. */
  get next(): number {
    if (!this.#platform || this.#asking) return Number.POSITIVE_INFINITY;
    return this.#given.ask ? this.#nextAsk : this.#platform.since + this.#given.stableFor;
  }

  /** Whether a fresh read shows the same as what was counted on. */
  isStill(pod: Pod): boolean {
    const { kind } = this.#given;
    return kind.health(pod).healthy && kind.transitions(pod) === this.#platform?.transitions;
  }

  /** Counts anew: it was sick in between. */
  reset(): void {
    this.#platform = undefined;
    this.#forgetChecks();
  }

  /** What is known of it, as a fresh read shows it and its checks answered last. */
  describe(pod: Pod): Health {
    const seen = this.#given.kind.health(pod);
    if (!seen.healthy || !this.#given.ask) return seen;
    if (!this.#answer) return { healthy: false, why: `${seen.why}, but no check has been answered yet` };
    const { healthy, why } = this.#answer;
    return { healthy, why: `${seen.why}, ${healthy ? 'and' : 'but'} ${why}` };
  }

  /** Never rejects. */
  async #ask(ask: NonNullable<Given['ask']>, pod: Pod): Promise<void> {
    const asked = Date.now();
    this.#asking = true;
    this.#lastAsked = asked;
    this.#nextAsk = asked + this.#every;
    try {
      this.#take(asked, await ask(pod));
    } catch (error) {
      if (error instanceof UnavailableError) this.#take(asked, undefined, error.message);
      else this.#failure = error;
    }
    this.#asking = false;
    this.#given.wake();
  }

  /** @param unknown why there is no answer */
  #take(asked: number, answer: CheckResult | undefined, unknown = ''): void {
    // It was sick since, so this says nothing about how it is now.
    if (!this.#platform || asked < this.#platform.since) return;
    this.#answer = answer ?? { healthy: false, why: `nobody knows whether its checks are met: ${unknown}` };
    if (!answer?.healthy) {
      this.#checked = undefined;
      if (answer) this.#isSick();
      return;
    }
    this.#checked = { first: this.#checked?.first ?? asked, last: asked };
    this.#given.returns.wasHealthy = true;
  }

  #forgetChecks(): void {
    this.#checked = undefined;
    this.#answer = undefined;
  }

  #isSick(): void {
    const { returns } = this.#given;
    if (returns.wasHealthy) returns.flaps += 1;
    returns.wasHealthy = false;
  }
}
