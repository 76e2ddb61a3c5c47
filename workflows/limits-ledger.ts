import { formatDuration } from '../model/duration.ts';
import type { GiveBack, Holder, LeaseAnswer, LeaseRequest, LimitsInput, ResolvedLimits } from '../model/limits.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** How often holders are looked at; sooner while somebody waits, and soonest when a request was just denied. */
const CHECK = 10 * MINUTE;
const CHECK_WAITED_FOR = MINUTE;
const CHECK_DENIED = 10 * SECOND;
/** Whoever is told that there is room finds it kept for so long. */
const KEPT_FOR = 10 * SECOND;
/** Responders that wait for room, and targets that alert: those beyond it are not remembered. */
const MOST_DENIED = 2_000;
const MOST_ALERTING = 1_000;

/** What is carried over continue-as-new; all times in milliseconds since the epoch. */
export interface LimitsState {
  /** The newest that was given. */
  limits: ResolvedLimits;
  holders: Record<string, Lease>;
  /** Slots granted within the last hour, oldest first; those of one minute together, at the time of the last of them. */
  acts: { at: number; count: number }[];
  /** When each target was last said to begin to alert, oldest first. */
  alerting: [target: string, at: number][];
  /** Responders that were not granted all, in the order in which they came: how much is missing, and when they were told. */
  denied: Record<string, { want: number; told?: number }>;
  /** Since when everything is held. */
  storm?: number;
  /** When the holders were last looked at. */
  checked: number;
}

interface Lease {
  slots: number;
  asked: number;
  /** Its last question and the answer: a question that comes again, to a later run, is not granted again. */
  question: string;
  answer: LeaseAnswer;
}

/**
 * Who has which slots of the limits of one cluster or account. Knows nothing of Temporal: it is told what came and what
 * time it is (milliseconds since the epoch). It never has more slots out than `maxInFlight`, by what those who hold them
 * say; one that has forgotten all (terminated by hand) takes their word as they ask again.
 */
export class LimitsLedger {
  readonly #key: string;
  readonly #state: Omit<LimitsState, 'alerting'>;
  /** In the order of their times. */
  readonly #alerting: Map<string, number>;
  /** Somebody was just denied a slot, which one that is gone may hold. */
  #suspicious = false;

  constructor({ key, state }: LimitsInput, now: number) {
    const { alerting, ...rest } = (state as LimitsState | undefined) ?? {
      limits: {},
      holders: {},
      acts: [],
      alerting: [],
      denied: {},
      // The first that is denied need not wait for a look.
      checked: now - CHECK_DENIED,
    };
    this.#key = key;
    this.#state = rest;
    this.#alerting = new Map(alerting);
  }

  /** @param question names the request: asked again, the answer is the same */
  lease(request: LeaseRequest, question: string, now: number): LeaseAnswer {
    const { holders, denied } = this.#state;
    const { responder, targets } = request;
    const last = holders[responder];
    if (last?.question === question) return last.answer;
    this.#state.limits = request.limits;
    for (const target of targets) {
      this.#alerting.delete(target);
      this.#alerting.set(target, now);
    }
    this.pass(now);

    const answer = this.#answer(request, now);
    const slots = request.has + answer.granted;
    if (slots > 0) holders[responder] = { slots, asked: now, question, answer };
    else delete holders[responder];
    const missing = request.want - answer.granted;
    // Who is denied again keeps its place among those who wait.
    if (missing === 0) delete denied[responder];
    else if (responder in denied || Object.keys(denied).length < MOST_DENIED) denied[responder] = { want: missing };
    return answer;
  }

  give({ responder, slots, unused, has }: GiveBack): void {
    const holder = this.#state.holders[responder];
    // Given back already, or by one that a ledger before this one had known.
    if (!holder || holder.slots <= (has ?? 0)) return;
    holder.slots = has ?? Math.max(0, holder.slots - slots);
    if (holder.slots === 0) delete this.#state.holders[responder];
    this.#unmake(unused);
  }

