import type { Desk } from './desk.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

/** Milliseconds: the gateway gives a worker 10 s. */
const ANSWER_WITHIN = 20_000;

/** @param url of the gateway, with a slash at its end */
export function gatewayDesk(url: string, token: string): Desk {
  const order = async <T>(name: string, body: object): Promise<T> => {
    const at = new URL(`v1/${name}`, url);
    const response = await fetch(at, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      // A token is for this address and no other.
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_WITHIN),
    }).catch((error: unknown) => {
      throw outOfReach(url, error);
    });
    const answer = await response.json().catch(() => undefined);
    if (response.ok && answer !== undefined) return answer as T;
    throw refusal(url, response.status, answer);
  };
  return {
    pause: (request) => order('pause', request),
    resume: (request) => order('resume', request),
    decide: (answer, request) => order(answer, request),
    breaker: (what, request) => order(`breakers/${what}`, request),
  };
}

function outOfReach(url: string, error: unknown): CliError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new CliError(`the gateway at ${url} cannot be reached: ${cause instanceof Error ? cause.message : cause}`, {
    status: EXIT.unknown,
    advice:
      'Whether the order was taken is not known: `salvor list` shows what is paused. Name another gateway with --gateway.',
    cause: error,
  });
}

function refusal(url: string, status: number, answer: unknown): CliError {
  const said = (answer as { error?: unknown } | undefined)?.error;
  if (typeof said === 'string') return new CliError(said, { status: exitOf(status) });
  return new CliError(`what answers at ${url} is no gateway of Salvor (status ${status})`, {
    status: EXIT.unknown,
    advice: 'Look at --gateway or SALVOR_GATEWAY.',
  });
}

/** HTTP statuses: what was refused, what there is none of, what was wrong with the order, and what may be better later. */
function exitOf(status: number): ExitStatus {
  if (status === 404 || status === 504) return EXIT.failed;
  if ([401, 403, 409].includes(status)) return EXIT.refused;
  return status < 500 && status !== 429 ? EXIT.usage : EXIT.unknown;
}
