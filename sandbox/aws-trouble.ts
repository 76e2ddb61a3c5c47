/** The trouble that the proxy before moto (aws-proxy.ts) makes on demand. */
import { Refusal } from './aws-refusal.ts';

export interface Stall {
  /** Resolves when the request is there. */
  readonly reached: Promise<void>;
  /** Lets it go on; one whose client has gone meanwhile, and that was stalled `before`, is dropped. */
  release(): void;
}

export interface Trouble {
  /** Default: any. */
  action?: string;
  /** Default: `Throttling`, with 400. */
  code?: string;
  status?: number;
  /** What the clock of AWS says then, where it is not what this machine's does. */
  date?: Date;
}

export class Troubles {
  readonly #throttles: { count: number; action?: string; refusal: Refusal }[] = [];
  readonly #stalls: { action: string; when: 'before' | 'after'; reach(): void; released: Promise<void> }[] = [];
  readonly #losses: string[] = [];

  throttle(count: number, { action, code = 'Throttling', ...how }: Trouble = {}): void {
    this.#throttles.push({ count, action, refusal: new Refusal('Rate exceeded', code, how) });
  }

  stall(action: string, when: 'before' | 'after'): Stall {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.#stalls.push({ action, when, reach: reached.resolve, released: released.promise });
    return { reached: reached.promise, release: released.resolve };
  }

  lose(action: string): void {
    this.#losses.push(action);
  }

  /** @throws Refusal where this one is to be refused */
  refuse(action: string): void {
    const throttle = this.#throttles.find((one) => one.count > 0 && (one.action ?? action) === action);
    if (!throttle) return;
    throttle.count -= 1;
    throw throttle.refusal;
  }

  /** Resolves when this one may go on. */
  async stalled(action: string, when: 'before' | 'after'): Promise<void> {
    const at = this.#stalls.findIndex((stall) => stall.action === action && stall.when === when);
    const [stall] = at < 0 ? [] : this.#stalls.splice(at, 1);
    stall?.reach();
    await stall?.released;
  }

  /** Whether the answer of this one is to be lost. */
  loses(action: string): boolean {
    const lost = this.#losses.indexOf(action);
    if (lost < 0) return false;
    this.#losses.splice(lost, 1);
    return true;
  }
}