  /** Who is to be told now that there is room for it: as many as fit, those first who wait longest. */
  tell(now: number): string[] {
    this.pass(now);
    const { denied, storm } = this.#state;
    // Whoever was told and did not come has no use for it any more.
    for (const [responder, { told }] of Object.entries(denied))
      if (told !== undefined && told + KEPT_FOR <= now) delete denied[responder];
    let room = storm === undefined ? this.#room() : 0;
    const told: string[] = [];
    for (const [responder, waiting] of Object.entries(denied)) {
      if (room <= 0) break;
      if (waiting.told !== undefined) continue;
      waiting.told = now;
      room -= waiting.want;
      told.push(responder);
    }
    return told;
  }

  /** Who is to be looked at now: is it still there? */
  suspects(now: number): Holder[] {
    if (now < this.#nextCheck) return [];
    return Object.entries(this.#state.holders).map(([workflowId, { asked }]) => ({ workflowId, since: asked }));
  }

  /** Takes in which of the suspects are over. */
  checked(suspects: readonly Holder[], over: readonly boolean[], now: number): void {
    this.#state.checked = now;
    this.#suspicious = false;
    suspects.forEach(({ workflowId, since }, at) => {
      // Who has asked meanwhile is there.
      if (over[at] === true && this.#state.holders[workflowId]?.asked === since) this.gone(workflowId);
    });
  }

  /** A responder is there no more. */
  gone(responder: string): void {
    delete this.#state.holders[responder];
    delete this.#state.denied[responder];
  }

  /** Since when everything is held, and why. */
  get storm(): { since: string; reason: string } | undefined {
    const { storm: since, limits } = this.#state;
    if (since === undefined || !limits.storm) return undefined;
    const { targets, within } = limits.storm;
    const reason = `${this.#alerting.size} targets of ${this.#key} began to alert within ${formatDuration(within)}: from ${targets} on everything is held`;
    return { since: iso(since), reason };
  }

  /** When something is to be done without news (milliseconds since the epoch): infinity for never, 0 for at once. */
  get due(): number {
    const { acts, denied, storm } = this.#state;
    const due = [this.#nextCheck, storm === undefined ? Number.POSITIVE_INFINITY : this.#calmAt()];
    const waiting = Object.values(denied);
    const [oldest] = acts;
    if (waiting.length > 0) {
      if (oldest) due.push(oldest.at + HOUR);
      for (const { told } of waiting) if (told !== undefined) due.push(told + KEPT_FOR);
      if (storm === undefined && this.#room() > 0 && waiting.some(({ told }) => told === undefined)) due.push(0);
    } else if (!this.#isHeld) {
      due.push(this.#forgottenAt());
    }
    return Math.min(...due);
  }

  /** Nothing is held, waited for or counted: a new ledger would say the same. */
  get idle(): boolean {
    const { acts, denied } = this.#state;
    return !this.#isHeld && Object.keys(denied).length === 0 && acts.length === 0 && this.#alerting.size === 0;
  }

  carry(): LimitsState {
    return { ...this.#state, alerting: [...this.#alerting] };
  }

  /** Takes in what time it is: forgets what no longer counts, and says whether it is a storm. */
  pass(now: number): void {
    const { acts, limits } = this.#state;
    while (acts[0] && (acts[0].at <= now - HOUR || limits.maxActsPerHour === undefined)) acts.shift();
    const { targets = 0, within = 0 } = limits.storm ?? {};
    const most = Math.max(MOST_ALERTING, targets);
    for (const [target, at] of this.#alerting) {
      if (at > now - within && this.#alerting.size <= most) break;
      this.#alerting.delete(target);
    }
    if (!limits.storm || this.#alerting.size < targets) delete this.#state.storm;
    else this.#state.storm ??= now;
  }

  #answer({ responder, want, has }: LeaseRequest, now: number): LeaseAnswer {
    const { storm } = this;
    if (storm) {
      const { reason, since } = storm;
      const notBefore = iso(this.#calmAt());
      return { granted: 0, reason, notBefore, storm: { targets: this.#alerting.size, since } };
    }
    const { maxInFlight = Number.POSITIVE_INFINITY, maxActsPerHour = Number.POSITIVE_INFINITY } = this.#state.limits;
    const { acts } = this.#state;
    const inFlight = this.#inFlight(responder) + has;
    const acted = this.#acted();
    // Those who were told that there is room came first.
    const kept = this.#kept(responder);
    const granted = Math.max(0, Math.min(want, maxInFlight - inFlight - kept, maxActsPerHour - acted - kept));
    if (granted > 0) this.#act(granted, now);
    if (granted === want) return { granted };
    const where = `in ${this.#key}, over all rules${kept > 0 ? `; kept for those who waited before: ${kept}` : ''}`;
    if (maxActsPerHour - acted <= maxInFlight - inFlight) {
      const [oldest] = acts;
      return {
        granted,
        reason: `${acted + granted} of at most ${maxActsPerHour} remediations an hour were begun ${where}`,
        ...(oldest && kept === 0 && { notBefore: iso(oldest.at + HOUR) }),
      };
    }
    this.#suspicious = true;
    return { granted, reason: `${inFlight + granted} of at most ${maxInFlight} remediations are in flight ${where}` };
  }

  /** Slots that may be granted now and are kept for nobody. */
  #room(): number {
    const { maxInFlight = Number.POSITIVE_INFINITY, maxActsPerHour = Number.POSITIVE_INFINITY } = this.#state.limits;
    return Math.min(maxInFlight - this.#inFlight(), maxActsPerHour - this.#acted()) - this.#kept();
  }

  #inFlight(except?: string): number {
    let sum = 0;
    for (const [responder, { slots }] of Object.entries(this.#state.holders)) if (responder !== except) sum += slots;
    return sum;
  }

  #kept(except?: string): number {
    let sum = 0;
    for (const [responder, { want, told }] of Object.entries(this.#state.denied))
      if (told !== undefined && responder !== except) sum += want;
    return sum;
  }

  #acted(): number {
    return this.#state.acts.reduce((sum, { count }) => sum + count, 0);
  }

  #act(count: number, now: number): void {
    const { acts, limits } = this.#state;
    if (limits.maxActsPerHour === undefined) return;
    const last = acts.at(-1);
    if (last && Math.floor(last.at / MINUTE) === Math.floor(now / MINUTE)) {
      last.count += count;
      last.at = now;
    } else acts.push({ at: now, count });
  }

  /** So many were granted and came to nothing: the newest, for they are given back soon. */
  #unmake(count: number): void {
    const { acts } = this.#state;
    for (let last = acts.at(-1), left = count; last && left > 0; last = acts.at(-1)) {
      const taken = Math.min(left, last.count);
      last.count -= taken;
      left -= taken;
      if (last.count === 0) acts.pop();
    }
  }

  get #isHeld(): boolean {
    return Object.keys(this.#state.holders).length > 0;
  }

  get #nextCheck(): number {
    if (!this.#isHeld) return Number.POSITIVE_INFINITY;
    const { checked, denied } = this.#state;
    if (this.#suspicious) return checked + CHECK_DENIED;
    return checked + (Object.keys(denied).length > 0 ? CHECK_WAITED_FOR : CHECK);
  }

  /** When so many alerts of now are old that it is no storm, if none came meanwhile. */
  #calmAt(): number {
    const { targets = 0, within = 0 } = this.#state.limits.storm ?? {};
    const at = [...this.#alerting.values()][this.#alerting.size - targets] ?? 0;
    return at + within;
  }

  /** When the last of what is only counted is forgotten. */
  #forgottenAt(): number {
    const { acts, limits } = this.#state;
    const act = acts.at(-1);
    const alert = [...this.#alerting.values()].at(-1);
    return Math.max(act ? act.at + HOUR : 0, alert === undefined ? 0 : alert + (limits.storm?.within ?? 0));
  }
}

const iso = (at: number): string => new Date(at).toISOString();
