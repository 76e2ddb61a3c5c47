import { FinalError, UnavailableError } from '../errors.ts';
import type { Endpoint } from './admin.ts';

/** One Envoy of which nothing is known, or that did not take what it was told. */
export interface Failure {
  why: string;
  error: unknown;
}

export const failed = (endpoints: readonly Endpoint[], results: readonly PromiseSettledResult<unknown>[]): Failure[] =>
  results.flatMap((one, at) => {
    if (one.status === 'fulfilled') return [];
    const error: unknown = one.reason;
    return [{ why: `${endpoints[at]?.name}: ${error instanceof Error ? error.message : String(error)}`, error }];
  });

/**
 * Whether as many as are needed have done it.
 *
 * @param did for people: `took open`
 * @param isHeld it is open already: one that answers nonsense (a pod that has just come) does not end what the others hold
 * @throws FinalError where too few have, and trying again will not mend it; UnavailableError where it may
 */
export function enough(
  quorum: 'all' | number,
  done: number,
  failures: readonly Failure[],
  did: string,
  isHeld = false,
): void {
  const all = done + failures.length;
  const share = quorum === 'all' ? 100 : quorum;
  if (failures.length === 0 || (done * 100) / all >= share) return;
  const needed = Math.ceil((all * share) / 100);
  throw worst(`${done} of ${all} Envoys ${did}, and ${needed} are needed`, failures, isHeld && done > 0);
}

/** All that may still be open must be closed; where nothing listens any more, what was set has gone with the process. */
export function closable(failures: readonly Failure[]): void {
  const left = failures.filter(mayBeOpen);
  if (left.length > 0) throw worst(`${left.length} of the Envoys could not be closed`, left);
}

/** Where something still listens, or nobody can tell. */
export const mayBeOpen = ({ error }: Failure): boolean => !isGone(error);

const isGone = (error: unknown): boolean =>
  error instanceof UnavailableError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED';

function worst(what: string, failures: readonly Failure[], mayMend = false): Error {
  const message = `${what}: ${failures.map(({ why }) => why).join('; ')}`.slice(0, 2_000);
  const final = failures.map(({ error }) => error).filter((error) => error instanceof FinalError);
  const [first] = final;
  return first && !mayMend && final.length === failures.length
    ? new FinalError(message, { type: first.type, cause: first })
    : new UnavailableError(message, { cause: failures[0]?.error });
}
