import { z } from 'zod';
import type { EnvoySwitch } from '../../model/breaker/options.ts';
import type { Position } from '../../model/ports/switch.ts';
import { FinalError } from '../errors.ts';
import type { Runtime } from './admin.ts';

/**
 * What of the circuit breaker is set to 0. `max_requests` refuses a request for which there is a connection,
 * `max_pending_requests` one that would have to wait for a new one, to a dependency that may never answer; `max_connections`
 * is for plain TCP.
 */
const LIMITS = ['max_requests', 'max_pending_requests', 'max_connections'] as const;

type Values = Record<string, string | null>;

/** What an Envoy itself keeps of what is held in it: it goes with its process, as all that was set. */
const noteSchema = z.object({
  remediation: z.string(),
  /** ISO time at which it was set. */
  at: z.string(),
  position: z.union([z.literal('open'), z.object({ share: z.number() })]),
  /** What the admin's layer had of each key. */
  before: z.record(z.string(), z.string().nullable()),
  /** A person has given it back by hand: it is not to be set again. */
  released: z.boolean().optional(),
});
export type Note = z.infer<typeof noteSchema>;

/** The runtime keys of one switch, and what they are set to. */
export class Keys {
  readonly limits: readonly string[];
  readonly share: string | undefined;
  /** Of the note. */
  readonly note: string;
  readonly #cluster: string;

  constructor({ envoyCluster, shareKey }: Pick<EnvoySwitch, 'envoyCluster' | 'shareKey'>) {
    this.#cluster = envoyCluster;
    this.limits = LIMITS.map((limit) => `circuit_breakers.${envoyCluster}.default.${limit}`);
    this.share = shareKey;
    this.note = `salvor.held.${envoyCluster}`;
  }

  get all(): readonly string[] {
    return this.share === undefined ? this.limits : [...this.limits, this.share];
  }

  noteIn(runtime: Runtime): Note | undefined {
    const text = runtime(this.note).own;
    if (text === null) return undefined;
    try {
      return noteSchema.safeParse(JSON.parse(text)).data;
    } catch {
      return undefined; // not Salvor's
    }
  }

  /** What the admin's layer had before Salvor set anything. */
  before(runtime: Runtime): Values {
    const note = this.noteIn(runtime);
    const held = note && !note.released ? note.before : undefined;
    return Object.fromEntries(this.all.map((key) => [key, held ? (held[key] ?? null) : runtime(key).own]));
  }

  /** What it is to have. @throws FinalError `Invalid` where a share cannot be let through */
  wanted(position: Exclude<Position, 'closed'>, before: Values): Values {
    if (position === 'open') return { ...before, ...Object.fromEntries(this.limits.map((key) => [key, '0'])) };
    if (this.share === undefined)
      throw new FinalError(
        `Envoy cluster ${this.#cluster} lets no share through: expected \`shareKey\`, the runtime key of a fraction of its routes`,
        { type: 'Invalid' },
      );
    return { ...before, [this.share]: String(position.share) };
  }

  /** How one Envoy stands. */
  position(runtime: Runtime): Position | 'mixed' {
    const zeros = this.limits.filter((key) => runtime(key).final === '0').length;
    if (zeros === this.limits.length) return 'open';
    if (zeros > 0) return 'mixed';
    const note = this.noteIn(runtime);
    if (!note || note.released || this.share === undefined || note.position === 'open') return 'closed';
    return runtime(this.share).final === String(note.position.share) ? note.position : 'closed';
  }
}

export const sameNow = (runtime: Runtime, wanted: Values): boolean =>
  Object.entries(wanted).every(([key, value]) => runtime(key).own === value);
