import type { HttpSwitch } from '../../model/breaker/options.ts';
import { filled, type Json, parsePointer, valueAt } from '../../model/breaker/patch.ts';
import type { Position } from '../../model/ports/switch.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import { headersOf } from '../headers-file.ts';
import { type OneAnswer, oneRequest, placeOf } from '../one-request.ts';

const REQUEST_MS = 8_000;

/** The value that tells how it stands; undefined where the answer has none there. */
export async function readState(options: HttpSwitch, signal?: AbortSignal): Promise<Json | undefined> {
  const { url, pointer } = options.read;
  const headers = { accept: 'application/json', ...(await allHeaders(options)) };
  const answer = await oneRequest({ url, method: 'GET', headers, within: REQUEST_MS, signal });
  refuse(answer, 'GET', url);
  const path = parsePointer(pointer);
  if (!path) throw new FinalError(`"${pointer}" is no JSON pointer, such as "/state"`, { type: 'Invalid' });
  try {
    return valueAt(JSON.parse(answer.text) as Json, path);
  } catch (cause) {
    throw new FinalError(`GET ${placeOf(url)} answered something else than JSON`, { type: 'Invalid', cause });
  }
}

export async function sendState(options: HttpSwitch, dependency: string, position: Position): Promise<void> {
  const { url, method } = options;
  const headers = { 'content-type': 'application/json', ...(await allHeaders(options)) };
  const body = options.body === undefined ? undefined : bodyOf(options.body as Json, dependency, position);
  refuse(await oneRequest({ url, method, headers, within: REQUEST_MS, ...(body && { body }) }), method, url);
}

function bodyOf(body: Json, dependency: string, position: Position): string {
  const state = typeof position === 'string' ? position : 'share';
  const share = typeof position === 'string' ? (position === 'open' ? 0 : 100) : position.share;
  // A text that is the share and nothing else is the number.
  const numbered = filled(body, { '${share}': share });
  const texts: Record<string, string> = { state, dependency, share: String(share) };
  return JSON.stringify(numbered, (_, value: unknown) =>
    typeof value === 'string'
      ? value.replaceAll(/\$\{(state|share|dependency)\}/g, (all, name) => texts[name] ?? all)
      : value,
  );
}

const allHeaders = async ({ headers, headersFile }: HttpSwitch): Promise<Record<string, string>> => ({
  ...Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value])),
  ...(await headersOf(headersFile)),
});

/** The body of a refusal is not told: it may repeat what was sent. @throws FinalError, UnavailableError */
function refuse({ status }: OneAnswer, method: string, url: string): void {
  if (status >= 200 && status < 300) return;
  const message = `${method} ${placeOf(url)} answered ${status}`;
  if (status >= 500 || status === 429 || status === 408) throw new UnavailableError(message);
  if (status === 401 || status === 403)
    throw new FinalError(`${message}: its headers, or those of its headersFile, do not allow it`, {
      type: 'Forbidden',
    });
  if (status >= 300 && status < 400)
    throw new FinalError(`${message}, a redirect, which is not followed: expected the address that it leads to`, {
      type: 'Invalid',
    });
  throw new FinalError(message, { type: 'Invalid' });
}
