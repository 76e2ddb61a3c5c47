import { Client, type Dispatcher } from 'undici';
import { UnavailableError } from './errors.ts';

/** Characters of an answer that are read: what is larger is cut off there. */
const LARGEST_ANSWER = 1024 * 1024;

export interface OneRequest {
  url: string;
  method: Dispatcher.HttpMethod;
  headers?: Record<string, string>;
  body?: string;
  /** Milliseconds for all of it. */
  within: number;
  signal?: AbortSignal | undefined;
  /** Certificates are not verified. */
  insecure?: boolean;
}

export interface OneAnswer {
  status: number;
  text: string;
  /** Milliseconds until the answer was there as a whole. */
  took: number;
}

/**
 * One request on a connection of its own: a kept one could be to a process that is gone, or hide that no new one can be made.
 * Redirects are not followed.
 *
 * @throws UnavailableError where there is no answer in time; the signal's reason
 */
export async function oneRequest(asked: OneRequest): Promise<OneAnswer> {
  const { url, method, headers, body, within, signal } = asked;
  const { origin, pathname, search } = new URL(url);
  const timeout = AbortSignal.timeout(within);
  const connect = { timeout: within, ...(asked.insecure && { rejectUnauthorized: false }) };
  const client = new Client(origin, { connect });
  const began = performance.now();
  try {
    const response = await client.request({
      ...{ method, path: pathname + search, reset: true },
      headers: { 'user-agent': 'salvor', ...headers },
      body: body ?? null,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    let text = '';
    response.body.setEncoding('utf8');
    for await (const chunk of response.body) {
      text += chunk;
      // Leaving the loop ends the connection.
      if (text.length > LARGEST_ANSWER) break;
    }
    return { status: response.statusCode, text, took: Math.round(performance.now() - began) };
  } catch (error) {
    // The caller's own wish to stop is thrown on as it is.
    if (signal?.aborted) throw signal.reason;
    throw new UnavailableError(`${method} ${placeOf(url)}: no answer: ${silence(error, within)}`, { cause: error });
  } finally {
    await client.destroy();
  }
}

/** An address for messages: what may be a secret, its user and its query, is not in it. */
export function placeOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

export function silence(error: unknown, within: number): string {
  const { code, name, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError' || code === 'UND_ERR_CONNECT_TIMEOUT') return `nothing within ${within} ms`;
  return code ?? message;
}
