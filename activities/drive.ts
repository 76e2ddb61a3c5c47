import {
  type BreakerEvent,
  type BreakerPhase,
  type BreakerState,
  dueAt,
  jitterOf,
  mayTry,
  step,
  type Transition,
} from '../model/breaker/machine.ts';
import type { Change } from '../model/change.ts';
import type { DriveBeat, Driven, DriveRequest, Finding, Position } from '../model/ports/switch.ts';
import { FinalError } from '../providers/errors.ts';
import type { Pulse } from '../providers/instance.ts';
import { Sleeper } from '../providers/pulse.ts';
import type { Prober, SwitchProvider } from '../providers/switch.ts';

const BEAT_MS = 1_000;

export interface DriveMeans {
  provider: SwitchProvider;
  prober: Prober;
  pulse: Pulse;
  /** What the attempt before this one said last. */
  last: DriveBeat | undefined;
}

/**
 * Drives the machine of one breaker until something is to be decided or recorded. Its whole state is in its heartbeats, and
 * before each trial they are sent and answered: the next attempt knows of the trial, whatever becomes of this one.
 */
export class Drive {
  readonly #request: DriveRequest;
  readonly #provider: SwitchProvider;
  readonly #prober: Prober;
  readonly #pulse: Pulse;
  readonly #sleeper = new Sleeper();
  readonly #transitions: Transition[];
  readonly #changes: Change[];
  #state: BreakerState;
  /** The share of the traffic is let through, as far as this attempt knows. */
  #isAsTried = false;
  /** Of the provider: what it remembers across attempts. */
  #provided: unknown;

  constructor(request: DriveRequest, { provider, prober, pulse, last }: DriveMeans) {
    this.#request = request;
    this.#provider = provider;
    this.#prober = prober;
    this.#pulse = pulse;
    this.#state = last?.state ?? request.state;
    this.#transitions = [...(last?.transitions ?? [])];
    this.#changes = [...(last?.changes ?? [])];
    this.#provided = last?.provider;
  }

  async run(): Promise<Driven> {
    this.#beat();
    const beats = setInterval(() => this.#beat(), BEAT_MS);
    try {
      return await this.#drive();
    } catch (error) {
      // Where the whole was cancelled nobody else will tell what has been done by then.
      if (this.#pulse.signal.aborted && this.#pulse.isCancelled?.()) return this.#soFar();
      throw error;
    } finally {
      clearInterval(beats);
    }
  }

  async #drive(): Promise<Driven> {
    for (;;) {
      this.#pulse.signal.throwIfAborted();
      this.#happens({ kind: 'time' });
      if (this.#isDecided() || Date.now() >= Date.parse(this.#request.deadline)) return await this.#told();
      const contested = await this.#turn();
      if (contested) return contested;
    }
  }

  /** Whoever asked for it has to act: the switch is to be opened or closed, or it is opened again. */
  #isDecided(): boolean {
    const { phase, until, by } = this.#state;
    const from = this.#request.state.phase;
    if (phase === 'closed') return from !== 'closed' || (until === null && by === undefined);
    return from === 'closed' || from === 'confirming' ? phase !== from : this.#transitions.at(-1)?.to === 'open';
  }

  async #told(): Promise<Driven> {
    // It is open again, and was so all the time where nothing was let through meanwhile.
    if (this.#state.phase === 'open' && this.#letsShare()) await this.#set('open');
    return this.#soFar();
  }

  #soFar(): Driven {
    return { state: this.#state, transitions: this.#transitions, changes: this.#changes };
  }

  /** One thing, or a wait for the next. */
  async #turn(): Promise<Driven | undefined> {
    const { dependency } = this.#request;
    const { phase } = this.#state;
    if (phase === 'open') return await this.#keepOpen();
    // Where there is no probe the calls that are let through are the trials: they must begin before they are counted.
    if (phase === 'half-open' && !this.#isAsTried && dependency.halfOpen.share > 0) await this.#stands();
    if (mayTry(this.#state, dependency, Date.now())) await this.#try(phase);
    else await this.#sleeper.sleep((this.#due() ?? Number.POSITIVE_INFINITY) - Date.now(), this.#pulse.signal);
    return undefined;
  }

  #due(): number {
    const deadline = Date.parse(this.#request.deadline);
    return Math.min(dueAt(this.#state, this.#request.dependency) ?? deadline, deadline);
  }

  async #keepOpen(): Promise<Driven | undefined> {
    const { dependency, actor, held } = this.#request;
    // What let a share through, when a person opened it or an attempt was cut off, would be kept as it is.
    if (dependency.halfOpen.share > 0 && held.length > 0) await this.#reopen();
    const deadline = new Date(this.#due()).toISOString();
    const asked = { dependency, actor, held, deadline, step: 'keep-open' };
    const kept = await this.#provider.keepOpen(asked, {
      ...this.#pulse,
      stillMine: () => this.#stillMine(),
      last: this.#provided,
      beat: (details) => {
        this.#provided = details;
        this.#beat();
      },
    });
    this.#provided = undefined;
    this.#changes.push(...kept.changes);
    if (!kept.contested) return undefined;
    return { ...this.#soFar(), contested: kept.contested, why: kept.why };
  }

  async #try(phase: BreakerPhase): Promise<void> {
    const { dependency } = this.#request;
    const { signal } = this.#pulse;
    if (phase === 'half-open') await this.#stands();
    this.#happens({ kind: 'try' });
    if (phase === 'half-open') await this.#stillMine();
    const found: Finding =
      phase === 'half-open'
        ? await this.#prober.try(dependency, signal)
        : await this.#prober.confirm(dependency, signal);
    const { verdict, why } = found;
    this.#happens({ kind: 'found', verdict, why });
    this.#beat();
  }

  async #reopen(): Promise<void> {
    try {
      await this.#set('open');
    } catch (error) {
      // One that does not answer is asked again by each look.
      if (error instanceof FinalError) throw error;
      this.#pulse.signal.throwIfAborted();
    }
  }

  /** While it is tried the switch lets nothing through, or the share: also one that was restarted meanwhile. */
  async #stands(): Promise<void> {
    const { share } = this.#request.dependency.halfOpen;
    try {
      await this.#set(share > 0 ? { share } : 'open');
      this.#isAsTried = true;
    } catch {
      // A switch that does not answer keeps nobody from trying the dependency.
      this.#pulse.signal.throwIfAborted();
    }
  }

  async #set(position: Position): Promise<void> {
    const { dependency, actor, held } = this.#request;
    const step = position === 'open' ? 'keep-open' : 'let-through';
    const attempt = { since: this.#pulse.since, aloneUntil: 0, stillMine: () => this.#stillMine() };
    this.#changes.push(...(await this.#provider.set({ dependency, actor, held, step, position }, attempt)));
  }

  #letsShare(): boolean {
    return this.#request.dependency.halfOpen.share > 0 && this.#transitions.at(-1)?.from === 'half-open';
  }

  #happens(event: BreakerEvent): void {
    const input = { now: Date.now(), jitter: jitterOf(Math.random()) };
    const { state, transition } = step(this.#state, event, this.#request.dependency, input);
    this.#state = state;
    if (!transition) return;
    this.#transitions.push(transition);
    this.#isAsTried = false;
    this.#beat();
  }

  #beat(): void {
    const beat: DriveBeat = { ...this.#soFar(), ...(this.#provided !== undefined && { provider: this.#provided }) };
    this.#pulse.beat(beat);
  }

  /** Sends the state with it. */
  async #stillMine(): Promise<void> {
    this.#beat();
    await this.#pulse.stillMine();
  }
}
