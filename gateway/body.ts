import { Rejection } from './reject.ts';

/** Levels of arrays and objects; a webhook of Alertmanager has four. */
const MAX_DEPTH = 32;

/**
 * Decodes and parses a JSON body from a stranger.
 *
 * A key named `__proto__` is data like any other (JSON.parse makes it an own property): one odd label is no reason to
 * lose its group. Depth is counted before parsing, so that nesting without end costs neither memory nor stack.
 *
 * @throws Rejection 400 where it is not UTF-8, not JSON, or nested deeper than {@link MAX_DEPTH}
 */
export function parseBody(body: Uint8Array): unknown {
  if (depth(body) > MAX_DEPTH)
    throw new Rejection(`The body is nested deeper than ${MAX_DEPTH} levels.`, { status: 400, reason: 'too-deep' });
  const text = decode(body);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Rejection('The body is not JSON.', { status: 400, reason: 'not-json', cause });
  }
}

function decode(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (cause) {
    throw new Rejection('The body is not valid UTF-8.', { status: 400, reason: 'not-utf8', cause });
  }
}

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Exact for JSON; for what is no JSON the parser speaks afterwards. */
function depth(body: Uint8Array): number {
  let [level, deepest, inString] = [0, 0, false];
  for (let i = 0; i < body.length; i++) {
    const byte = body[i];
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      inString = true;
    } else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      deepest = Math.max(deepest, ++level);
    } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
      level--;
    }
  }
  return deepest;
}
